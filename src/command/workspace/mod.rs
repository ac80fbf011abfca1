//! `usine workspace`: where a workspace looks further for what it does not have itself.

pub mod chain;
pub mod inheritance;

use clap::Subcommand;

use crate::connection::{Connected, Connection};
use crate::exit::Code;
use crate::output::{Format, OutputArgs, Ui, or_empty};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Show or change from which workspaces a workspace inherits, in their order
    Inheritance(inheritance::Args),
}

/// Runs the command.
pub async fn run(args: Args, before: &Connection) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    let Connected { client, config } = args.connection.or(before).open()?;
    let Commands::Inheritance(args) = args.command;
    let parents = inheritance::run(&client, &config, args).await?.chain;
    if ui.format == Format::Human {
        let row = |parent: &usine_protocol::workspace::ChainElement| {
            let (scope, name) = (or_empty(parent.scope.as_ref()), or_empty(parent.workspace.as_ref()));
            vec![or_empty(parent.id), format!("{scope}/{name}")]
        };
        ui.table(&["ID", "Workspace"], parents.iter().map(row).collect())?;
    } else {
        ui.data(&serde_json::json!({"chain": parents}))?;
    }
    Ok(Code::Success)
}
