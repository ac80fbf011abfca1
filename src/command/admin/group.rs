//! `usine admin group`: groups and who is in them.

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::tenancy::{Group, Member};
use usine_db::{Database, GroupManager};
use usine_model::clock::Clock;
use usine_model::permission::MembershipRole;

use super::names::{self, would_be_invalid};
use super::{command_error, listing};
use crate::ambient::SystemClock;
use crate::input::one_of;
use crate::output::{Ui, native_time};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create a group; one that is there is left as it is
    Create {
        /// Group: SCOPE/NAME, or SCOPE/WORKSPACE/NAME
        #[arg(value_name = "GROUP")]
        group: String,
    },
    /// List the groups of a scope or a workspace
    List {
        /// Leave out the groups of the scope's workspaces
        #[arg(long)]
        no_workspace: bool,
        /// SCOPE, or SCOPE/WORKSPACE
        #[arg(value_name = "SCOPE[/WORKSPACE]")]
        place: String,
    },
    /// Give a group another name
    Rename {
        /// Group: SCOPE/NAME, or SCOPE/WORKSPACE/NAME
        group: String,
        /// Its new name, without scope
        name: String,
    },
    /// Delete a group, its memberships and its roles; one that is not there is fine
    Delete {
        /// Group: SCOPE/NAME, or SCOPE/WORKSPACE/NAME
        group: String,
    },
    /// List the members of a group, or change them
    #[command(after_help = "Who is put into a group becomes a member of its scope, too.")]
    Members(MembersArgs),
}

/// Arguments of `group members`.
#[derive(Debug, clap::Args)]
pub struct MembersArgs {
    /// Group: SCOPE/NAME, or SCOPE/WORKSPACE/NAME
    group: String,
    /// Put these users into the group
    #[arg(long, value_name = "USER", num_args = 1.., group = "change")]
    add: Option<Vec<String>>,
    /// Take these users out of the group
    #[arg(long, value_name = "USER", num_args = 1.., group = "change")]
    remove: Option<Vec<String>>,
    /// Make these users, and nobody else, the members of the group
    #[arg(long, value_name = "USER", num_args = 0.., group = "change")]
    set: Option<Vec<String>>,
    /// What they are in it: member or admin [default: member, and who is in it already stays what they are]
    #[arg(long, value_parser = one_of::<MembershipRole>())]
    role: Option<MembershipRole>,
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    let groups = GroupManager(database);
    let now = SystemClock.now();
    match command {
        Commands::Create { group } => {
            let (place, name) = names::split_group(database, &group).await?;
            if groups.get_group_or_none(&place.scope, place.workspace.as_ref(), name).await?.is_none() {
                let made = groups.create(&place.scope, place.workspace.as_ref(), name, false, None, now).await;
                made.map_err(would_be_invalid("Created group"))?;
            }
            Ok(())
        }
        Commands::List { no_workspace, place } => list(database, ui, &place, no_workspace).await,
        Commands::Rename { group, name } => {
            let (_, group) = names::group(database, &group).await?;
            if group.name != name {
                groups.rename(&group, &name, None, now).await.map_err(would_be_invalid("Renamed group"))?;
            }
            Ok(())
        }
        Commands::Delete { group } => {
            let (place, name) = names::split_group(database, &group).await?;
            let Some(group) = groups.get_group_or_none(&place.scope, place.workspace.as_ref(), name).await? else {
                return Ok(());
            };
            groups.delete(&group, None, now).await.map_err(command_error)
        }
        Commands::Members(args) => members(database, ui, args).await,
    }
}

async fn list(database: &Database, ui: Ui, place: &str, no_workspace: bool) -> anyhow::Result<()> {
    let place = names::place(database, place).await?;
    let which = match &place.workspace {
        None => no_workspace.then_some(None),
        some => Some(some.as_ref()),
    };
    let groups = GroupManager(database).list(&place.scope, which).await?;
    let rows: Vec<Value> = groups
        .iter()
        .map(|(group, workspace, users)| {
            json!({
                "scope": place.scope.name,
                "workspace": workspace.as_ref().map(|workspace| &workspace.name),
                "group": group.name,
                "users": users,
            })
        })
        .collect();
    let columns = [("scope", "Scope"), ("workspace", "Workspace"), ("group", "Group"), ("users", "Users")];
    listing(ui, &columns, &rows)
}

async fn members(database: &Database, ui: Ui, args: MembersArgs) -> anyhow::Result<()> {
    let groups = GroupManager(database);
    let now = SystemClock.now();
    let (_, group) = names::group(database, &args.group).await?;
    let role = args.role.unwrap_or(MembershipRole::Member);
    if let Some(names) = &args.add {
        let users = names::users(database, names).await?;
        let added = match args.role {
            Some(role) => groups.add_users(&group, &users, role, true, None, now).await,
            None => groups.add_missing_users(&group, &users, None, now).await,
        };
        added.map_err(command_error)
    } else if let Some(names) = &args.remove {
        let users = names::users(database, names).await?;
        groups.remove_users(&group, &users, None, now).await.map_err(command_error)
    } else if let Some(names) = &args.set {
        let users = names::users(database, names).await?;
        groups.set_users(&group, &users, role, true, None, now).await.map_err(command_error)
    } else {
        list_members(database, ui, &group).await
    }
}

async fn list_members(database: &Database, ui: Ui, group: &Group) -> anyhow::Result<()> {
    let members = GroupManager(database).members(group).await?;
    let rows: Vec<Value> = members
        .iter()
        .map(|Member { user, role }| {
            json!({
                "username": user.username,
                "email": user.email,
                "role": role.to_string(),
                "date_joined": native_time(Some(user.date_joined)),
            })
        })
        .collect();
    let columns = [("username", "User"), ("email", "Email"), ("role", "Role"), ("date_joined", "Joined")];
    listing(ui, &columns, &rows)
}
