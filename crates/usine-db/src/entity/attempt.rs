//! One hand-out of a work request to a worker.

use sea_orm::entity::prelude::*;
use usine_model::work_request::Results;

use crate::Text;

/// One hand-out of a work request to a worker.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// What was handed out.
    pub work_request_id: i64,
    /// 1 for the first.
    pub number: i32,
    /// To whom.
    pub worker_id: Option<i64>,
    /// To whom, should the worker be deleted.
    pub worker_name: String,
    /// Hash of the key that came with it.
    pub token_hash: String,
    /// When.
    pub handed_out_at: DateTimeUtc,
    /// When it ended.
    pub ended_at: Option<DateTimeUtc>,
    /// `reported`, `aborted`, `lease-expired`, `worker-restarted` or `de-assigned`.
    pub outcome: Option<String>,
    /// What was reported.
    pub result: Text<Results>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `work_request_id`.
    #[sea_orm(
        belongs_to = "super::work_request::Entity",
        from = "Column::WorkRequestId",
        to = "super::work_request::Column::Id"
    )]
    WorkRequest,
}

impl Related<super::work_request::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::WorkRequest.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
