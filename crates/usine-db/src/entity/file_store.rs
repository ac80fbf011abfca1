//! A place that keeps files.

use sea_orm::entity::prelude::*;

/// A place that keeps files.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "file_store")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Unique name.
    pub name: String,
    /// `Local`, `S3`, …
    pub backend: String,
    /// For the backend.
    #[sea_orm(column_type = "JsonBinary")]
    pub configuration: Json,
    /// Whether all scopes may use it.
    pub instance_wide: bool,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
