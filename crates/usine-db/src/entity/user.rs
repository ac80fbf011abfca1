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
    /// What it gets of the workers, in proportion to others; 1 to 10,000.
    pub share_weight: i32,
    /// How many of its work requests workers may have at a time; null is any number.
    pub max_running: Option<i32>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
