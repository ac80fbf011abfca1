//! `debusine artifact`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Session, shapes};
use crate::command::artifact::{create, download, import, relations};
use crate::exit::{Code, problem_of, text_of};
use crate::output::Generation;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create an artifact from files
    #[command(after_help = "")]
    Create(create::Args),
    /// Import a Debian source package, upload or binary package: .dsc, .changes, .deb
    #[command(after_help = "")]
    ImportDebian(import::Args),
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
    /// Download the files of an artifact
    Download(download::Args),
}

/// Runs the command.
pub async fn run(session: &Session, command: Commands) -> anyhow::Result<Code> {
    let client = &session.client;
    match command {
        Commands::Create(mut args) => {
            args.workspace = session.workspace(args.workspace);
            let created = create::run(client, &session.config, session.always_yaml(), args).await;
            match session.ui.generation {
                Generation::New => created?,
                Generation::Old => drop(session.unless_refused(created)?),
            }
        }
        Commands::ImportDebian(mut args) => {
            args.workspace = session.workspace(args.workspace);
            let imported = import::run(client, &session.config, session.always_yaml(), args).await;
            match (session.ui.generation, imported) {
                (Generation::Old, Err(error)) => return import_failed(session, &error),
                (_, imported) => imported?,
            }
        }
        Commands::Show { id } => {
            let artifact = client.artifact(id).await?;
            let value = match session.ui.generation {
                Generation::New => serde_json::to_value(artifact)?,
                Generation::Old => shapes::artifact(&artifact)?,
            };
            session.always_yaml().data(&value)?;
        }
        Commands::ShowRelations { id, reverse } => {
            let found = relations(client, id, reverse).await?;
            let value: Value = match session.ui.generation {
                Generation::New => found.iter().map(with_links).collect::<Result<_, _>>()?,
                Generation::Old => found.iter().map(shapes::relation).collect(),
            };
            session.always_yaml().data(&value)?;
        }
        Commands::Download(args) => download::run(client, args).await?,
    }
    Ok(Code::Success)
}

/// A relation as the new generation prints it: there are no links in the API, so it prints none.
fn with_links(relation: &usine_protocol::artifact::Relation) -> serde_json::Result<Value> {
    let mut mapping = json!({"links": {}});
    if let (Value::Object(all), Value::Object(own)) = (&mut mapping, serde_json::to_value(relation)?) {
        all.extend(own);
    }
    Ok(mapping)
}

/// The old generation says on standard output why nothing was imported.
fn import_failed(session: &Session, error: &anyhow::Error) -> anyhow::Result<Code> {
    let why = match problem_of(error) {
        Some((_, problem)) => json!(problem),
        None => json!(text_of(error)),
    };
    session.ui.data(&json!({"result": "failure", "error": why}))?;
    Ok(Code::Failure)
}
