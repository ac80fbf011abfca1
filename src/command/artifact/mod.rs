//! `usine artifact`: files and what is known of them.

pub mod create;
pub mod download;
pub mod import;
mod view;

use clap::Subcommand;
use usine_client::{ArtifactFilter, Client};
use usine_model::artifact::ArtifactCategory;
use usine_protocol::artifact::Relation;

use crate::connection::{Connected, Connection};
use crate::exit::Code;
use crate::input::one_of;
use crate::output::{OutputArgs, Ui};

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
    /// Create an artifact from files
    Create(create::Args),
    /// Import a Debian source package, upload or binary package: .dsc, .changes, .deb
    #[command(visible_alias = "import-debian")]
    Import(import::Args),
    /// Show an artifact and its files
    Show {
        /// Artifact
        id: i64,
    },
    /// Show which artifacts an artifact relates to
    ShowRelations {
        /// Artifact
        id: i64,
        /// Show which artifacts relate to this one
        #[arg(long)]
        reverse: bool,
    },
    /// List the newest artifacts (servers of usine only)
    List {
        /// List this many at most
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only of this category
        #[arg(long, value_parser = one_of::<ArtifactCategory>())]
        category: Option<ArtifactCategory>,
        /// Only those that this work request has made
        #[arg(long, value_name = "ID")]
        work_request: Option<i64>,
        /// Only in this workspace
        #[arg(long, short, value_name = "NAME")]
        workspace: Option<String>,
    },
    /// Download the files of an artifact
    Download(download::Args),
}

/// Runs the command.
pub async fn run(args: Args, before: &Connection) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    let Connected { client, config } = args.connection.or(before).open()?;
    match args.command {
        Commands::Create(args) => create::run(&client, &config, ui, args).await?,
        Commands::Import(args) => import::run(&client, &config, ui, args).await?,
        Commands::Show { id } => ui.data(&serde_json::to_value(client.artifact(id).await?)?)?,
        Commands::ShowRelations { id, reverse } => {
            ui.data(&serde_json::to_value(relations(&client, id, reverse).await?)?)?;
        }
        Commands::List { limit, category, work_request, workspace } => {
            let filter = ArtifactFilter { category, workspace, work_request };
            view::list(ui, &client.artifacts(&filter, limit).await?)?;
        }
        Commands::Download(args) => download::run(&client, args).await?,
    }
    Ok(Code::Success)
}

/// What an artifact relates to or, in reverse, what relates to it.
pub async fn relations(client: &Client, id: i64, reverse: bool) -> Result<Vec<Relation>, usine_client::Error> {
    if reverse { client.relations_to(id).await } else { client.relations_from(id).await }
}
