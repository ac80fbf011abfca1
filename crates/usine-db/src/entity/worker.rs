//! A worker.

use sea_orm::entity::prelude::*;
use usine_model::worker::WorkerType;

use crate::Text;

/// A worker.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "worker")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Unique, made from the host name.
    pub name: String,
    /// When it registered.
    pub registered_at: DateTimeUtc,
    /// When it connected; null is not connected.
    pub connected_at: Option<DateTimeUtc>,
    /// Its token.
    pub token_id: Option<i64>,
    /// Token it may register with, once.
    pub activation_token_id: Option<i64>,
    /// Set by administrators.
    #[sea_orm(column_type = "JsonBinary")]
    pub static_metadata: Json,
    /// Sent by the worker.
    #[sea_orm(column_type = "JsonBinary")]
    pub dynamic_metadata: Json,
    /// When it was last sent.
    pub dynamic_metadata_updated_at: Option<DateTimeUtc>,
    /// Its kind.
    pub worker_type: Text<WorkerType>,
    /// How many work requests it has at once, at most.
    pub concurrency: i32,
    /// Where it is connected, or was last.
    pub server_id: Option<i64>,
    /// When it last gave a sign of life, as was known when it disconnected last.
    pub last_seen: Option<DateTimeUtc>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `token_id`.
    #[sea_orm(belongs_to = "super::token::Entity", from = "Column::TokenId", to = "super::token::Column::Id")]
    Token,
}

impl Related<super::token::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Token.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
