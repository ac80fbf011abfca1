//! What every handler and every background task shares.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use usine_db::{Database, Server};
use usine_model::clock::{Clock, to_stored_precision};
use usine_model::entropy::Entropy;
use usine_store::{FileStore, Uploads};
use usine_tasks::ServerFacts;

use crate::channel::Hub;
use crate::config::Config;
use crate::leadership::Leadership;
use crate::live_log::LiveLogs;
use crate::memory::Memory;
use crate::overload::Overload;
use crate::upkeep::{Logs, Storage};
use crate::web::{Live, LogPages, LoginLimit};

/// The shared state; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

/// What the state is made of.
pub struct Inner {
    /// The database.
    pub database: Database,
    /// Complete files.
    pub store: Arc<dyn FileStore>,
    /// Files on their way.
    pub uploads: Uploads,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Who may do what.
    pub memory: Memory,
    /// What the server was told.
    pub config: Config,
    /// Who is connected.
    pub hub: Hub,
    /// How much may go on at once.
    pub overload: Overload,
    /// Logs of running work requests.
    pub live_logs: LiveLogs,
    /// Which server this is, in this life.
    pub server: Server,
    /// Whether it leads.
    pub leadership: Leadership,
    /// Wakes the scheduler.
    pub scheduler: Notify,
    /// Wakes clients that wait for their users to let them in.
    pub enrolments: Notify,
    /// One for each client that may wait so.
    pub enrolment_turns: Arc<Semaphore>,
    /// Who has tried wrong passwords of late.
    pub logins: LoginLimit,
    /// Who is told of changes.
    pub live: Live,
    /// Where the lines of logs are, and who looks at them.
    pub log_pages: LogPages,
    /// Ends background tasks and connections.
    pub shutdown: CancellationToken,
    /// When the server started: silent workers have a lease of grace from here on.
    pub started_at: DateTime<Utc>,
}

impl AppState {
    /// Shares the parts.
    pub fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The present moment.
    pub fn now(&self) -> DateTime<Utc> {
        to_stored_precision(self.clock.now())
    }

    /// Database and files, as upkeep wants them.
    pub fn storage(&self) -> Storage<'_> {
        Storage { database: &self.database, store: &*self.store, uploads: &self.uploads, entropy: &*self.entropy }
    }

    /// The live logs, as upkeep wants them.
    pub fn logs(&self) -> Logs<'_> {
        Logs { logs: &self.live_logs, life: self.config.live_log_life }
    }

    /// What tasks must know of the server.
    pub fn facts(&self) -> ServerFacts {
        ServerFacts { fqdn: self.config.fqdn.clone(), fallback_architecture: self.config.fallback_architecture.clone() }
    }
}

impl std::ops::Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}
