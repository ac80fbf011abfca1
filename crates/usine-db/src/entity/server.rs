//! A life of a server: from its start to its end.

use sea_orm::entity::prelude::*;

/// A life of a server.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "server")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which server: its name stays the same from one life to the next.
    pub name: String,
    /// When it began.
    pub started_at: DateTimeUtc,
    /// When it last said that it is there.
    pub last_seen: DateTimeUtc,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
