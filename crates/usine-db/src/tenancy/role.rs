//! Roles of groups on scopes and workspaces.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, Set};
use serde_json::json;
use strum::IntoEnumIterator;
use usine_model::permission::{ScopeRole, WorkspaceRole};

use super::{Group, Scope, ScopeManager, Workspace, WorkspaceManager, audit};
use crate::database::{WriteTransaction, transact};
use crate::entity::{group, scope_role, workspace_role};
use crate::{Error, Result, Text};

/// A group and a role that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleHolder<R> {
    /// The group.
    pub group: Group,
    /// The role.
    pub role: R,
}

impl WorkspaceManager<'_> {
    /// The roles on a workspace, by group and role.
    pub async fn list_roles(&self, workspace: &Workspace) -> Result<Vec<RoleHolder<WorkspaceRole>>> {
        let rows = workspace_role::Entity::find()
            .filter(workspace_role::Column::WorkspaceId.eq(workspace.id))
            .find_also_related(group::Entity)
            .order_by_asc(group::Column::Name)
            .order_by_asc(workspace_role::Column::Role)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(row, group)| Some(RoleHolder { group: group?, role: *row.role })).collect())
    }

    /// Gives a group a role on a workspace. One that it holds already is fine.
    pub async fn grant_role(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        group: &Group,
        role: WorkspaceRole,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => { grant_workspace(&tx, workspace, scope, group, role, by, now).await })
    }

    /// Takes a role from a group. One that it does not hold is fine.
    pub async fn revoke_role(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        group: &Group,
        role: WorkspaceRole,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => { revoke_workspace(&tx, workspace, scope, group, role, by, now).await })
    }

    /// Makes these, and no others, the roles of a group on a workspace.
    pub async fn set_roles(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        group: &Group,
        roles: &[WorkspaceRole],
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => {
            for role in WorkspaceRole::iter() {
                if roles.contains(&role) {
                    grant_workspace(&tx, workspace, scope, group, role, by, now).await?;
                } else {
                    revoke_workspace(&tx, workspace, scope, group, role, by, now).await?;
                }
            }
            Ok(())
        })
    }
}

impl ScopeManager<'_> {
    /// The roles on a scope, by group and role.
    pub async fn list_roles(&self, scope: &Scope) -> Result<Vec<RoleHolder<ScopeRole>>> {
        let rows = scope_role::Entity::find()
            .filter(scope_role::Column::ScopeId.eq(scope.id))
            .find_also_related(group::Entity)
            .order_by_asc(group::Column::Name)
            .order_by_asc(scope_role::Column::Role)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(row, group)| Some(RoleHolder { group: group?, role: *row.role })).collect())
    }

    /// Gives a group a role on a scope. One that it holds already is fine.
    pub async fn grant_role(
        &self,
        scope: &Scope,
        group: &Group,
        role: ScopeRole,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => { grant_scope(&tx, scope, group, role, by, now).await })
    }

    /// Takes a role from a group. One that it does not hold is fine.
    pub async fn revoke_role(
        &self,
        scope: &Scope,
        group: &Group,
        role: ScopeRole,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => { revoke_scope(&tx, scope, group, role, by, now).await })
    }

    /// Makes these, and no others, the roles of a group on a scope.
    pub async fn set_roles(
        &self,
        scope: &Scope,
        group: &Group,
        roles: &[ScopeRole],
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => {
            for role in ScopeRole::iter() {
                if roles.contains(&role) {
                    grant_scope(&tx, scope, group, role, by, now).await?;
                } else {
                    revoke_scope(&tx, scope, group, role, by, now).await?;
                }
            }
            Ok(())
        })
    }
}

pub(crate) async fn grant_workspace(
    tx: &WriteTransaction,
    workspace: &Workspace,
    scope: &Scope,
    group: &Group,
    role: WorkspaceRole,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let subject = workspace.full_name(scope);
    check_scope(&format!("Workspace '{subject}'"), workspace.scope_id, group)?;
    let row = workspace_role::ActiveModel {
        id: NotSet,
        workspace_id: Set(workspace.id),
        group_id: Set(group.id),
        role: Set(Text(role)),
    };
    let unless_there = OnConflict::columns([
        workspace_role::Column::WorkspaceId,
        workspace_role::Column::GroupId,
        workspace_role::Column::Role,
    ])
    .do_nothing()
    .to_owned();
    let written =
        workspace_role::Entity::insert(row).on_conflict(unless_there).exec_without_returning(tx.connection()).await?;
    if written > 0 {
        note(tx, "grant_role", &subject, group, role, by, now).await?;
    }
    Ok(())
}

pub(crate) async fn grant_scope(
    tx: &WriteTransaction,
    scope: &Scope,
    group: &Group,
    role: ScopeRole,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    check_scope(&format!("Scope '{}'", scope.name), scope.id, group)?;
    let row =
        scope_role::ActiveModel { id: NotSet, scope_id: Set(scope.id), group_id: Set(group.id), role: Set(Text(role)) };
    let unless_there =
        OnConflict::columns([scope_role::Column::ScopeId, scope_role::Column::GroupId, scope_role::Column::Role])
            .do_nothing()
            .to_owned();
    let written =
        scope_role::Entity::insert(row).on_conflict(unless_there).exec_without_returning(tx.connection()).await?;
    if written > 0 {
        note(tx, "grant_role", &scope.name, group, role, by, now).await?;
    }
    Ok(())
}

async fn revoke_workspace(
    tx: &WriteTransaction,
    workspace: &Workspace,
    scope: &Scope,
    group: &Group,
    role: WorkspaceRole,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let gone = workspace_role::Entity::delete_many()
        .filter(workspace_role::Column::WorkspaceId.eq(workspace.id))
        .filter(workspace_role::Column::GroupId.eq(group.id))
        .filter(workspace_role::Column::Role.eq(Text(role)))
        .exec(tx.connection())
        .await?;
    if gone.rows_affected > 0 {
        note(tx, "revoke_role", &workspace.full_name(scope), group, role, by, now).await?;
    }
    Ok(())
}

async fn revoke_scope(
    tx: &WriteTransaction,
    scope: &Scope,
    group: &Group,
    role: ScopeRole,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let gone = scope_role::Entity::delete_many()
        .filter(scope_role::Column::ScopeId.eq(scope.id))
        .filter(scope_role::Column::GroupId.eq(group.id))
        .filter(scope_role::Column::Role.eq(Text(role)))
        .exec(tx.connection())
        .await?;
    if gone.rows_affected > 0 {
        note(tx, "revoke_role", &scope.name, group, role, by, now).await?;
    }
    Ok(())
}

/// A group holds roles in its own scope only.
fn check_scope(resource: &str, scope_id: i64, group: &Group) -> Result<()> {
    if group.scope_id == scope_id {
        return Ok(());
    }
    Err(Error::Invalid(format!("{resource} is not in the scope of the group {}", group.name)))
}

async fn note(
    tx: &WriteTransaction,
    kind: &str,
    resource: &str,
    group: &Group,
    role: impl Display,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> Result<()> {
    let changes = json!({"type": kind, "resource": resource, "group": group.name, "role": role.to_string()});
    audit::record(tx, audit::Change { actor: by, group_id: Some(group.id), subject: resource, changes, at: now }).await
}
