//! `GET whoami/` and `GET service-status/`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who the server takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Whoami {
    /// User name, or `<anonymous>`.
    pub user: String,
    /// Whether an enabled token was presented.
    pub auth: bool,
    /// The work request of a work-request token.
    pub work_request: Option<i64>,
    /// Whether it is the token of a worker.
    pub worker: bool,
}

/// Work requests waiting and running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// Waiting.
    pub pending: u64,
    /// Running.
    pub running: u64,
}

/// Workers by what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workers {
    /// All that are enabled.
    pub registered: u64,
    /// Those on line.
    pub connected: u64,
    /// Those on line without work.
    pub idle: u64,
    /// Those with work.
    pub busy: u64,
}

/// The state of the service in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// By type of task.
    pub tasks: BTreeMap<String, Queue>,
    /// By type of worker.
    pub workers: BTreeMap<String, Workers>,
    /// By type of worker.
    pub worker_tasks: BTreeMap<String, Queue>,
    /// External workers by each architecture they can do.
    pub external_workers_arch: BTreeMap<String, Workers>,
    /// External workers by their own architecture.
    pub external_workers_native_arch: BTreeMap<String, Workers>,
    /// Worker tasks by architecture, or `None`.
    pub worker_tasks_arch: BTreeMap<String, Queue>,
}
