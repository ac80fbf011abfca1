//! A work request waits for another.

use sea_orm::entity::prelude::*;

/// A work request waits for another.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "work_request_dependency")]
pub struct Model {
    /// The one that waits.
    #[sea_orm(primary_key, auto_increment = false)]
    pub work_request_id: i64,
    /// The one it waits for.
    #[sea_orm(primary_key, auto_increment = false)]
    pub depends_on_id: i64,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
