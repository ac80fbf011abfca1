//! What the server remembers of who may do what: scopes, workspaces, groups, and whose a token is.
//!
//! Everything of that is read once and remembered for as long as the number of its generation stays the same
//! ([`usine_db::Database::generation`]). That number is read with each request, so that what anybody has changed, in any
//! process, holds from the next request on.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use usine_db::tenancy::{Scope, Workspace};
use usine_db::{Database, GroupManager, Result, ScopeManager, Token, WorkspaceManager};
use usine_model::permission::PermissionContext;

use crate::auth::Identity;
use crate::permissions::Place;

/// Most things of a kind that are remembered.
const MOST: usize = 10_000;

/// What the server remembers, or has forgotten.
#[derive(Default)]
pub struct Memory {
    /// One who looks at the generation does so for all who come while the look before is on its way.
    turn: tokio::sync::Mutex<u64>,
    begun: AtomicU64,
    known: Mutex<Arc<Known>>,
}

/// What holds in one generation.
#[derive(Default)]
pub struct Known {
    generation: i64,
    scopes: Remembered<String, Option<Scope>>,
    workspaces: Remembered<(i64, String), Option<Workspace>>,
    places: Remembered<i64, Place>,
    groups: Remembered<i64, Arc<Vec<GroupName>>>,
    tokens: Remembered<String, (Arc<Token>, Identity, PermissionContext)>,
}

/// Scope, workspace if it belongs to one, and name of a group.
pub type GroupName = (String, Option<String>, String);

impl Memory {
    /// What holds now: nothing that was changed before this call is older.
    pub async fn now(&self, database: &Database) -> Result<Arc<Known>> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.turn.lock().await;
        if *last <= before {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let generation = database.generation().await?;
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.generation != generation {
                *known = Arc::new(Known { generation, ..Known::default() });
            }
            *last = number;
        }
        Ok(self.known.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Known {
    /// The generation.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// The scope of this name.
    pub async fn scope(&self, database: &Database, name: &str) -> Result<Option<Scope>> {
        let find = async || ScopeManager(database).get_scope_or_none(name).await;
        self.scopes.or_find(name.to_owned(), find).await
    }

    /// The workspace of this name in a scope.
    pub async fn workspace(&self, database: &Database, scope: &Scope, name: &str) -> Result<Option<Workspace>> {
        let find = async || WorkspaceManager(database).get_workspace_or_none(scope, name).await;
        self.workspaces.or_find((scope.id, name.to_owned()), find).await
    }

    /// The workspace with this id, which must exist.
    pub async fn place(&self, database: &Database, id: i64) -> Result<Place> {
        let find = async || {
            let (workspace, scope) = WorkspaceManager(database).get(id).await?;
            Ok(Place { workspace, scope })
        };
        self.places.or_find(id, find).await
    }

    /// The names of all groups of a user.
    pub async fn groups(&self, database: &Database, user: i64) -> Result<Arc<Vec<GroupName>>> {
        self.groups.or_find(user, async || Ok(Arc::new(GroupManager(database).names_of(user).await?))).await
    }

    /// Whose a token is, if that is remembered, by the hash of its key. Whether it has expired is for the caller to see.
    pub(crate) fn token(&self, hash: &str) -> Option<(Arc<Token>, Identity, PermissionContext)> {
        self.tokens.get(hash)
    }

    /// Remembers whose a token is.
    pub(crate) fn remember_token(&self, token: Token, identity: &Identity, context: &PermissionContext) {
        let hash = token.hash.clone();
        self.tokens.put(hash, (Arc::new(token), identity.clone(), context.clone()));
    }

    /// Forgets whose a token is.
    pub(crate) fn forget_token(&self, hash: &str) {
        self.tokens.lock().remove(hash);
    }
}

struct Remembered<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Remembered<K, V> {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.lock().get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut map = self.lock();
        if map.len() >= MOST {
            map.clear();
        }
        map.insert(key, value);
    }

    async fn or_find(&self, key: K, find: impl AsyncFnOnce() -> Result<V>) -> Result<V> {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let value = find().await?;
        self.put(key, value.clone());
        Ok(value)
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("generation", &self.generation).finish_non_exhaustive()
    }
}
