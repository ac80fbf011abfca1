//! Who asks, and what that person's groups hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{MembershipRole, ScopeRole, WorkspaceRole};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Actor {
    /// The system itself: administration commands, upkeep. Everything is allowed.
    System,
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user.
    User(i64),
    /// A worker, by its own token, or a machine that may register: nothing is allowed.
    Worker,
    /// A token that has only what was granted to it: no rule of this list is open to it.
    ExplicitGrantsOnly,
}

/// What the groups of a user hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// The groups, and what the user is in them.
    pub groups: BTreeMap<i64, MembershipRole>,
    /// Scopes in which the user is in any group.
    pub scopes: BTreeSet<i64>,
    /// Highest role on each scope.
    pub scope_roles: BTreeMap<i64, ScopeRole>,
    /// Highest role on each workspace.
    pub workspace_roles: BTreeMap<i64, WorkspaceRole>,
}

impl Grants {
    /// Notes a role on a scope; a higher one that is there stays.
    pub fn add_scope_role(&mut self, scope: i64, role: ScopeRole) {
        let held = self.scope_roles.entry(scope).or_insert(role);
        *held = role.max(*held);
    }

    /// Notes a role on a workspace; a higher one that is there stays.
    pub fn add_workspace_role(&mut self, workspace: i64, role: WorkspaceRole) {
        let held = self.workspace_roles.entry(workspace).or_insert(role);
        *held = role.max(*held);
    }

    /// The scopes on which the user holds this role or a higher one.
    pub fn scopes_with(&self, role: ScopeRole) -> impl Iterator<Item = i64> {
        self.scope_roles.iter().filter(move |(_, held)| **held >= role).map(|(id, _)| *id)
    }

    /// The workspaces on which the user holds this role or a higher one.
    pub fn workspaces_with(&self, role: WorkspaceRole) -> impl Iterator<Item = i64> {
        self.workspace_roles.iter().filter(move |(_, held)| **held >= role).map(|(id, _)| *id)
    }

    /// The groups in which the user is this or more.
    pub fn groups_with(&self, role: MembershipRole) -> impl Iterator<Item = i64> {
        self.groups.iter().filter(move |(_, held)| **held >= role).map(|(id, _)| *id)
    }
}

/// The work request that somebody acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWorkRequest {
    /// Its id.
    pub id: i64,
    /// Where it belongs.
    pub workspace_id: i64,
    /// The artifacts that it was given.
    pub inputs: BTreeSet<i64>,
}

/// Everything that a predicate asks of whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionContext {
    /// Who asks.
    pub actor: Actor,
    /// What their groups hold; nothing for who is no user.
    pub grants: Grants,
    /// The work request that they act for.
    pub work_request: Option<OwnWorkRequest>,
}

impl PermissionContext {
    /// May do everything.
    pub fn system() -> Self {
        Self { actor: Actor::System, ..Self::default() }
    }

    /// The user, if it is one.
    pub fn user_id(&self) -> Option<i64> {
        match self.actor {
            Actor::User(id) => Some(id),
            _ => None,
        }
    }
}
