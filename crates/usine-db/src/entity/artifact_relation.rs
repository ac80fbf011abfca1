//! One artifact relates to another.

use sea_orm::entity::prelude::*;
use usine_model::artifact::RelationType;

use crate::Text;

/// One artifact relates to another.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "artifact_relation")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The one that relates.
    pub artifact_id: i64,
    /// The one it relates to.
    pub target_id: i64,
    /// How.
    pub r#type: Text<RelationType>,
}

/// What it belongs to.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
