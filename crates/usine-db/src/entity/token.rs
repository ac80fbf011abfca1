//! Shared secret between the server and a client or worker; only its hash is stored.

use sea_orm::entity::prelude::*;
use usine_model::token::TokenType;

use crate::Text;

/// Shared secret between the server and a client or worker; only its hash is stored.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "token")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// SHA-256 of the key, unique, 64 hexadecimal digits.
    pub hash: String,
    /// What it is for.
    pub token_type: Text<TokenType>,
    /// Whose it is (type `user`).
    pub user_id: Option<i64>,
    /// Whose it is (type `external-user`).
    pub external_username: String,
    /// What it is for (type `work-request`).
    pub work_request_id: Option<i64>,
    /// Reason it was created, at most 100 characters.
    pub comment: String,
    /// Who made it.
    pub created_by_id: Option<i64>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it stops working; null is never.
    pub expire_at: Option<DateTimeUtc>,
    /// Whether it works.
    pub enabled: bool,
    /// Whether it has no rights but those granted to it.
    pub explicit_grants_only: bool,
    /// When it was last presented (5 minutes' resolution).
    pub last_seen_at: Option<DateTimeUtc>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `user_id`.
    #[sea_orm(belongs_to = "super::user::Entity", from = "Column::UserId", to = "super::user::Column::Id")]
    User,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
