//! `usine admin work-request create`: as a submission to the server, but past its permissions.

use std::path::PathBuf;

use serde_json::{Value, json};
use usine_db::tenancy::{Scope, Workspace};
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{Database, GroupManager, UserManager, WorkRequestManager};
use usine_model::clock::Clock;
use usine_model::work_request::TaskType;
use usine_server::Config;
use usine_server::permissions::Place;
use usine_server::requirements::{RequirementError, named_artifacts, resolve, scheduler_tags};
use usine_tasks::ServerFacts;

use super::super::{command_error, names};
use crate::ambient::SystemClock;
use crate::input;
use crate::output::{Format, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the task runs: worker, server or signing
    #[arg(value_parser = task_type)]
    task_type: TaskType,
    /// Name of the task
    task_name: String,
    /// The user who is said to have submitted it
    #[arg(long, value_name = "USER", default_value = "_system")]
    created_by: String,
    /// Workspace: SCOPE/NAME, or NAME in the default scope [default: the server's]
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// YAML file with the data of the task (- for standard input) [default: standard input]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// YAML file that says what to do when the work request has ended
    #[arg(long, value_name = "FILE")]
    event_reactions: Option<PathBuf>,
}

fn task_type(text: &str) -> Result<TaskType, String> {
    match text.to_ascii_lowercase().as_str() {
        "worker" => Ok(TaskType::Worker),
        "server" => Ok(TaskType::Server),
        "signing" => Ok(TaskType::Signing),
        _ => Err("expected worker, server or signing".to_owned()),
    }
}

/// Submits it.
pub async fn run(database: &Database, config: &Config, ui: Ui, args: Args) -> anyhow::Result<()> {
    let data = Value::Object(input::mapping(ui, args.data.as_deref())?.map);
    let reactions = input::optional_mapping(ui, args.event_reactions.as_deref())?;
    let user = UserManager(database).get_user_or_none(&args.created_by).await?;
    let user = user.ok_or_else(|| command_error(format!("User \"{}\" not found", args.created_by)))?;
    let name = args.workspace.as_deref().unwrap_or(&config.default_workspace);
    let (scope, workspace) = find_workspace(database, config, name).await?;

    let failed = |problem: String| command_error(format!("Failed to create work request: {problem}"));
    let task = usine_tasks::find(args.task_type, &args.task_name).ok_or_else(|| {
        let known = usine_tasks::registered(args.task_type).join(", ");
        failed(format!("there is no {} task {:?}; known: {known}", args.task_type, args.task_name))
    })?;
    let facts = ServerFacts { fqdn: config.fqdn.clone(), fallback_architecture: config.fallback_architecture.clone() };
    let prepared = async {
        task.check(&data).map_err(RequirementError::from)?;
        let resolved = resolve(database, task, &data, &workspace, user.id).await?;
        // As a test: what fails now would fail when a worker is found.
        task.dynamic_data(&data, &resolved, &facts)?;
        let place = Place { workspace: workspace.clone(), scope };
        let groups = GroupManager(database).names_of(user.id).await?;
        Ok(scheduler_tags(task, &data, &resolved, &place, &groups, &facts)?)
    };
    let tags: SchedulerTags = prepared.await.map_err(|error: RequirementError| failed(error.to_string()))?;
    let new = NewWorkRequest {
        task_type: args.task_type,
        task_data: data.clone(),
        event_reactions: reactions.map_or_else(|| json!({}), |reactions| Value::Object(reactions.map)),
        inputs: named_artifacts(task, &data).map_err(|error| failed(error.to_string()))?,
        ..NewWorkRequest::of_worker_task(workspace.id, user.id, task.name())
    };
    let created = WorkRequestManager(database).create(&new, &tags, SystemClock.now()).await;
    let created = created.map_err(|error| failed(error.to_string()))?;
    match ui.format {
        Format::Json => ui.data(&json!({"work_request_id": created.id}))?,
        Format::Human | Format::Yaml => ui.text(&format!("---\nwork_request_id: {}\n\n", created.id))?,
    }
    Ok(())
}

/// `SCOPE/NAME`, or `NAME` in the default scope.
async fn find_workspace(database: &Database, config: &Config, name: &str) -> anyhow::Result<(Scope, Workspace)> {
    let (scope, name) = name.split_once('/').unwrap_or((&config.default_scope, name));
    let scope = names::scope(database, scope).await?;
    let workspace = names::workspace_in(database, &scope, name).await?;
    Ok((scope, workspace))
}
