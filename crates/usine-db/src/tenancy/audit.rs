//! The audit log: who changed which group and which role, and how. Written in the transaction of the change.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::Value;

use crate::database::WriteTransaction;
use crate::entity::{audit_log, user};
use crate::{Database, Result};

pub use audit_log::Model as AuditEntry;

/// What the log calls the system itself.
const SYSTEM: &str = "_system";

/// Reads the audit log.
#[derive(Clone, Copy)]
pub struct AuditLog<'a>(pub &'a Database);

impl AuditLog<'_> {
    /// The newest entries of a group, newest first, at most `limit`.
    pub async fn of_group(&self, group_id: i64, limit: u64) -> Result<Vec<AuditEntry>> {
        let entries = audit_log::Entity::find().filter(audit_log::Column::GroupId.eq(group_id));
        Ok(entries.order_by_desc(audit_log::Column::Id).limit(limit).all(self.0.reader()).await?)
    }

    /// The newest entries of all, newest first, at most `limit`.
    pub async fn newest(&self, limit: u64) -> Result<Vec<AuditEntry>> {
        let entries = audit_log::Entity::find().order_by_desc(audit_log::Column::Id).limit(limit);
        Ok(entries.all(self.0.reader()).await?)
    }
}

/// A change that is about to be written.
pub(crate) struct Change<'a> {
    /// Who makes it; the system, if no user.
    pub(crate) actor: Option<i64>,
    /// The group that changes, or whose roles do.
    pub(crate) group_id: Option<i64>,
    /// Name of what changes.
    pub(crate) subject: &'a str,
    /// How, with a `type`.
    pub(crate) changes: Value,
    /// When.
    pub(crate) at: DateTime<Utc>,
}

pub(crate) async fn record(tx: &WriteTransaction, change: Change<'_>) -> Result<()> {
    let name = match change.actor {
        None => None,
        Some(id) => user::Entity::find_by_id(id).one(tx.connection()).await?.map(|user| user.username),
    };
    let row = audit_log::ActiveModel {
        id: NotSet,
        created_at: Set(change.at),
        actor_id: Set(change.actor),
        actor: Set(name.unwrap_or_else(|| SYSTEM.to_owned())),
        subject: Set(change.subject.to_owned()),
        group_id: Set(change.group_id),
        changes: Set(change.changes),
    };
    row.insert(tx.connection()).await?;
    Ok(())
}
