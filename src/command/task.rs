//! `usine task`: what can be asked of workers, answered by this program itself, without a server.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use strum::IntoEnumIterator;
use usine_model::work_request::TaskType;

use crate::exit::{Code, failure};
use crate::output::{Format, OutputArgs, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// List the tasks that this version knows
    List,
    /// Print the JSON Schema of a task's data
    Schema {
        /// Name of the task, as in `usine task list`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        task_name: Option<String>,
        /// Write the schemas of all tasks into this directory, NAME.json each; made if it does not exist
        #[arg(long, value_name = "DIRECTORY")]
        all: Option<PathBuf>,
    },
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    match args.command {
        Commands::List => list(ui)?,
        Commands::Schema { all: Some(directory), .. } => write_all(&directory)?,
        Commands::Schema { task_name, all: None } => {
            let task_name = task_name.unwrap_or_default();
            let task = TaskType::iter().find_map(|task_type| usine_tasks::find(task_type, &task_name));
            let task = task.ok_or_else(|| failure(format!("There is no task {task_name:?}; see `usine task list`")))?;
            ui.data(&task.schema())?;
        }
    }
    Ok(Code::Success)
}

/// One file for each task. Names are unique but for the two tasks `noop`: that of workers has the plain name.
fn write_all(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("Cannot make {}", directory.display()))?;
    for task_type in TaskType::iter() {
        for name in usine_tasks::registered(task_type) {
            let Some(task) = usine_tasks::find(task_type, name) else { continue };
            let file = match task_type {
                TaskType::Signing => format!("signing-{name}.json"),
                _ => format!("{name}.json"),
            };
            let path = directory.join(file);
            std::fs::write(&path, format!("{:#}\n", task.schema()))
                .with_context(|| format!("Cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn list(ui: Ui) -> anyhow::Result<()> {
    let tasks: Vec<(TaskType, &str)> = TaskType::iter()
        .flat_map(|task_type| usine_tasks::registered(task_type).into_iter().map(move |name| (task_type, name)))
        .collect();
    if ui.format == Format::Human {
        let rows = tasks.iter().map(|(task_type, name)| vec![task_type.to_string(), (*name).to_owned()]);
        ui.table(&["Type", "Name"], rows.collect())?;
    } else {
        let rows = tasks.iter().map(|(task_type, name)| json!({"task_type": task_type, "task_name": name}));
        ui.data(&rows.collect())?;
    }
    Ok(())
}
