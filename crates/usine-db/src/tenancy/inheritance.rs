//! Inheritance: in which other workspaces a workspace looks, in order. It grants nothing: what is found there must be visible to who
//! asks.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, JoinType, NotSet, QueryFilter, QueryOrder, QuerySelect, RelationTrait,
    Set,
};
use serde_json::json;

use super::{Scope, Workspace, WorkspaceManager, audit};
use crate::database::{WriteTransaction, transact};
use crate::entity::{scope, workspace, workspace_inheritance};
use crate::{Error, Result};

/// Why a chain is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It names the workspace itself, or one twice.
    #[error("{0}")]
    Invalid(String),
    /// Anything else.
    #[error(transparent)]
    Database(#[from] Error),
}

impl WorkspaceManager<'_> {
    /// Where a workspace looks further, in order.
    pub async fn inheritance(&self, workspace: &Workspace) -> Result<Vec<(Workspace, Scope)>> {
        let parents = workspace::Entity::find()
            .join_rev(JoinType::InnerJoin, workspace_inheritance::Relation::Parent.def())
            .filter(workspace_inheritance::Column::ChildId.eq(workspace.id))
            .order_by_asc(workspace_inheritance::Column::Position)
            .find_also_related(scope::Entity)
            .all(self.0.reader())
            .await?;
        Ok(parents.into_iter().filter_map(|(workspace, scope)| Some((workspace, scope?))).collect())
    }

    /// Replaces the whole chain.
    pub async fn set_inheritance(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        parents: &[(Workspace, Scope)],
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<(), ChainError> {
        for (place, (parent, its_scope)) in parents.iter().enumerate() {
            if parent.id == workspace.id {
                return Err(ChainError::Invalid("inheritance chain contains the workspace itself".to_owned()));
            }
            if parents[..place].iter().any(|(earlier, _)| earlier.id == parent.id) {
                let name = parent.full_name(its_scope);
                return Err(ChainError::Invalid(format!("duplicate workspace '{name}' in inheritance chain")));
            }
        }
        let written = async {
            transact!(self.0, tx => {
                let old = positions(&tx, workspace.id).await?;
                workspace_inheritance::Entity::delete_many()
                    .filter(workspace_inheritance::Column::ChildId.eq(workspace.id))
                    .exec(tx.connection())
                    .await?;
                for (position, (parent, _)) in (0..).zip(parents) {
                    let row = workspace_inheritance::ActiveModel {
                        id: NotSet,
                        child_id: Set(workspace.id),
                        parent_id: Set(parent.id),
                        position: Set(position),
                    };
                    row.insert(tx.connection()).await?;
                }
                let new: Vec<i64> = parents.iter().map(|(parent, _)| parent.id).collect();
                if new != old {
                    let names: Vec<String> = parents.iter().map(|(parent, scope)| parent.full_name(scope)).collect();
                    let changes = json!({"type": "update", "inheritance": names});
                    let subject = workspace.full_name(scope);
                    let change = audit::Change { actor: by, group_id: None, subject: &subject, changes, at: now };
                    audit::record(&tx, change).await?;
                }
                Ok(())
            })
        };
        Ok(written.await?)
    }
}

async fn positions(tx: &WriteTransaction, child: i64) -> Result<Vec<i64>> {
    let rows = workspace_inheritance::Entity::find()
        .filter(workspace_inheritance::Column::ChildId.eq(child))
        .order_by_asc(workspace_inheritance::Column::Position)
        .all(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.parent_id).collect())
}
