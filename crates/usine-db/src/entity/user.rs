//! A person, or the system itself.

use sea_orm::entity::prelude::*;

/// A person, or the system itself.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Unique name.
    pub username: String,
    /// Unique among people; empty for system users.
    pub email: String,
    /// argon2id hash, empty if there is none.
    pub password: String,
    /// May do everything.
    pub is_superuser: bool,
    /// May log in.
    pub is_active: bool,
    /// Not a person.
    pub is_system: bool,
    /// When the account was made.
    pub date_joined: DateTimeUtc,
    /// When the person last logged in.
    pub last_login: Option<DateTimeUtc>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
