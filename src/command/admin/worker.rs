//! `usine admin worker`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use usine_db::{Database, Worker, WorkerManager};
use usine_model::clock::Clock;
use usine_model::worker::WorkerType;

use super::{Program, command_error, listing};
use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::{Code, Failed, failure};
use crate::output::{Ui, native_time, yaml};
use crate::{editor, input};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Make a worker known and print its activation token, which works once and for 15 minutes
    #[command(
        after_help = "Give the token to the worker's machine. A worker that registers by itself needs `enable` instead."
    )]
    Create {
        /// Host name of its machine
        fqdn: String,
        /// Kind of worker: external or signing
        #[arg(long, default_value = "external", value_parser = worker_type)]
        worker_type: WorkerType,
    },
    /// List the workers
    List,
    /// Let a worker have work
    Enable(Named),
    /// Give a worker no more work, and hand what it has to others
    Disable(Named),
    /// Change what administrators say of a worker: tags, tasks it may run
    #[command(
        alias = "edit_metadata",
        after_help = "Keys are for example provided_tags, required_tags, tasks_allowlist, tasks_denylist: lists of strings."
    )]
    EditMetadata {
        /// YAML file with the new metadata [default: open an editor]
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
        /// Name of the worker
        worker: String,
    },
}

/// A worker.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Kind of worker: external or signing
    #[arg(long, default_value = "external", value_parser = worker_type)]
    pub worker_type: WorkerType,
    /// Name or token key of the worker
    pub worker: String,
}

/// The kinds that administrators make.
pub fn worker_type(text: &str) -> Result<WorkerType, String> {
    match text.parse() {
        Ok(worker_type @ (WorkerType::External | WorkerType::Signing)) => Ok(worker_type),
        _ => Err("expected external or signing".to_owned()),
    }
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, program: Program, command: Commands) -> anyhow::Result<()> {
    let workers = WorkerManager(database);
    let now = SystemClock.now();
    match command {
        Commands::Create { fqdn, worker_type } => {
            let (_, token) =
                workers.create_with_activation(&fqdn, worker_type, &OsEntropy, now).await.map_err(command_error)?;
            Ok(ui.line(token.key.reveal())?)
        }
        Commands::List => list(database, ui).await,
        Commands::Enable(named) => {
            let worker = find(workers, &named).await?;
            let token = worker.token(database).await?;
            let mut token = token.ok_or_else(|| {
                command_error(format!("Worker \"{}\" has not registered yet: it has no token to enable", worker.name))
            })?;
            Ok(token.enable(database, now).await?)
        }
        Commands::Disable(named) => Ok(find(workers, &named).await?.disable(database, now).await?),
        Commands::EditMetadata { set, worker } => {
            let found = workers.get_worker_or_none(&worker).await?;
            let mut found = found.ok_or_else(|| {
                failure(format!(
                    "Error: worker \"{worker}\" is not registered\nUse `{} worker list` to list registered workers",
                    program.admin()
                ))
            })?;
            let metadata = match set {
                Some(path) => metadata_of(&input::read_file(&path)?)?,
                None => editor::edit("metadata", &yaml(&found.static_metadata), metadata_of)?,
            };
            found.set_static_metadata(database, metadata, now).await?;
            Ok(ui.line(&format!("{}: metadata set for {}", program.name(), found.name))?)
        }
    }
}

async fn find(workers: WorkerManager<'_>, named: &Named) -> anyhow::Result<Worker> {
    let found = match workers.get_worker_or_none(&named.worker).await? {
        Some(found) => Some(found),
        None => workers.get_worker_by_token_key_or_none(&named.worker).await?,
    };
    let found = found.ok_or_else(|| command_error("Worker not found"))?;
    if *found.worker_type == named.worker_type {
        return Ok(found);
    }
    let message = format!(
        "CommandError: Worker \"{}\" is of type \"{}\", not \"{}\"",
        found.name, *found.worker_type, named.worker_type
    );
    Err(Failed { message, code: Code::WrongWorkerType }.into())
}

async fn list(database: &Database, ui: Ui) -> anyhow::Result<()> {
    let rows: Vec<Value> = WorkerManager(database)
        .list()
        .await?
        .iter()
        .map(|(worker, token)| {
            json!({
                "name": worker.name,
                "type": worker.worker_type.to_string(),
                "registered": native_time(Some(worker.registered_at)),
                "connected": native_time(worker.connected_at),
                "hash": token.as_ref().map(|token| &token.hash),
                "enabled": token.as_ref().map(|token| token.enabled),
            })
        })
        .collect();
    let columns = [
        ("name", "Name"),
        ("type", "Type"),
        ("registered", "Registered"),
        ("connected", "Connected"),
        ("hash", "Token hash (do not copy)"),
        ("enabled", "Enabled"),
    ];
    listing(ui, &columns, &rows)
}

fn metadata_of(text: &str) -> anyhow::Result<Map<String, Value>> {
    if text.trim().is_empty() {
        return Err(failure("Error: file is empty"));
    }
    match input::parse_yaml(text).map_err(|error| failure(format!("Error: {error}")))? {
        Value::Object(metadata) => Ok(metadata),
        _ => Err(failure("Error: worker metadata must be a dictionary")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_a_mapping() {
        assert_eq!(metadata_of("provided_tags: [a]").unwrap()["provided_tags"], json!(["a"]));
        assert_eq!(metadata_of(" ").unwrap_err().to_string(), "Error: file is empty");
        assert!(metadata_of("[a]").is_err());
    }
}
