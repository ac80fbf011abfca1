//! The worker: connect, take a work request, run it, deliver what it made, report.
//!
//! One process runs one work request at a time. What a task made is written to the [`spool`] before anything is sent, so
//! that neither a crash here nor an absent server loses a finished build. What tasks are and how they run is not known
//! here: that is `usine-tasks`, behind [`Runner`].

mod cache;
pub mod config;
pub mod credentials;
mod daemon;
mod delivery;
mod error;
mod host;
pub mod identity;
mod job;
mod leftovers;
mod lock;
mod log_queue;
mod ownership;
mod session;
pub mod spool;
mod tempo;
mod workdir;

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use usine_protocol::work_request::WorkRequest;
use usine_tasks::{Host, Outcome, Surroundings};

pub use cache::{Cache, CacheError, Cached};
pub use config::{Config, LogLevel, Places, parse_size};
pub use daemon::{Ground, Stop, clean, run};
pub use error::WorkerError;
pub use tempo::Tempo;

/// What this program calls itself in the metadata.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who runs tasks: the task library, or something simpler in tests.
pub trait Runner: Send + Sync {
    /// Runs a work request to its end.
    fn execute<'a>(
        &'a self,
        work_request: &'a WorkRequest,
        surroundings: &'a Surroundings,
        host: &'a dyn Host,
    ) -> BoxFuture<'a, Outcome>;

    /// What this machine can do. Blocks.
    fn capabilities(&self) -> Map<String, Value>;
}

/// The tasks of `usine-tasks`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskLibrary;

impl Runner for TaskLibrary {
    fn execute<'a>(
        &'a self,
        work_request: &'a WorkRequest,
        surroundings: &'a Surroundings,
        host: &'a dyn Host,
    ) -> BoxFuture<'a, Outcome> {
        let dynamic = work_request.dynamic_task_data.as_ref();
        Box::pin(usine_tasks::execute(
            work_request.task_type,
            &work_request.task_name,
            &work_request.task_data,
            dynamic,
            surroundings,
            host,
        ))
    }

    fn capabilities(&self) -> Map<String, Value> {
        usine_tasks::capabilities::detect(VERSION)
    }
}
