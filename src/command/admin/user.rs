//! `usine admin user`.

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::account::{User, check_new_password};
use usine_db::{Database, GroupManager, UserManager};
use usine_model::clock::Clock;
use usine_model::permission::GlobalPermission;

use super::{command_error, listing, names, password};
use crate::ambient::{OsEntropy, SystemClock};
use crate::input::one_of;
use crate::output::{Ui, native_time};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create a user and print the new password: it is shown once
    #[command(after_help = "A user who is in no group may look at what is public, and no more.")]
    Create {
        /// Name
        username: String,
        /// E-mail address
        email: String,
        /// Put the user into this group and its scope; may be given several times
        #[arg(long = "group", value_name = "SCOPE[/WORKSPACE]/GROUP")]
        groups: Vec<String>,
        /// Give the user all global permissions
        #[arg(long)]
        superuser: bool,
    },
    /// List the users
    List,
    /// Give a user another e-mail address
    #[command(alias = "change_email")]
    ChangeEmail {
        /// Name
        username: String,
        /// New e-mail address
        email: String,
    },
    /// Give a user another password; the user is logged out everywhere
    #[command(
        alias = "change_password",
        after_help = "Without --random the password is asked for, or read from standard input."
    )]
    ChangePassword {
        /// Name
        username: String,
        /// Make up a password and print it: it is shown once
        #[arg(long)]
        random: bool,
    },
    /// Let a user in again
    Enable {
        /// Name
        username: String,
    },
    /// Keep a user out: password and tokens work no more
    Disable {
        /// Name
        username: String,
    },
    /// What a user may do everywhere
    #[command(subcommand)]
    Permission(PermissionCommands),
}

/// The commands of `user permission`.
#[derive(Debug, Subcommand)]
pub enum PermissionCommands {
    /// Allow something to a user everywhere
    Grant(Permission),
    /// Take it back
    Revoke(Permission),
    /// List what is allowed to a user everywhere
    List {
        /// Name
        username: String,
    },
}

/// A user and a permission.
#[derive(Debug, clap::Args)]
pub struct Permission {
    /// Name
    username: String,
    /// What is allowed
    #[arg(value_parser = one_of::<GlobalPermission>())]
    permission: GlobalPermission,
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    let users = UserManager(database);
    match command {
        Commands::Create { username, email, groups, superuser } => {
            Ok(ui.line(&create(database, &username, &email, &groups, superuser, None).await?)?)
        }
        Commands::List => list(database, ui).await,
        Commands::ChangeEmail { username, email } => {
            let user = find(database, &username).await?;
            users.change_email(&user, &email).await.map(drop).map_err(command_error)
        }
        Commands::ChangePassword { username, random: true } => {
            let user = find(database, &username).await?;
            let password = users.set_password(&user, None, &OsEntropy).await.map_err(command_error)?;
            Ok(ui.line(&password)?)
        }
        Commands::ChangePassword { username, random: false } => change_password(database, &username).await,
        Commands::Enable { username } => {
            let user = find(database, &username).await?;
            users.set_active(&user, true).await.map(drop).map_err(command_error)
        }
        Commands::Disable { username } => {
            let user = find(database, &username).await?;
            users.set_active(&user, false).await.map(drop).map_err(command_error)
        }
        Commands::Permission(command) => permission(database, ui, command).await,
    }
}

/// Makes a user with this password or, without one, a random one, which is returned. If a group is not there, no user is made.
pub async fn create(
    database: &Database,
    username: &str,
    email: &str,
    groups: &[String],
    superuser: bool,
    password: Option<&str>,
) -> anyhow::Result<String> {
    let users = UserManager(database);
    let now = SystemClock.now();
    password.map(check_new_password).transpose().map_err(command_error)?;
    let mut to_join = Vec::new();
    for group in groups {
        to_join.push(names::group(database, group).await?.1);
    }
    let (mut user, mut made_up) = users.create(username, email, &OsEntropy, now).await.map_err(command_error)?;
    if superuser {
        user = users.set_superuser(&user, true).await?;
    }
    if password.is_some() {
        made_up = users.set_password(&user, password, &OsEntropy).await.map_err(command_error)?;
    }
    for group in &to_join {
        let member = std::slice::from_ref(&user);
        let added = GroupManager(database).add_missing_users(group, member, None, now).await;
        added.map_err(command_error)?;
    }
    Ok(made_up)
}

/// Asks for a user's new password and sets it.
pub async fn change_password(database: &Database, username: &str) -> anyhow::Result<()> {
    let user = find(database, username).await?;
    let chosen = password::new()?;
    UserManager(database).set_password(&user, Some(&chosen), &OsEntropy).await.map(drop).map_err(command_error)
}

/// A person; the system is none.
async fn find(database: &Database, username: &str) -> anyhow::Result<User> {
    let found = UserManager(database).get_user_or_none(username).await?.filter(|user| !user.is_system);
    found.ok_or_else(|| command_error(format!("Username \"{username}\" not found")))
}

async fn list(database: &Database, ui: Ui) -> anyhow::Result<()> {
    let users = UserManager(database).list().await?;
    let rows: Vec<Value> = users
        .iter()
        .map(|user| {
            json!({"username": user.username, "email": user.email, "date_joined": native_time(Some(user.date_joined))})
        })
        .collect();
    listing(ui, &[("username", "User"), ("email", "Email"), ("date_joined", "Joined")], &rows)
}

async fn permission(database: &Database, ui: Ui, command: PermissionCommands) -> anyhow::Result<()> {
    let users = UserManager(database);
    match command {
        PermissionCommands::Grant(Permission { username, permission }) => {
            let user = find(database, &username).await?;
            Ok(users.grant_permission(&user, permission).await?)
        }
        PermissionCommands::Revoke(Permission { username, permission }) => {
            let user = find(database, &username).await?;
            Ok(users.revoke_permission(&user, permission).await?)
        }
        PermissionCommands::List { username } => {
            let user = find(database, &username).await?;
            let held = users.permissions(&user).await?;
            let rows: Vec<Value> =
                held.iter().map(|permission| json!({"permission": permission.to_string()})).collect();
            listing(ui, &[("permission", "Permission")], &rows)
        }
    }
}
