//! A set of files with a category and data; never changes.

use sea_orm::entity::prelude::*;
use usine_model::artifact::ArtifactCategory;

use crate::Text;

/// A set of files with a category and data; never changes.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "artifact")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// What kind of thing it is.
    pub category: Text<ArtifactCategory>,
    /// Where it belongs.
    pub workspace_id: i64,
    /// By category.
    #[sea_orm(column_type = "JsonBinary")]
    pub data: Json,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// Seconds until it expires; null is the workspace's default, 0 is never.
    pub expiration_delay: Option<i64>,
    /// Who made it.
    pub created_by_id: Option<i64>,
    /// Which work request made it.
    pub created_by_work_request_id: Option<i64>,
    /// What it is a copy of.
    pub original_artifact_id: Option<i64>,
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
    /// By `created_by_work_request_id`.
    #[sea_orm(
        belongs_to = "super::work_request::Entity",
        from = "Column::CreatedByWorkRequestId",
        to = "super::work_request::Column::Id"
    )]
    WorkRequest,
}

impl Related<super::workspace::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Workspace.def()
    }
}

impl Related<super::work_request::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::WorkRequest.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
