//! The queue has lanes: in each are the work requests of one user in one workspace that ask the same of workers.

use sea_orm::entity::prelude::*;

/// A lane of the queue.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lane")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// What its work requests ask of workers.
    pub requirement_set_id: i64,
    /// Where they belong.
    pub workspace_id: i64,
    /// Whose they are.
    pub created_by_id: i64,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
