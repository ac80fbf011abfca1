//! A file under its name in an artifact.

use sea_orm::entity::prelude::*;

/// A file under its name in an artifact.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "file_in_artifact")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which artifact.
    pub artifact_id: i64,
    /// Its name there.
    pub path: String,
    /// Which content.
    pub file_id: i64,
    /// Whether the content has arrived.
    pub complete: bool,
    /// MIME type as its maker says.
    pub content_type: Option<String>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `artifact_id`.
    #[sea_orm(belongs_to = "super::artifact::Entity", from = "Column::ArtifactId", to = "super::artifact::Column::Id")]
    Artifact,
    /// By `file_id`.
    #[sea_orm(belongs_to = "super::file::Entity", from = "Column::FileId", to = "super::file::Column::Id")]
    File,
}

impl Related<super::artifact::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Artifact.def()
    }
}

impl Related<super::file::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::File.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
