//! A browser in which a user has logged in.

use sea_orm::entity::prelude::*;

/// A browser in which a user has logged in.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// SHA-256 of the cookie's value, unique, 64 hexadecimal digits.
    pub hash: String,
    /// Who.
    pub user_id: i64,
    /// When.
    pub created_at: DateTimeUtc,
    /// When it ends.
    pub expire_at: DateTimeUtc,
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
