//! Holds work requests and artifacts.

use sea_orm::entity::prelude::*;

/// Holds work requests and artifacts.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "workspace")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its scope.
    pub scope_id: i64,
    /// Unique in the scope.
    pub name: String,
    /// Whether anybody may look.
    pub public: bool,
    /// Seconds until artifacts and work requests without own delay expire; 0 is never.
    pub default_expiration_delay: i64,
    /// Seconds until the workspace itself expires; null is never.
    pub expiration_delay: Option<i64>,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// Markdown.
    pub description: String,
    /// What it gets of the workers, in proportion to others; 1 to 10,000.
    pub share_weight: i32,
    /// How many of its work requests workers may have at a time; null is any number.
    pub max_running: Option<i32>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `scope_id`.
    #[sea_orm(belongs_to = "super::scope::Entity", from = "Column::ScopeId", to = "super::scope::Column::Id")]
    Scope,
}

impl Related<super::scope::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Scope.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
