//! Content, by its hash.

use sea_orm::entity::prelude::*;

/// Content, by its hash.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "file")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// 32 bytes.
    pub sha256: Vec<u8>,
    /// Bytes.
    pub size: i64,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
