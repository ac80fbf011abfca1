//! `usine admin work-request`: of all workspaces, past all permissions.

pub mod create;

use std::collections::HashMap;

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::work_request::ListFilter;
use usine_db::{Database, WorkRequestManager, WorkerManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::work_request::Statuses;
use usine_server::Config;

use super::{command_error, listing};
use crate::ambient::SystemClock;
use crate::output::{Ui, native_time};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Submit a work request as any user and print its id
    Create(create::Args),
    /// List work requests, oldest first
    List {
        /// Only the newest so many [default: all]
        #[arg(long)]
        limit: Option<u64>,
        /// Only in this status: blocked, pending, running, completed or aborted
        #[arg(long)]
        status: Option<Statuses>,
    },
    /// Give a work request up, also while it runs
    Abort {
        /// Work request
        id: i64,
    },
}

/// Runs the command.
pub async fn run(database: &Database, config: &Config, ui: Ui, command: Commands) -> anyhow::Result<()> {
    match command {
        Commands::Create(args) => create::run(database, config, ui, args).await,
        Commands::List { limit, status } => list(database, ui, limit, status).await,
        Commands::Abort { id } => {
            let mut found = WorkRequestManager(database).get(id).await?;
            found.abort(database, None, SystemClock.now()).await?.map_err(command_error)
        }
    }
}

async fn list(database: &Database, ui: Ui, limit: Option<u64>, status: Option<Statuses>) -> anyhow::Result<()> {
    let workspaces = WorkspaceManager(database).list().await?;
    let workspace_ids = workspaces.iter().map(|(workspace, _)| workspace.id).collect();
    let filter = ListFilter { workspace_ids, statuses: Vec::from_iter(status), ..ListFilter::default() };
    // A limit goes to the database as a signed number.
    let newest_first = WorkRequestManager(database).list(&filter, limit.unwrap_or(i64::MAX as u64)).await?;
    let names: HashMap<i64, String> =
        WorkerManager(database).list().await?.into_iter().map(|(worker, _)| (worker.id, worker.name)).collect();
    let rows: Vec<Value> = newest_first
        .iter()
        .rev()
        .map(|row| {
            json!({
                "id": row.id,
                "worker": row.worker_id.and_then(|id| names.get(&id)),
                "created_at": native_time(Some(row.created_at)),
                "started_at": native_time(row.started_at),
                "completed_at": native_time(row.completed_at),
                "status": row.status.to_string(),
                "result": row.result.to_string(),
            })
        })
        .collect();
    let columns = [
        ("id", "ID"),
        ("worker", "Worker"),
        ("created_at", "Created"),
        ("started_at", "Started"),
        ("completed_at", "Completed"),
        ("status", "Status"),
        ("result", "Result"),
    ];
    listing(ui, &columns, &rows)
}
