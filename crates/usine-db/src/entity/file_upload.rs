//! An upload in progress.

use sea_orm::entity::prelude::*;

/// An upload in progress.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "file_upload")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which file.
    pub file_in_artifact_id: i64,
    /// Name in the staging area.
    pub path: String,
    /// When bytes last came.
    pub last_activity_at: DateTimeUtc,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `file_in_artifact_id`.
    #[sea_orm(
        belongs_to = "super::file_in_artifact::Entity",
        from = "Column::FileInArtifactId",
        to = "super::file_in_artifact::Column::Id"
    )]
    FileInArtifact,
}

impl Related<super::file_in_artifact::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::FileInArtifact.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
