//! A request to execute a task.

use sea_orm::entity::prelude::*;
use usine_model::work_request::{Results, Statuses, TaskType};

use crate::Text;

/// A request to execute a task.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "work_request")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Where it belongs.
    pub workspace_id: i64,
    /// When it was submitted.
    pub created_at: DateTimeUtc,
    /// Who submitted it.
    pub created_by_id: i64,
    /// When it last became pending.
    pub pending_at: Option<DateTimeUtc>,
    /// When a worker fetched it.
    pub started_at: Option<DateTimeUtc>,
    /// When it ended, also by abort.
    pub completed_at: Option<DateTimeUtc>,
    /// Who completed it, if a person did.
    pub completed_by_id: Option<i64>,
    /// Who aborted it.
    pub aborted_by_id: Option<i64>,
    /// Where it stands.
    pub status: Text<Statuses>,
    /// How it ended.
    pub result: Text<Results>,
    /// Its worker.
    pub worker_id: Option<i64>,
    /// Where it runs.
    pub task_type: Text<TaskType>,
    /// Name of the task.
    pub task_name: String,
    /// What it is about: mostly the name of a source package; may be empty.
    pub subject: String,
    /// Its parameters in a few words; may be empty.
    pub summary: String,
    /// Data of the task as submitted.
    #[sea_orm(column_type = "JsonBinary")]
    pub task_data: Json,
    /// What the server added: resolved lookups.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub dynamic_task_data: Option<Json>,
    /// Data of the task with task configuration applied.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub configured_task_data: Option<Json>,
    /// Version of the code that computed the dynamic data.
    pub version: i32,
    /// Priority at creation.
    pub priority_base: i32,
    /// Priority added by a person.
    pub priority_adjustment: i32,
    /// Statistics, errors, reasons.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub output_data: Option<Json>,
    /// `deps`, `manual` or `incremental`.
    pub unblock_strategy: String,
    /// The workflow it belongs to.
    pub parent_id: Option<i64>,
    /// The outermost workflow it belongs to.
    pub workflow_root_id: Option<i64>,
    /// Place in its workflow; `retry_count`.
    #[sea_orm(column_type = "JsonBinary")]
    pub workflow_data: Json,
    /// What to do when something happens.
    #[sea_orm(column_type = "JsonBinary")]
    pub event_reactions: Json,
    /// Seconds until it expires; null is the workspace's default, 0 is never.
    pub expiration_delay: Option<i64>,
    /// The one it replaces.
    pub supersedes_id: Option<i64>,
    /// Tags it provides, sorted.
    #[sea_orm(column_type = "JsonBinary")]
    pub scheduler_tags_provided: Json,
    /// Tags it requires, sorted.
    #[sea_orm(column_type = "JsonBinary")]
    pub scheduler_tags_required: Json,
    /// Its requirements, interned.
    pub requirement_set_id: Option<i64>,
    /// Its lane in the queue: its requirements and its owner, interned.
    pub lane_id: Option<i64>,
    /// Seconds it may run.
    pub deadline_total: Option<i32>,
    /// Seconds it may run without a line of log.
    pub deadline_silence: Option<i32>,
    /// Bytes of memory it may use.
    pub limit_memory: Option<i64>,
    /// Bytes of disk space it may use.
    pub limit_disk: Option<i64>,
    /// When it becomes pending: it rests after a temporary failure of the one it replaces.
    pub delayed_until: Option<DateTimeUtc>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `workspace_id`.
    #[sea_orm(
        belongs_to = "super::workspace::Entity",
        from = "Column::WorkspaceId",
        to = "super::workspace::Column::Id"
    )]
    Workspace,
    /// By `worker_id`.
    #[sea_orm(belongs_to = "super::worker::Entity", from = "Column::WorkerId", to = "super::worker::Column::Id")]
    Worker,
}

impl Related<super::workspace::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Workspace.def()
    }
}

impl Related<super::worker::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Worker.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
