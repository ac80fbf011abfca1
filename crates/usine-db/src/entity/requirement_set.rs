//! What work requests ask of workers: each distinct set once.

use sea_orm::entity::prelude::*;

/// What work requests ask of workers: each distinct set once.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "requirement_set")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// SHA-256 of the definition.
    pub digest: String,
    /// The set, as `usine_model::matching::RequirementSet`.
    #[sea_orm(column_type = "JsonBinary")]
    pub definition: Json,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
