//! What is ours alone, below `/api/usine/1.0/`: deadlines, limits, reasons, history, lists of artifacts, logs that were kept.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use usine_model::event::EventKind;
use usine_model::matching::PendingReason;
use usine_model::output_data::OutputData;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::work_request::Results;

use crate::time;
use crate::work_request::CreateWorkRequest;

/// `POST work-request/`: as in the 1.0 API, and the limits on the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreateLimitedWorkRequest {
    /// What the 1.0 API takes.
    #[serde(flatten)]
    pub work_request: CreateWorkRequest,
    /// Limits in seconds.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Limits in bytes.
    #[serde(default, skip_serializing_if = "ResourceLimits::is_none")]
    pub limits: ResourceLimits,
}

/// `GET work-request/{id}/details/`: what the 1.0 answer does not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkRequestDetails {
    /// Its id.
    pub id: i64,
    /// Name of its worker.
    pub worker_name: Option<String>,
    /// Statistics, errors.
    pub output_data: OutputData,
    /// Limits in seconds.
    pub deadlines: Deadlines,
    /// Limits in bytes.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// Until when it rests after a temporary failure of the one it replaces.
    #[serde(default, with = "time::optional")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub delayed_until: Option<DateTime<Utc>>,
    /// The one it replaces.
    pub supersedes: Option<i64>,
    /// The one that replaces it.
    pub superseded_by: Option<i64>,
    /// Why it is not running, while it is pending or rests.
    pub pending_reason: Option<PendingReason>,
    /// Each hand-out to a worker.
    pub attempts: Vec<Attempt>,
    /// All that happened, oldest first.
    pub history: Vec<HistoryEntry>,
}

/// One hand-out of a work request to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// 1 for the first.
    pub number: i32,
    /// Name of the worker.
    pub worker: String,
    /// When it was handed out.
    #[serde(with = "time")]
    #[schemars(with = "DateTime<Utc>")]
    pub handed_out_at: DateTime<Utc>,
    /// When it ended.
    #[serde(with = "time::optional")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended: `reported`, `aborted`, `lease-expired`, …
    pub outcome: Option<String>,
    /// The result that was reported.
    pub result: Option<Results>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// Number of the event.
    pub id: i64,
    /// When.
    #[serde(with = "time")]
    #[schemars(with = "DateTime<Utc>")]
    pub at: DateTime<Utc>,
    /// What.
    pub event: EventKind,
    /// Name of the worker it concerns.
    pub worker: Option<String>,
    /// More about it.
    pub detail: Option<Value>,
}
