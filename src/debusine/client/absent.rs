//! Commands of Debian's client whose part of the API is not served yet. They are known, so that a script learns that
//! usine cannot do it, not that its command line is wrong.

use std::ffi::OsString;

use clap::Subcommand;

use crate::exit::failure;

/// Whatever follows.
#[derive(Debug, clap::Args)]
pub struct Rest {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    #[allow(dead_code, reason = "whatever it is, it cannot be done")]
    rest: Vec<OsString>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Start workflows (not there yet)
    Workflow(Rest),
    /// Templates of workflows (not there yet)
    WorkflowTemplate(Rest),
    /// Collections (not there yet)
    Collection(Rest),
    /// Assets, such as signing keys (not there yet)
    Asset(Rest),
    /// Configuration of tasks (not there yet)
    TaskConfig(Rest),
    /// Archives of packages (not there yet)
    Archive(Rest),
}

impl Commands {
    /// What to say.
    pub fn error(&self) -> anyhow::Error {
        error(match self {
            Self::Workflow(_) => "workflow",
            Self::WorkflowTemplate(_) => "workflow-template",
            Self::Collection(_) => "collection",
            Self::Asset(_) => "asset",
            Self::TaskConfig(_) => "task-config",
            Self::Archive(_) => "archive",
        })
    }
}

/// What to say of a command.
pub fn error(command: &str) -> anyhow::Error {
    failure(format!(
        "Error: `debusine {command}` is not there yet: servers of usine do not have this part of the API; see the limits \
         in its README"
    ))
}
