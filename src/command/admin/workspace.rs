//! `usine admin workspace`.

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::tenancy::{ChainError, NewWorkspace, Scope, Workspace, WorkspaceChanges};
use usine_db::{Database, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::permission::WorkspaceRole;

use super::names::{self, would_be_invalid};
use super::{command_error, listing, role};
use crate::ambient::SystemClock;
use crate::exit::failure;
use crate::output::Ui;

/// Seconds of a day: how administrators count expiry.
const DAY: i64 = 86_400;

/// Days until what is in a new workspace expires, if nothing else is said.
const DEFAULT_DAYS: u32 = 30;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create a workspace, or change the one that is there
    #[command(alias = "create")]
    Define(DefineArgs),
    /// List the workspaces
    List {
        /// Only those of this scope
        scope: Option<String>,
    },
    /// Give a workspace another name
    Rename {
        /// Workspace
        #[arg(value_name = "SCOPE/NAME")]
        workspace: String,
        /// Its new name, without scope
        name: String,
    },
    /// Show which groups hold which roles on a workspace
    #[command(alias = "list_roles")]
    ListRoles {
        /// Workspace
        #[arg(value_name = "SCOPE/NAME")]
        workspace: String,
    },
    /// Give groups a role on a workspace: viewer, contributor or owner
    #[command(alias = "grant_role")]
    GrantRole {
        /// Workspace
        #[arg(value_name = "SCOPE/NAME")]
        workspace: String,
        #[command(flatten)]
        change: role::Change,
    },
    /// Take a role on a workspace from groups
    #[command(alias = "revoke_role")]
    RevokeRole {
        /// Workspace
        #[arg(value_name = "SCOPE/NAME")]
        workspace: String,
        #[command(flatten)]
        change: role::Change,
    },
    /// Show or replace the list of workspaces in which a workspace looks further
    Inheritance {
        /// Workspace
        #[arg(value_name = "SCOPE/NAME")]
        workspace: String,
        /// The new list, in order
        #[arg(long, value_name = "SCOPE/NAME", num_args = 0..)]
        set: Option<Vec<String>>,
    },
}

/// Arguments of `workspace define`.
#[derive(Debug, clap::Args)]
pub struct DefineArgs {
    /// Workspace
    #[arg(value_name = "SCOPE/NAME")]
    workspace: String,
    /// Group of the scope that gets the role owner; a new workspace needs one
    owners_group: Option<String>,
    /// Anybody may look
    #[arg(long, conflicts_with = "private")]
    public: bool,
    /// Only groups with a role may look [default for a new one]
    #[arg(long)]
    private: bool,
    /// Days until artifacts and work requests expire, 0 is never [default for a new one: 30]
    #[arg(long, value_name = "DAYS")]
    default_expiration_delay: Option<u32>,
    /// Without effect: there are no collections yet
    #[arg(long, hide = true)]
    no_singleton_collections: bool,
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    let workspaces = WorkspaceManager(database);
    let now = SystemClock.now();
    match command {
        Commands::Define(args) => define(database, args).await,
        Commands::List { scope } => list(database, ui, scope.as_deref()).await,
        Commands::Rename { workspace, name } => {
            let (scope, workspace) = names::workspace(database, &workspace).await?;
            if workspace.name != name {
                let renamed = workspaces.rename(&workspace, &scope, &name, None, now).await;
                renamed.map_err(would_be_invalid("Renamed workspace"))?;
            }
            Ok(())
        }
        Commands::ListRoles { workspace } => {
            let (_, workspace) = names::workspace(database, &workspace).await?;
            role::list(ui, &workspaces.list_roles(&workspace).await?)
        }
        Commands::GrantRole { workspace, change } => {
            let (scope, workspace) = names::workspace(database, &workspace).await?;
            let role: WorkspaceRole = role::parse(&change.role)?;
            for group in names::groups_of(database, &scope, &change.groups).await? {
                workspaces.grant_role(&workspace, &scope, &group, role, None, now).await.map_err(command_error)?;
            }
            Ok(())
        }
        Commands::RevokeRole { workspace, change } => {
            let (scope, workspace) = names::workspace(database, &workspace).await?;
            let role: WorkspaceRole = role::parse(&change.role)?;
            for group in names::groups_of(database, &scope, &change.groups).await? {
                workspaces.revoke_role(&workspace, &scope, &group, role, None, now).await.map_err(command_error)?;
            }
            Ok(())
        }
        Commands::Inheritance { workspace, set } => {
            let (scope, workspace) = names::workspace(database, &workspace).await?;
            match set {
                Some(parents) => set_inheritance(database, &scope, &workspace, &parents).await,
                None => {
                    let parents = workspaces.inheritance(&workspace).await?;
                    let rows: Vec<Value> =
                        parents.iter().map(|(parent, scope)| json!({"name": parent.full_name(scope)})).collect();
                    listing(ui, &[("name", "Name")], &rows)
                }
            }
        }
    }
}

