//! Users who hold roles together.

use sea_orm::entity::prelude::*;

/// Users who hold roles together.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "group")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Unique in the scope, or in the workspace.
    pub name: String,
    /// Its scope.
    pub scope_id: i64,
    /// Its workspace, if it belongs to one.
    pub workspace_id: Option<i64>,
    /// Whether it goes away with its last role.
    pub ephemeral: bool,
    /// Whether it is the system's own.
    pub system: bool,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `scope_id`.
    #[sea_orm(belongs_to = "super::scope::Entity", from = "Column::ScopeId", to = "super::scope::Column::Id")]
    Scope,
    /// By `workspace_id`.
    #[sea_orm(
        belongs_to = "super::workspace::Entity",
        from = "Column::WorkspaceId",
        to = "super::workspace::Column::Id"
    )]
    Workspace,
}

impl Related<super::scope::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Scope.def()
    }
}

impl Related<super::workspace::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Workspace.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
