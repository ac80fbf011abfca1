//! `usine admin share`: what users and workspaces get of the workers.

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::{Database, UserManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::fair_share::{DEFAULT_WEIGHT, Share};

use super::{command_error, listing, names};
use crate::ambient::SystemClock;
use crate::output::Ui;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// List the users and workspaces that have another weight than 100, or a limit
    List,
    /// Change what a user gets
    User {
        /// Name
        username: String,
        #[command(flatten)]
        change: Change,
    },
    /// Change what a workspace gets
    Workspace {
        /// Workspace
        #[arg(value_name = "SCOPE/NAME")]
        workspace: String,
        #[command(flatten)]
        change: Change,
    },
}

/// What is changed.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Change {
    /// Its part of the workers in proportion to others, 1 to 10000; who has 200 gets twice as much as who has 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    weight: Option<i32>,
    /// How many of its work requests workers may have at a time; the others wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    max_running: Option<i32>,
    /// Take the limit away
    #[arg(long, conflicts_with = "max_running")]
    unlimited: bool,
}

impl Change {
    fn of(&self, weight: i32, max_running: Option<i32>) -> Share {
        Share {
            weight: self.weight.unwrap_or(weight),
            max_running: if self.unlimited { None } else { self.max_running.or(max_running) },
        }
    }
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    match command {
        Commands::List => list(database, ui).await,
        Commands::User { username, change } => {
            let user = UserManager(database).get_user_or_none(&username).await?;
            let user = user.ok_or_else(|| command_error(format!("User '{username}' does not exist")))?;
            let share = change.of(user.share_weight, user.max_running);
            Ok(UserManager(database).set_share(&user, share).await?)
        }
        Commands::Workspace { workspace, change } => {
            let (scope, workspace) = names::workspace(database, &workspace).await?;
            let share = change.of(workspace.share_weight, workspace.max_running);
            Ok(WorkspaceManager(database).set_share(&workspace, &scope, share, None, SystemClock.now()).await?)
        }
    }
}

async fn list(database: &Database, ui: Ui) -> anyhow::Result<()> {
    let row = |kind: &str, name: String, weight: i32, max_running: Option<i32>| {
        let special = weight != DEFAULT_WEIGHT || max_running.is_some();
        special.then(|| json!({"kind": kind, "name": name, "weight": weight, "max_running": max_running}))
    };
    let users = UserManager(database).list().await?;
    let workspaces = WorkspaceManager(database).list().await?;
    let rows: Vec<Value> = users
        .into_iter()
        .filter_map(|user| row("user", user.username, user.share_weight, user.max_running))
        .chain(workspaces.iter().filter_map(|(workspace, scope)| {
            row("workspace", workspace.full_name(scope), workspace.share_weight, workspace.max_running)
        }))
        .collect();
    listing(ui, &[("kind", "Kind"), ("name", "Name"), ("weight", "Weight"), ("max_running", "Max running")], &rows)
}
