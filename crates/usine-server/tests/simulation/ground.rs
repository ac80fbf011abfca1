//! What every world stands on: randomness from the seed, and a factory that was set up once and is copied.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use usine_db::token::TokenSpec;
use usine_db::{GroupManager, ScopeManager, TokenManager, UserManager, WorkerManager, WorkspaceManager};
use usine_model::clock::{Clock, ManualClock};
use usine_model::entropy::Entropy;
use usine_model::permission::{MembershipRole, WorkspaceRole};
use usine_model::token::TokenKey;
use usine_model::worker::WorkerType;
use usine_server::Config;

use crate::world::noon;

/// Most workers that a world has.
pub const WORKERS: usize = 3;

/// Random bytes that follow from a seed.
pub struct SeededEntropy {
    pub seed: u64,
    pub count: AtomicU64,
}

impl Entropy for SeededEntropy {
    fn bytes32(&self) -> [u8; 32] {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(count.to_be_bytes());
        hash.finalize().into()
    }
}

/// A factory with a user and workers that nobody has used yet.
pub struct Template {
    /// Its database, in bytes: a directory would outlive the process.
    bytes: Vec<u8>,
    /// Key of the user.
    pub user: String,
    /// Id and key of each worker.
    pub workers: Vec<(i64, String)>,
}

/// In memory, where the machine has such a place: fsync costs nothing there.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("usine-simulation-").tempdir_in(place).unwrap()
}

/// The server's configuration on a directory.
pub fn config(directory: &Path) -> Config {
    Config { data_directory: directory.to_owned(), upkeep_interval: 10, ..Config::default() }
}

fn database(directory: &Path) -> PathBuf {
    directory.join("usine.db")
}

impl Template {
    /// The one that all share.
    pub async fn get() -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        match TEMPLATE.get() {
            Some(template) => template,
            None => {
                let made = Self::make().await;
                TEMPLATE.get_or_init(|| made)
            }
        }
    }

    /// A copy of its database.
    pub fn copy_to(&self, to: &Path) {
        std::fs::write(database(to), &self.bytes).unwrap();
    }

    async fn make() -> Self {
        let directory = directory();
        let clock = Arc::new(ManualClock::at(noon()));
        let entropy = Arc::new(SeededEntropy { seed: u64::MAX, count: AtomicU64::new(0) });
        let config = config(directory.path());
        let state = usine_server::open(config, clock.clone(), entropy.clone(), CancellationToken::new()).await.unwrap();
        let (file, database, now) = (database(directory.path()), &state.database, clock.now());
        let (user, _) = UserManager(database).create("alice", "alice@example.org", &*entropy, now).await.unwrap();
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_user(user.id) };
        let token = TokenManager(database).create(spec, &*entropy, now).await.unwrap();
        let scope = ScopeManager(database).get_scope_or_none("debusine").await.unwrap().unwrap();
        let (workspaces, groups) = (WorkspaceManager(database), GroupManager(database));
        let workspace = workspaces.get_workspace_or_none(&scope, "System").await.unwrap().unwrap();
        let group = groups.create(&scope, None, "people", false, None, now).await.unwrap();
        workspaces.grant_role(&workspace, &scope, &group, WorkspaceRole::Contributor, None, now).await.unwrap();
        groups.add_users(&group, &[user], MembershipRole::Member, true, None, now).await.unwrap();
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let key = TokenKey::generate(&*entropy);
            let worker =
                WorkerManager(database).register(&format!("w{number}"), &key, WorkerType::External, now).await.unwrap();
            worker.token(database).await.unwrap().unwrap().enable(database, now).await.unwrap();
            workers.push((worker.id, key.reveal().to_owned()));
        }
        state.database.close().await;
        let bytes = std::fs::read(file).unwrap();
        Self { bytes, user: token.key.reveal().to_owned(), workers }
    }
}
