//! A piece of a live log, as the servers tell each other.

use sea_orm::entity::prelude::*;

/// A piece of a live log.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "live_log_piece")]
pub struct Model {
    /// Whose log.
    #[sea_orm(primary_key, auto_increment = false)]
    pub work_request_id: i64,
    /// The place of the first byte in the log.
    #[sea_orm(primary_key, auto_increment = false)]
    pub begin_at: i64,
    /// Whole lines; none marks the end.
    pub data: Vec<u8>,
    /// When.
    pub written_at: DateTimeUtc,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
