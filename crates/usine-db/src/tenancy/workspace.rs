//! Workspaces.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, Set};
use serde_json::{Map, json};
use usine_model::fair_share::{DEFAULT_WEIGHT, Share};
use usine_model::names;
use usine_model::permission::{PermissionContext, WORKSPACE_CAN_DISPLAY, WorkspaceFacts, WorkspaceRole};

use super::permission::condition;
use super::{Group, Scope, Workspace, audit, role};
use crate::database::transact;
use crate::entity::{scope, workspace};
use crate::{Database, Error, Result};

/// Longest description of a workspace, in bytes.
pub const MAX_DESCRIPTION: usize = 50_000;

/// Makes and finds workspaces.
#[derive(Clone, Copy)]
pub struct WorkspaceManager<'a>(pub &'a Database);

/// A workspace to be made.
#[derive(Debug, Clone)]
pub struct NewWorkspace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether anybody may look.
    pub public: bool,
    /// Seconds until artifacts and work requests without own delay expire; 0 is never.
    pub default_expiration_delay: i64,
}

/// What is to change in a workspace; `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkspaceChanges<'a> {
    /// Whether anybody may look.
    pub public: Option<bool>,
    /// Seconds until artifacts and work requests without own delay expire; 0 is never.
    pub default_expiration_delay: Option<i64>,
    /// Seconds until the workspace itself expires; `Some(None)` is never.
    pub expiration_delay: Option<Option<i64>>,
    /// What is said of the workspace, as Markdown.
    pub description: Option<&'a str>,
}

