//! `usine work-request create`.

use std::path::PathBuf;

use serde_json::Value;
use usine_client::Client;
use usine_client::config::ServerConfig;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_protocol::own::CreateLimitedWorkRequest;
use usine_protocol::work_request::{CreateWorkRequest, WorkRequest};

use super::view;
use crate::input;
use crate::output::{Format, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`usine task list` names the tasks, `usine task schema TASK` the data of one.

Examples:
  usine work-request create noop </dev/null
  printf 'input:\\n  source_artifact: 3\\nhost_architecture: amd64\\nenvironment: 1\\n' |
    usine work-request create sbuild --deadline-total 7200 --memory-limit 4G")]
pub struct Args {
    /// Name of the task
    task_name: String,
    /// Workspace to create it in [default: the configuration file's default-workspace, else the server's]
    #[arg(long, short, value_name = "NAME")]
    workspace: Option<String>,
    /// YAML file with the data of the task (- for standard input) [default: standard input]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// YAML file that says what to do when the work request has ended
    #[arg(long, value_name = "FILE")]
    event_reactions: Option<PathBuf>,
    /// Abort the run after this many seconds (servers of usine only)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    deadline_total: Option<u32>,
    /// Abort the run after this many seconds without a line of log (servers of usine only)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    deadline_silence: Option<u32>,
    /// End the run when it uses more memory than this: bytes, or 500M, 2G (powers of 1024) (usine only)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_limit: Option<u64>,
    /// End the run when it uses more disk space than this: bytes, or 500M, 20G (powers of 1024) (usine only)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk_limit: Option<u64>,
}

fn size(text: &str) -> Result<u64, String> {
    usine_worker::parse_size(text).filter(|bytes| *bytes > 0).ok_or_else(|| "not a size such as 500M or 2G".to_owned())
}

/// Submits it and shows it.
pub async fn run(client: &Client, config: &ServerConfig, ui: Ui, args: Args) -> anyhow::Result<()> {
    let data = input::mapping(ui, args.data.as_deref())?;
    let reactions = input::optional_mapping(ui, args.event_reactions.as_deref())?;
    let new = CreateWorkRequest {
        task_name: args.task_name,
        task_data: Value::Object(data.map),
        event_reactions: reactions.map(|reactions| Value::Object(reactions.map)),
        workspace: args.workspace.or_else(|| config.default_workspace.clone()),
    };
    let deadlines = Deadlines { total: args.deadline_total, silence: args.deadline_silence };
    let limits = ResourceLimits { memory: args.memory_limit, disk: args.disk_limit };
    let created = if deadlines == Deadlines::default() && limits.is_none() {
        client.create_work_request(&new).await?
    } else {
        client.create_limited_work_request(&CreateLimitedWorkRequest { work_request: new, deadlines, limits }).await?
    };
    announce(client, ui, &created, data.from_stdin)
}

/// Shows what was submitted.
pub fn announce(client: &Client, ui: Ui, created: &WorkRequest, from_stdin: bool) -> anyhow::Result<()> {
    ui.feedback("Work request started:")?;
    if ui.format == Format::Human {
        ui.details(&view::rows(client, created))?;
    } else {
        ui.after_stdin(from_stdin)?;
        ui.data(&view::mapping(created)?)?;
    }
    Ok(())
}
