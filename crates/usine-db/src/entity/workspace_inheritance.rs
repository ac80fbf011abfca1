//! Where a workspace looks further.

use sea_orm::entity::prelude::*;

/// Where a workspace looks further.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "workspace_inheritance")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The one that looks.
    pub child_id: i64,
    /// Where it looks.
    pub parent_id: i64,
    /// Its place in the order, from 0.
    pub position: i32,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `parent_id`.
    #[sea_orm(belongs_to = "super::workspace::Entity", from = "Column::ParentId", to = "super::workspace::Column::Id")]
    Parent,
}

impl ActiveModelBehavior for ActiveModel {}