async fn define(database: &Database, args: DefineArgs) -> anyhow::Result<()> {
    let workspaces = WorkspaceManager(database);
    let now = SystemClock.now();
    let (scope, name) = names::split_workspace(database, &args.workspace).await?;
    let owners = names::groups_of(database, &scope, args.owners_group.as_slice()).await?.pop();
    let days = args.default_expiration_delay;
    let Some(workspace) = workspaces.get_workspace_or_none(&scope, name).await? else {
        let owners = owners.ok_or_else(|| failure("Error: owners_group is required when creating workspace"))?;
        let delay = i64::from(days.unwrap_or(DEFAULT_DAYS)) * DAY;
        let new = NewWorkspace { name, public: args.public, default_expiration_delay: delay };
        let made = workspaces.create(&scope, &new, &owners, None, now).await;
        return made.map(drop).map_err(would_be_invalid("New workspace"));
    };
    let changes = WorkspaceChanges {
        public: (args.public || args.private).then_some(args.public),
        default_expiration_delay: days.map(|days| i64::from(days) * DAY),
        ..WorkspaceChanges::default()
    };
    workspaces.update(&workspace, &scope, changes, None, now).await?;
    if let Some(owners) = owners {
        workspaces.grant_role(&workspace, &scope, &owners, WorkspaceRole::Owner, None, now).await?;
    }
    Ok(())
}

async fn list(database: &Database, ui: Ui, scope: Option<&str>) -> anyhow::Result<()> {
    let only = match scope {
        Some(name) => Some(names::scope(database, name).await?),
        None => None,
    };
    let rows: Vec<Value> = WorkspaceManager(database)
        .list()
        .await?
        .iter()
        .filter(|(_, scope)| only.as_ref().is_none_or(|only| only.id == scope.id))
        .map(|(workspace, scope)| {
            json!({
                "name": workspace.full_name(scope),
                "public": workspace.public,
                "expiration": days(workspace.default_expiration_delay),
            })
        })
        .collect();
    let columns = [("name", "Name"), ("public", "Public"), ("expiration", "Default Expiration Delay (days)")];
    listing(ui, &columns, &rows)
}

/// A number of days as administrators read it.
#[allow(clippy::cast_precision_loss, reason = "delays of millions of years may be a second off")]
fn days(seconds: i64) -> Value {
    match seconds {
        0 => json!("Never"),
        whole if whole % DAY == 0 => json!(whole / DAY),
        part => json!(part as f64 / DAY as f64),
    }
}

async fn set_inheritance(
    database: &Database,
    scope: &Scope,
    workspace: &Workspace,
    parents: &[String],
) -> anyhow::Result<()> {
    let mut chain = Vec::new();
    for parent in parents {
        let (its_scope, parent) = names::workspace(database, parent).await?;
        chain.push((parent, its_scope));
    }
    let set = WorkspaceManager(database).set_inheritance(workspace, scope, &chain, None, SystemClock.now()).await;
    set.map_err(|error| match error {
        ChainError::Invalid(text) => command_error(text),
        ChainError::Database(error) => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_in_days() {
        assert_eq!([0, DAY, 30 * DAY, DAY / 2].map(days), [json!("Never"), json!(1), json!(30), json!(0.5)]);
    }
}