impl WorkspaceManager<'_> {
    /// The workspace of this name in the scope, or `None`. What cannot be a name is not looked for.
    pub async fn get_workspace_or_none(&self, scope: &Scope, name: &str) -> Result<Option<Workspace>> {
        if !names::is_valid_name(name) {
            return Ok(None);
        }
        let found = workspace::Entity::find()
            .filter(workspace::Column::ScopeId.eq(scope.id))
            .filter(workspace::Column::Name.eq(name))
            .one(self.0.reader())
            .await?;
        Ok(found)
    }

    /// A workspace and its scope.
    pub async fn get(&self, id: i64) -> Result<(Workspace, Scope)> {
        self.get_or_none(id).await?.ok_or_else(|| Error::does_not_exist("Workspace", id))
    }

    /// A workspace and its scope, or `None`.
    pub async fn get_or_none(&self, id: i64) -> Result<Option<(Workspace, Scope)>> {
        let found = workspace::Entity::find_by_id(id).find_also_related(scope::Entity).one(self.0.reader()).await?;
        Ok(found.and_then(|(workspace, scope)| Some((workspace, scope?))))
    }

    /// All workspaces with their scopes.
    pub async fn list(&self) -> Result<Vec<(Workspace, Scope)>> {
        let rows = workspace::Entity::find()
            .find_also_related(scope::Entity)
            .order_by_asc(workspace::Column::Id)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(workspace, scope)| Some((workspace, scope?))).collect())
    }

    /// The workspaces that somebody may see, of one scope or of all, with their scopes.
    pub async fn displayable(
        &self,
        context: &PermissionContext,
        of: Option<&Scope>,
    ) -> Result<Vec<(Workspace, Scope)>> {
        let mut seen = workspace::Entity::find()
            .find_also_related(scope::Entity)
            .filter(condition(&WORKSPACE_CAN_DISPLAY, context))
            .order_by_asc(workspace::Column::Id);
        if let Some(scope) = of {
            seen = seen.filter(workspace::Column::ScopeId.eq(scope.id));
        }
        let rows = seen.all(self.0.reader()).await?;
        Ok(rows.into_iter().filter_map(|(workspace, scope)| Some((workspace, scope?))).collect())
    }

    /// A new workspace, which a group owns.
    pub async fn create(
        &self,
        scope: &Scope,
        new: &NewWorkspace<'_>,
        owners: &Group,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Workspace> {
        check_name(new.name)?;
        transact!(self.0, tx => {
            let row = workspace::ActiveModel {
                id: NotSet,
                scope_id: Set(scope.id),
                name: Set(new.name.to_owned()),
                public: Set(new.public),
                default_expiration_delay: Set(new.default_expiration_delay),
                expiration_delay: Set(None),
                created_at: Set(now),
                description: Set(String::new()),
                share_weight: Set(DEFAULT_WEIGHT),
                max_running: Set(None),
            };
            let workspace = row.insert(tx.connection()).await?;
            let changes = json!({"type": "create", "public": new.public,
                "default_expiration_delay": new.default_expiration_delay});
            let subject = workspace.full_name(scope);
            audit::record(&tx, audit::Change { actor: by, group_id: None, subject: &subject, changes, at: now }).await?;
            role::grant_workspace(&tx, &workspace, scope, owners, WorkspaceRole::Owner, by, now).await?;
            Ok(workspace)
        })
        .map_err(|error| taken(error, new.name))
    }

    /// Changes the settings.
    pub async fn update(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        changes: WorkspaceChanges<'_>,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Workspace> {
        transact!(self.0, tx => {
            let mut change = workspace::ActiveModel { id: Set(workspace.id), ..Default::default() };
            let mut said = Map::new();
            if let Some(public) = changes.public.filter(|public| *public != workspace.public) {
                change.public = Set(public);
                said.insert("public".to_owned(), json!([workspace.public, public]));
            }
            let delay = changes.default_expiration_delay.filter(|delay| *delay != workspace.default_expiration_delay);
            if let Some(delay) = delay {
                change.default_expiration_delay = Set(delay);
                said.insert("default_expiration_delay".to_owned(), json!([workspace.default_expiration_delay, delay]));
            }
            if let Some(delay) = changes.expiration_delay.filter(|delay| *delay != workspace.expiration_delay) {
                change.expiration_delay = Set(delay);
                said.insert("expiration_delay".to_owned(), json!([workspace.expiration_delay, delay]));
            }
            if let Some(text) = changes.description.filter(|text| *text != workspace.description) {
                check_description(text)?;
                change.description = Set(text.to_owned());
                // The log says that it changed; both texts would be too much.
                said.insert("description".to_owned(), json!("changed"));
            }
            if said.is_empty() {
                return Ok(workspace.clone());
            }
            let row = change.update(tx.connection()).await?;
            said.insert("type".to_owned(), json!("update"));
            let subject = row.full_name(scope);
            let change = audit::Change { actor: by, group_id: None, subject: &subject, changes: said.into(), at: now };
            audit::record(&tx, change).await?;
            Ok(row)
        })
    }

    /// Changes what a workspace gets of the workers.
    pub async fn set_share(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        share: Share,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        transact!(self.0, tx => {
            let change = workspace::ActiveModel {
                id: Set(workspace.id),
                share_weight: Set(share.weight),
                max_running: Set(share.max_running),
                ..Default::default()
            };
            change.update(tx.connection()).await?;
            let changes = json!({"type": "update", "share_weight": [workspace.share_weight, share.weight],
                "max_running": [workspace.max_running, share.max_running]});
            let subject = workspace.full_name(scope);
            audit::record(&tx, audit::Change { actor: by, group_id: None, subject: &subject, changes, at: now }).await
        })
    }

    /// Gives a workspace another name.
    pub async fn rename(
        &self,
        workspace: &Workspace,
        scope: &Scope,
        name: &str,
        by: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Workspace> {
        check_name(name)?;
        transact!(self.0, tx => {
            let change =
                workspace::ActiveModel { id: Set(workspace.id), name: Set(name.to_owned()), ..Default::default() };
            let row = change.update(tx.connection()).await?;
            let changes = json!({"type": "update", "name": [workspace.name, name]});
            let subject = row.full_name(scope);
            audit::record(&tx, audit::Change { actor: by, group_id: None, subject: &subject, changes, at: now }).await?;
            Ok(row)
        })
        .map_err(|error| taken(error, name))
    }
}

impl Workspace {
    /// `SCOPE/WORKSPACE`.
    pub fn full_name(&self, scope: &Scope) -> String {
        format!("{}/{}", scope.name, self.name)
    }

    /// What predicates ask of it.
    pub fn facts(&self, scope: &Scope) -> WorkspaceFacts {
        WorkspaceFacts { scope: scope.facts(), id: self.id, public: self.public }
    }
}

fn check_description(text: &str) -> Result<()> {
    if text.len() > MAX_DESCRIPTION {
        return Err(Error::Invalid(format!("description: has more than {MAX_DESCRIPTION} bytes")));
    }
    // PostgreSQL stores none.
    if text.contains('\0') {
        return Err(Error::Invalid("description: has a null character".to_owned()));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    if names::is_valid_workspace_name(name) {
        return Ok(());
    }
    Err(Error::Invalid(format!("name: '{name}' is not a valid workspace name")))
}

fn taken(error: Error, name: &str) -> Error {
    match error {
        Error::Integrity(_) => {
            Error::Invalid(format!("name: Workspace with this Scope and Name already exists: {name}"))
        }
        other => other,
    }
}
