//! Bodies of `work-request/`.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usine_model::output_data::OutputData;
use usine_model::policy::ResourceLimits;
use usine_model::work_request::{Results, Statuses, TaskType};

use crate::time;

/// `POST work-request/`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreateWorkRequest {
    /// Name of the task.
    pub task_name: String,
    /// Data of the task.
    #[serde(default)]
    pub task_data: Value,
    /// What to do when something happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_reactions: Option<Value>,
    /// Name of the workspace; the default one if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

/// A work request, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkRequest {
    /// Addresses of related things.
    #[serde(default)]
    pub links: Map<String, Value>,
    /// Its id.
    pub id: i64,
    /// Path of its page.
    #[serde(default)]
    pub url: String,
    /// The workflow it belongs to.
    #[serde(default)]
    pub parent: Option<i64>,
    /// The outermost workflow it belongs to.
    #[serde(default)]
    pub workflow_root: Option<i64>,
    /// When it was submitted.
    #[serde(with = "time")]
    #[schemars(with = "DateTime<Utc>")]
    pub created_at: DateTime<Utc>,
    /// When a worker fetched it.
    #[serde(default, with = "time::optional")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, with = "time::optional")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub completed_at: Option<DateTime<Utc>>,
    /// Seconds from start to end.
    #[serde(default)]
    pub duration: Option<f64>,
    /// Id of the user who submitted it.
    #[serde(default)]
    pub created_by: i64,
    /// Id of the user who completed it.
    #[serde(default)]
    pub completed_by: Option<i64>,
    /// Id of the user who aborted it.
    #[serde(default)]
    pub aborted_by: Option<i64>,
    /// Where it stands.
    pub status: Statuses,
    /// How it ended.
    pub result: Results,
    /// Id of its worker.
    #[serde(default)]
    pub worker: Option<i64>,
    /// Where it runs.
    pub task_type: TaskType,
    /// Name of the task.
    pub task_name: String,
    /// Data of the task.
    pub task_data: Value,
    /// What the server added for the worker.
    #[serde(default)]
    pub dynamic_task_data: Option<Value>,
    /// Priority at creation.
    pub priority_base: i32,
    /// Priority added by a person.
    pub priority_adjustment: i32,
    /// Place in its workflow.
    #[serde(default)]
    pub workflow_data: Value,
    /// What to do when something happens.
    #[serde(default)]
    pub event_reactions: Value,
    /// Ids of the artifacts it made.
    pub artifacts: Vec<i64>,
    /// Name of its scope.
    #[serde(default)]
    pub scope: String,
    /// Name of its workspace.
    pub workspace: String,
    /// Tags it provides.
    #[serde(default)]
    pub scheduler_tags_provided: Vec<String>,
    /// Tags it requires.
    #[serde(default)]
    pub scheduler_tags_required: Vec<String>,
    /// Key for the worker that fetches it; only in the answer to that call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What its commands may use, if that is limited; only in the answer to that call. Debian's workers ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
}

/// `PATCH work-request/{id}/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateWorkRequest {
    /// The new adjustment.
    pub priority_adjustment: i32,
}

/// `POST work-request/{id}/unblock/`; at least one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnblockWorkRequest {
    /// What the person has to say, at most [`MAX_NOTES`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// What becomes of it; nothing yet if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<UnblockAction>,
}

/// Most characters of notes and comments.
pub const MAX_NOTES: usize = 65_536;

/// What a person decides about a work request that waits for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnblockAction {
    /// It becomes pending.
    Accept,
    /// It is aborted.
    Reject,
}

/// `POST work-request/{id}/confirm/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmWorkRequest {
    /// Whether the person agrees.
    #[serde(default = "yes")]
    pub confirm: bool,
    /// What the person has to say, at most [`MAX_NOTES`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

fn yes() -> bool {
    true
}

/// `PUT work-request/{id}/completed/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// The result, not empty.
    pub result: Results,
    /// What else there is to say.
    #[serde(default)]
    pub output_data: OutputData,
}
