//! The life of a work request: its statuses and results, and which step may follow which.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// Where a work request stands.
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
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Statuses {
    /// Waits for something else: dependencies, or a person.
    Blocked,
    /// Ready to run; with a worker, it is assigned but not fetched yet.
    Pending,
    /// A worker has fetched it.
    Running,
    /// Over, with a result.
    Completed,
    /// Given up on request.
    Aborted,
}

impl Statuses {
    /// The label shown to people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Blocked => "Blocked",
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
        }
    }

    /// Whether nothing can happen to the row any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted)
    }
}

/// How a work request ended.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
    JsonSchema,
)]
pub enum Results {
    /// Not ended, or aborted.
    #[default]
    #[serde(rename = "")]
    #[strum(serialize = "")]
    None,
    /// The task ran and says yes.
    #[serde(rename = "success")]
    #[strum(serialize = "success")]
    Success,
    /// The task ran and says no.
    #[serde(rename = "failure")]
    #[strum(serialize = "failure")]
    Failure,
    /// Worth trying again.
    #[serde(rename = "temporary failure")]
    #[strum(serialize = "temporary failure")]
    TemporaryFailure,
    /// The task could not run.
    #[serde(rename = "error")]
    #[strum(serialize = "error")]
    Error,
    /// There was nothing to do.
    #[serde(rename = "skipped")]
    #[strum(serialize = "skipped")]
    Skipped,
}

impl Results {
    /// The label shown to people.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Success => "Success",
            Self::Failure => "Failure",
            Self::TemporaryFailure => "Temporary failure",
            Self::Error => "Error",
            Self::Skipped => "Skipped",
        }
    }

    /// Whether an ended work request with this result may be retried.
    pub fn is_unsuccessful(self) -> bool {
        matches!(self, Self::Failure | Self::TemporaryFailure | Self::Error)
    }
}

/// Which kind of machinery a task runs in.
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
pub enum TaskType {
    /// On an external worker.
    Worker,
    /// In the server.
    Server,
    /// In the scheduler.
    Internal,
    /// Makes and follows other work requests.
    Workflow,
    /// On a signing worker.
    Signing,
    /// Nowhere: waits for an event.
    Wait,
}

impl TaskType {
    /// Whether a work request of this type is given to a worker.
    pub fn needs_worker(self) -> bool {
        matches!(self, Self::Worker | Self::Server | Self::Signing)
    }
}

/// The facts about a work request that decide what may happen to it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Its id, for messages.
    pub id: i64,
    /// Where it runs.
    pub task_type: TaskType,
    /// Where it stands.
    pub status: Statuses,
    /// How it ended.
    pub result: Results,
    /// Whether a worker is assigned.
    pub has_worker: bool,
    /// Whether another work request replaces it.
    pub superseded: bool,
}

/// A step that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusChangeError {
    /// Running needs a worker.
    #[error("Cannot mark WorkRequest {0} as running: it does not have an assigned worker")]
    NoWorker(i64),
    /// The present status does not lead there.
    #[error("Cannot mark WorkRequest {id} as {wanted}: current status is {current}")]
    WrongStatus {
        /// The work request.
        id: i64,
        /// The status asked for.
        wanted: Statuses,
        /// The status it has.
        current: Statuses,
    },
    /// The worker has its hands full.
    #[error(
        "Cannot mark WorkRequest {id} as running: the assigned worker {worker} is running too many WorkRequests: {running:?}"
    )]
    WorkerBusy {
        /// The work request.
        id: i64,
        /// Name of the worker.
        worker: String,
        /// Ids of what it runs.
        running: Vec<i64>,
    },
    /// Completion needs a result.
    #[error("result cannot be NONE")]
    NoResult,
}

/// What [`State::mark_running`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkRunning {
    /// Change it.
    Change,
    /// It already runs: success, nothing changes.
    AlreadyRunning,
}

impl State {
    /// May a worker that runs `running` (ids) and has `concurrency` slots begin this one?
    pub fn mark_running(
        &self,
        worker: &str,
        running: &[i64],
        concurrency: usize,
    ) -> Result<MarkRunning, StatusChangeError> {
        if self.task_type.needs_worker() && !self.has_worker {
            return Err(StatusChangeError::NoWorker(self.id));
        }
        match self.status {
            Statuses::Running => Ok(MarkRunning::AlreadyRunning),
            Statuses::Pending if self.task_type.needs_worker() && running.len() >= concurrency => {
                Err(StatusChangeError::WorkerBusy { id: self.id, worker: worker.to_owned(), running: running.to_vec() })
            }
            Statuses::Pending => Ok(MarkRunning::Change),
            current => Err(self.wrong(Statuses::Running, current)),
        }
    }

    /// May it be completed with `result`?
    pub fn mark_completed(&self, result: Results) -> Result<(), StatusChangeError> {
        if result == Results::None {
            return Err(StatusChangeError::NoResult);
        }
        match self.status {
            Statuses::Pending | Statuses::Running => Ok(()),
            current => Err(self.wrong(Statuses::Completed, current)),
        }
    }

    /// May it become pending? Only from blocked, unless forced.
    pub fn mark_pending(&self, force: bool) -> Result<(), StatusChangeError> {
        match self.status {
            Statuses::Blocked => Ok(()),
            _ if force => Ok(()),
            current => Err(self.wrong(Statuses::Pending, current)),
        }
    }

