//! A client that waits for its user to let it in.

use sea_orm::entity::prelude::*;

/// A client that waits for its user to let it in.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "client_enrolment")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// When it asked.
    pub created_at: DateTimeUtc,
    /// Names the request.
    pub nonce: String,
    /// What it said of itself.
    #[sea_orm(column_type = "JsonBinary")]
    pub payload: Json,
    /// `confirm` or `cancel`, once the user has decided.
    pub outcome: Option<String>,
    /// Who has decided.
    pub user_id: Option<i64>,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
