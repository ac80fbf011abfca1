//! A tenant: holds workspaces.

use sea_orm::entity::prelude::*;

/// A tenant: holds workspaces.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "scope")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Unique name, part of addresses.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// Picture, may be empty.
    pub icon: String,
    /// Whether anybody may know of it.
    pub public: bool,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
