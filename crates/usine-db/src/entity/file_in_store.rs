//! A store has a file.

use sea_orm::entity::prelude::*;

/// A store has a file.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "file_in_store")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which store.
    pub store_id: i64,
    /// Which file.
    pub file_id: i64,
    /// For the backend.
    #[sea_orm(column_type = "JsonBinary")]
    pub data: Json,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `file_id`.
    #[sea_orm(belongs_to = "super::file::Entity", from = "Column::FileId", to = "super::file::Column::Id")]
    File,
}

impl Related<super::file::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::File.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
