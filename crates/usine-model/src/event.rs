//! What happened: every change of state has one of these, written in the same transaction.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// The kinds of events. Terminal states, abort included, all have one.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EventKind {
    /// A work request was submitted.
    Created,
    /// It became ready to run.
    Pending,
    /// It went back to waiting.
    Blocked,
    /// The scheduler chose a worker.
    Assigned,
    /// The worker was taken from it.
    DeAssigned,
    /// The worker fetched it.
    Running,
    /// The same worker, restarted, fetched it again.
    HandedOutAgain,
    /// Its worker fell silent, or came back without it.
    WorkerLost,
    /// It ended with a result.
    Completed,
    /// It was given up.
    Aborted,
    /// A new work request replaces it.
    Retried,
    /// Its priority was changed.
    PriorityChanged,
    /// A worker registered.
    WorkerRegistered,
    /// A worker connected.
    WorkerConnected,
    /// A worker's connection closed.
    WorkerDisconnected,
    /// A worker said what it can do, or an administrator did.
    WorkerMetadata,
    /// A worker's token was enabled.
    WorkerEnabled,
    /// A worker's token was disabled.
    WorkerDisabled,
}

impl EventKind {
    /// Whether the scheduler may have something to do after it.
    pub fn wakes_scheduler(self) -> bool {
        matches!(
            self,
            Self::Pending
                | Self::DeAssigned
                | Self::WorkerLost
                | Self::Completed
                | Self::Aborted
                | Self::PriorityChanged
                | Self::WorkerConnected
                | Self::WorkerMetadata
                | Self::WorkerEnabled
        )
    }
}
