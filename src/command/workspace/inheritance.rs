//! `usine workspace inheritance`: read the chain, change it, and write it if it has changed.

use anyhow::Context;
use usine_client::Client;
use usine_client::config::ServerConfig;
use usine_protocol::workspace::InheritanceChain;

use super::chain::{self, Changes};
use crate::editor;
use crate::output::yaml;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without options the chain is shown. Changes are made in the order of the options above.

Example: usine workspace inheritance System --append base other-scope/public")]
pub struct Args {
    /// Workspace [default: the configuration file's default-workspace, else System]
    #[arg(value_name = "WORKSPACE")]
    of: Option<String>,
    /// The same as an option
    #[arg(long, short, value_name = "NAME", conflicts_with = "of")]
    workspace: Option<String>,
    #[command(flatten)]
    changes: Changes,
    /// Change the chain in an editor
    #[arg(long)]
    edit: bool,
}

/// Changes the chain if that is wanted; gives it as it is then.
///
/// # Errors
/// In the context [`NotSet`] if the server refuses the change.
pub async fn run(client: &Client, config: &ServerConfig, args: Args) -> anyhow::Result<InheritanceChain> {
    let workspace = args.of.or(args.workspace).unwrap_or_else(|| config.workspace().to_owned());
    let present = client.inheritance(&workspace).await?;
    let mut wanted = InheritanceChain { chain: args.changes.apply(present.chain.clone(), &config.scope) };
    if args.edit {
        wanted.chain = editor::edit("inheritance", &yaml(&serde_json::to_value(&wanted)?), chain::read)?;
    }
    if wanted == present {
        return Ok(present);
    }
    client.set_inheritance(&workspace, &wanted).await.context(NotSet)
}

/// The server does not take the new chain; its words are the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSet;

impl std::fmt::Display for NotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Error setting inheritance")
    }
}
