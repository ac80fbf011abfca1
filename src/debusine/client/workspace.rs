//! `debusine workspace`.

use clap::Subcommand;
use serde_json::json;

use super::Session;
use crate::command::workspace::inheritance;
use crate::exit::Code;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Show or change from which workspaces a workspace inherits, in their order
    #[command(after_help = "")]
    Inheritance(inheritance::Args),
}

/// Runs the command.
pub async fn run(session: &Session, command: Commands) -> anyhow::Result<Code> {
    let Commands::Inheritance(args) = command;
    let chain = inheritance::run(&session.client, &session.config, args).await?.chain;
    session.always_yaml().data(&json!({"chain": chain}))?;
    Ok(Code::Success)
}
