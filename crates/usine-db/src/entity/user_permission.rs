//! What a user may do everywhere.

use sea_orm::entity::prelude::*;
use usine_model::permission::GlobalPermission;

use crate::Text;

/// What a user may do everywhere.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user_permission")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The user.
    pub user_id: i64,
    /// The permission.
    pub permission: Text<GlobalPermission>,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
