//! Finding what a command line names: `SCOPE`, `SCOPE/WORKSPACE`, `SCOPE[/WORKSPACE]/GROUP`, users.

use std::fmt::Display;

use usine_db::account::User;
use usine_db::tenancy::{Group, Scope, Workspace};
use usine_db::{Database, Error, GroupManager, ScopeManager, UserManager, WorkspaceManager};

use super::command_error;

/// Where groups are: a scope, or a workspace in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The scope.
    pub scope: Scope,
    /// The workspace, if it is one.
    pub workspace: Option<Workspace>,
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.workspace {
            Some(workspace) => write!(f, "workspace '{}'", workspace.full_name(&self.scope)),
            None => write!(f, "scope '{}'", self.scope.name),
        }
    }
}

/// The scope of this name.
pub async fn scope(database: &Database, name: &str) -> anyhow::Result<Scope> {
    let found = ScopeManager(database).get_scope_or_none(name).await?;
    found.ok_or_else(|| command_error(format!("Scope '{name}' not found")))
}

/// The workspace of this name in a scope.
pub async fn workspace_in(database: &Database, scope: &Scope, name: &str) -> anyhow::Result<Workspace> {
    let found = WorkspaceManager(database).get_workspace_or_none(scope, name).await?;
    found.ok_or_else(|| command_error(format!("Workspace '{name}' not found in scope '{}'", scope.name)))
}

/// The scope and the rest of `SCOPE/WORKSPACE`, where the workspace need not exist.
pub async fn split_workspace<'a>(database: &Database, text: &'a str) -> anyhow::Result<(Scope, &'a str)> {
    match text.split_once('/') {
        Some((of, name)) if !name.contains('/') => Ok((scope(database, of).await?, name)),
        _ => Err(command_error(format!("scope_workspace '{text}' should be in the form 'scopename/workspacename'"))),
    }
}

/// The workspace `SCOPE/WORKSPACE`.
pub async fn workspace(database: &Database, text: &str) -> anyhow::Result<(Scope, Workspace)> {
    let (scope, name) = split_workspace(database, text).await?;
    let workspace = workspace_in(database, &scope, name).await?;
    Ok((scope, workspace))
}

/// The place `SCOPE[/WORKSPACE]`.
pub async fn place(database: &Database, text: &str) -> anyhow::Result<Place> {
    if text.contains('/') {
        let (scope, workspace) = workspace(database, text).await?;
        return Ok(Place { scope, workspace: Some(workspace) });
    }
    Ok(Place { scope: scope(database, text).await?, workspace: None })
}

/// The place and the rest of `SCOPE[/WORKSPACE]/GROUP`, where the group need not exist.
pub async fn split_group<'a>(database: &Database, text: &'a str) -> anyhow::Result<(Place, &'a str)> {
    match text.rsplit_once('/') {
        Some((of, name)) if text.matches('/').count() <= 2 => Ok((place(database, of).await?, name)),
        _ => {
            Err(command_error(format!("argument '{text}' should be in the form 'scopename[/workspacename]/groupname'")))
        }
    }
}

/// The group `SCOPE[/WORKSPACE]/GROUP`.
pub async fn group(database: &Database, text: &str) -> anyhow::Result<(Place, Group)> {
    let (place, name) = split_group(database, text).await?;
    let group = group_in(database, &place, name).await?;
    Ok((place, group))
}

/// The groups of these names in a scope; if one is missing, an error.
pub async fn groups_of(database: &Database, scope: &Scope, names: &[String]) -> anyhow::Result<Vec<Group>> {
    let place = Place { scope: scope.clone(), workspace: None };
    let mut found = Vec::new();
    for name in names {
        found.push(group_in(database, &place, name).await?);
    }
    Ok(found)
}

async fn group_in(database: &Database, place: &Place, name: &str) -> anyhow::Result<Group> {
    let found = GroupManager(database).get_group_or_none(&place.scope, place.workspace.as_ref(), name).await?;
    found.ok_or_else(|| command_error(format!("Group '{name}' not found in {place}")))
}

/// The users of these names; if some are missing, an error that names each.
pub async fn users(database: &Database, names: &[String]) -> anyhow::Result<Vec<User>> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match UserManager(database).get_user_or_none(name).await? {
            Some(user) => found.push(user),
            None => missing.push(format!("User '{name}' does not exist")),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(command_error(missing.join("\n"))) }
}

/// An error in the values of something that is to be made or changed, under a heading.
pub fn would_be_invalid(what: &str) -> impl Fn(Error) -> anyhow::Error + '_ {
    move |error| match error {
        Error::Invalid(text) => command_error(format!("{what} would be invalid:\n* {text}")),
        other => other.into(),
    }
}
