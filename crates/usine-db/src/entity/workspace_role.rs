//! What a group may do in a workspace.

use sea_orm::entity::prelude::*;
use usine_model::permission::WorkspaceRole;

use crate::Text;

/// What a group may do in a workspace.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "workspace_role")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The workspace.
    pub workspace_id: i64,
    /// The group.
    pub group_id: i64,
    /// The role.
    pub role: Text<WorkspaceRole>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `group_id`.
    #[sea_orm(belongs_to = "super::group::Entity", from = "Column::GroupId", to = "super::group::Column::Id")]
    Group,
}

impl Related<super::group::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Group.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
