//! `debusine work-request`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use usine_client::WorkRequestFilter;
use usine_protocol::work_request::{CreateWorkRequest, UpdateWorkRequest};

use super::{Session, shapes};
use crate::command::work_request::create::announce;
use crate::command::work_request::view::{self, Shown};
use crate::command::work_request::{NOTHING_TO_CHANGE, on_completed};
use crate::exit::{Code, failure};
use crate::input;
use crate::output::{Format, Generation, yaml_list};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Submit a work request
    Create(CreateArgs),
    /// Show a work request and its artifacts
    Show {
        /// Work request
        id: i64,
    },
    /// List the newest work requests
    List(ListArgs),
    /// Change the priority of a work request
    Manage(ManageArgs),
    /// Submit a failed or aborted work request again
    Retry {
        /// Work request
        id: i64,
    },
    /// Give a work request up, also while it runs
    Abort {
        /// Work request
        id: i64,
    },
    /// Run a command whenever a work request ends
    OnCompleted(on_completed::Args),
    /// Sign an upload with debsign (not there yet)
    #[command(hide = true)]
    Sign(super::absent::Rest),
}

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Name of the task
    task_name: String,
    /// Workspace to create it in
    #[arg(long, short, value_name = "NAME")]
    workspace: Option<String>,
    /// YAML file with the data of the task (- for standard input) [default: standard input]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// YAML file that says what to do when something happens
    #[arg(long, value_name = "FILE")]
    event_reactions: Option<PathBuf>,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List this many at most
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Accepted, and without effect as in Debian's client: the list is of the whole scope
    #[arg(long, short, value_name = "NAME")]
    #[allow(dead_code, reason = "it has no effect")]
    workspace: Option<String>,
}

/// Arguments of `manage`.
#[derive(Debug, clap::Args)]
pub struct ManageArgs {
    /// Work request
    id: i64,
    /// Added to the priority; higher comes first
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    set_priority_adjustment: Option<i32>,
}

/// Runs the command.
pub async fn run(session: &Session, command: Commands) -> anyhow::Result<Code> {
    let client = &session.client;
    match command {
        Commands::Create(args) => create(session, args).await?,
        Commands::Show { id } => show(session, id).await?,
        Commands::List(args) => list(session, args.limit).await?,
        Commands::Manage(args) => {
            let priority_adjustment = args.set_priority_adjustment.ok_or_else(|| failure(NOTHING_TO_CHANGE))?;
            client.update_work_request(args.id, &UpdateWorkRequest { priority_adjustment }).await?;
        }
        Commands::Retry { id } => drop(client.retry_work_request(id).await?),
        Commands::Abort { id } => drop(client.abort_work_request(id).await?),
        Commands::OnCompleted(args) => on_completed::run(client, args).await?,
        Commands::Sign(_) => return Err(super::absent::error("work-request sign")),
    }
    Ok(Code::Success)
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<()> {
    let ui = session.ui;
    let data = input::mapping(ui, args.data.as_deref())?;
    let reactions = input::optional_mapping(ui, args.event_reactions.as_deref())?;
    let new = CreateWorkRequest {
        task_name: args.task_name,
        task_data: Value::Object(data.map),
        event_reactions: reactions.map(|reactions| Value::Object(reactions.map)),
        workspace: session.workspace(args.workspace),
    };
    let created = session.client.create_work_request(&new).await;
    if ui.generation == Generation::New {
        return announce(&session.client, ui, &created?, data.from_stdin);
    }
    let Some(created) = session.unless_refused(created)? else { return Ok(()) };
    let message = format!("Work request registered: {}", session.page(&created.url));
    Ok(ui.data(&json!({"result": "success", "message": message, "work_request_id": created.id}))?)
}

async fn show(session: &Session, id: i64) -> anyhow::Result<()> {
    let (client, ui) = (&session.client, session.ui);
    let shown = Shown::fetch(client, id).await?;
    match (ui.generation, ui.format) {
        (Generation::Old, _) => ui.text(&shapes::work_request(&shown)?)?,
        (Generation::New, Format::Human) => shown.print(client, ui, view::details(client, id).await?.as_ref())?,
        (Generation::New, _) => ui.data(&shown.mapping()?)?,
    }
    Ok(())
}

async fn list(session: &Session, limit: usize) -> anyhow::Result<()> {
    let work_requests = session.client.work_requests(&WorkRequestFilter::default(), limit).await?;
    if session.ui.generation == Generation::New {
        return view::list(session.ui, &work_requests);
    }
    if work_requests.is_empty() {
        return Ok(session.ui.data(&json!({"results": []}))?);
    }
    let items: Vec<String> = work_requests.iter().map(shapes::listed_work_request).collect::<Result<_, _>>()?;
    Ok(session.ui.text(&format!("results:\n{}", yaml_list(&items)))?)
}
