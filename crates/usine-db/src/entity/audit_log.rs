//! Who changed what in groups and roles.

use sea_orm::entity::prelude::*;

/// Who changed what in groups and roles.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    /// Never reused.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// When.
    pub created_at: DateTimeUtc,
    /// Who, while that user exists.
    pub actor_id: Option<i64>,
    /// Name of who, as it was.
    pub actor: String,
    /// Name of what, as it was.
    pub subject: String,
    /// Which group, while it exists.
    pub group_id: Option<i64>,
    /// What, by its `type`.
    #[sea_orm(column_type = "JsonBinary")]
    pub changes: Json,
}

/// None.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