    /// Whether its worker can be taken from it.
    pub fn can_be_de_assigned(&self) -> bool {
        matches!(self.status, Statuses::Pending | Statuses::Running)
    }

    /// Aborted, or completed with a bad result.
    pub fn is_unsuccessful(&self) -> bool {
        match self.status {
            Statuses::Aborted => true,
            Statuses::Completed => self.result.is_unsuccessful(),
            _ => false,
        }
    }

    /// Why a person may not abort it, if so.
    pub fn check_abort(&self) -> Result<(), &'static str> {
        if self.superseded {
            Err("Cannot abort old superseded tasks")
        } else if self.status.is_terminal() {
            Err("Only pending, blocked, or running tasks can be aborted")
        } else {
            Ok(())
        }
    }

    /// Why it cannot be retried, if so. With `force_status` an unfinished one counts as failed.
    pub fn check_retry(&self, force_status: bool) -> Result<(), &'static str> {
        if !matches!(self.task_type, TaskType::Worker | TaskType::Workflow | TaskType::Internal | TaskType::Signing) {
            Err("Only workflow, worker, internal, or signing tasks can be retried")
        } else if self.superseded {
            Err("Cannot retry old superseded tasks")
        } else if !(force_status || self.is_unsuccessful()) {
            Err("Only unsuccessful tasks can be retried")
        } else {
            Ok(())
        }
    }

    fn wrong(&self, wanted: Statuses, current: Statuses) -> StatusChangeError {
        StatusChangeError::WrongStatus { id: self.id, wanted, current }
    }
}

/// Seconds between start and completion, or `None` if either is missing.
pub fn duration(started_at: Option<DateTime<Utc>>, completed_at: Option<DateTime<Utc>>) -> Option<f64> {
    let span = completed_at? - started_at?;
    Some(span.num_microseconds()? as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: Statuses) -> State {
        State { id: 7, task_type: TaskType::Worker, status, result: Results::None, has_worker: true, superseded: false }
    }

    #[test]
    fn running_needs_a_free_worker_and_a_pending_request() {
        let pending = state(Statuses::Pending);
        assert_eq!(pending.mark_running("w", &[], 1), Ok(MarkRunning::Change));
        assert_eq!(state(Statuses::Running).mark_running("w", &[7], 1), Ok(MarkRunning::AlreadyRunning));
        let alone = State { has_worker: false, ..pending };
        assert_eq!(
            alone.mark_running("w", &[], 1).unwrap_err().to_string(),
            "Cannot mark WorkRequest 7 as running: it does not have an assigned worker"
        );
        assert_eq!(
            pending.mark_running("w", &[3], 1).unwrap_err().to_string(),
            "Cannot mark WorkRequest 7 as running: the assigned worker w is running too many WorkRequests: [3]"
        );
        for status in [Statuses::Blocked, Statuses::Completed, Statuses::Aborted] {
            assert_eq!(
                state(status).mark_running("w", &[], 1).unwrap_err().to_string(),
                format!("Cannot mark WorkRequest 7 as running: current status is {status}")
            );
        }
    }

    #[test]
    fn completion_needs_a_result_and_an_open_request() {
        assert_eq!(state(Statuses::Pending).mark_completed(Results::Error), Ok(()));
        assert_eq!(state(Statuses::Running).mark_completed(Results::Success), Ok(()));
        assert_eq!(state(Statuses::Running).mark_completed(Results::None), Err(StatusChangeError::NoResult));
        for status in [Statuses::Blocked, Statuses::Completed, Statuses::Aborted] {
            assert!(state(status).mark_completed(Results::Success).is_err());
        }
    }

    #[test]
    fn only_the_unsuccessful_are_retried() {
        assert!(state(Statuses::Running).check_retry(false).is_err());
        assert!(state(Statuses::Running).check_retry(true).is_ok());
        assert!(state(Statuses::Aborted).check_retry(false).is_ok());
        let failed = State { result: Results::Failure, ..state(Statuses::Completed) };
        assert!(failed.check_retry(false).is_ok());
        assert!(State { result: Results::Success, ..failed }.check_retry(false).is_err());
        assert!(State { superseded: true, ..failed }.check_retry(false).is_err());
        assert!(State { task_type: TaskType::Server, ..failed }.check_retry(false).is_err());
    }

    #[test]
    fn durations_are_seconds() {
        let start = DateTime::from_timestamp(1_000, 0);
        let end = DateTime::from_timestamp(1_001, 500_000_000);
        assert_eq!(duration(start, end), Some(1.5));
        assert_eq!(duration(start, None), None);
        assert_eq!(duration(None, end), None);
    }

    #[test]
    fn names_are_those_of_the_wire() {
        assert_eq!(serde_json::to_string(&Results::TemporaryFailure).unwrap(), "\"temporary failure\"");
        assert_eq!(serde_json::to_string(&Results::None).unwrap(), "\"\"");
        assert_eq!("".parse(), Ok(Results::None));
        assert_eq!(Statuses::Pending.to_string(), "pending");
        assert_eq!(TaskType::Worker.to_string(), "Worker");
    }
}
