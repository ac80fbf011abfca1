//! `usine admin`: what an administrator does on the server's machine, directly in its database.
//!
//! Changes go through the same managers as the server's own, and a running server hears of them by their events.

mod audit_log;
mod check;
pub mod group;
mod migrate;
mod names;
pub mod password;
mod role;
pub mod scope;
pub mod share;
pub mod token;
pub mod upkeep;
pub mod user;
pub mod work_request;
pub mod worker;
pub mod workspace;

use std::path::Path;

use clap::Subcommand;
use usine_db::Database;
use usine_server::Config;

use crate::exit::{Code, Failed, failure};
use crate::input::confirm;
use crate::output::{Format, OutputArgs, Ui, admin_yaml};
use crate::server_config::ServerOptions;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
These commands open the database itself: run them on the server's machine, as the server's user.

First steps on a new server:
  usine admin migrate
  usine admin user create alice alice@example.org --group debusine/Owners
  usine admin token create alice --comment laptop
  usine admin worker create worker1.example.org")]
pub struct Args {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Commands,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create, list and change users
    #[command(subcommand)]
    User(user::Commands),
    /// Create, list, enable, disable and delete the tokens of users
    #[command(subcommand)]
    Token(token::Commands),
    /// Create, list, enable, disable and describe workers
    #[command(subcommand)]
    Worker(worker::Commands),
    /// Create and change scopes, and say which groups own them
    #[command(subcommand)]
    Scope(scope::Commands),
    /// Create and change workspaces, and say which groups may use them
    #[command(subcommand)]
    Workspace(workspace::Commands),
    /// Create and change groups, and say who is in them
    #[command(subcommand)]
    Group(group::Commands),
    /// Say what users and workspaces get of the workers
    #[command(subcommand)]
    Share(share::Commands),
    /// Show who changed which group, role, scope and workspace
    AuditLog(audit_log::Args),
    /// Create, list and abort work requests of all workspaces
    #[command(subcommand)]
    WorkRequest(work_request::Commands),
    /// Delete work requests, artifacts, files and tokens that have expired; a running server does so by itself
    DeleteExpired(upkeep::DryRun),
    /// Clear away what was begun and never ended; a running server does so by itself
    VacuumStorage(upkeep::DryRun),
    /// Compare the file store with the database; changes nothing unless told to
    Fsck(upkeep::FsckArgs),
    /// Check the schema and the content of the database, and that no file is missing from the store
    Check,
    /// Bring the schema of the database up to date; makes a new SQLite database
    Migrate,
}

/// The program under whose name a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Our own.
    Usine,
    /// `debusine-admin`.
    Debusine,
}

impl Program {
    /// How a person starts these commands.
    pub fn admin(self) -> &'static str {
        match self {
            Self::Usine => "usine admin",
            Self::Debusine => "debusine-admin",
        }
    }

    /// What the whole program is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usine => "usine",
            Self::Debusine => "debusine",
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    dispatch(Program::Usine, &args.server.load()?, args.command, ui).await
}

/// Runs a command of either program.
pub async fn dispatch(program: Program, config: &Config, command: Commands, ui: Ui) -> anyhow::Result<Code> {
    if let Commands::Migrate = command {
        return migrate(config, ui).await.map_err(in_debians_words);
    }
    with_database(program, config, async |database| {
        match command {
            Commands::User(command) => user::run(database, ui, command).await?,
            Commands::Token(command) => token::run(database, ui, command).await?,
            Commands::Worker(command) => worker::run(database, ui, program, command).await?,
            Commands::Scope(command) => scope::run(database, ui, command).await?,
            Commands::Workspace(command) => workspace::run(database, ui, command).await?,
            Commands::Group(command) => group::run(database, ui, command).await?,
            Commands::Share(command) => share::run(database, ui, command).await?,
            Commands::AuditLog(args) => audit_log::run(database, ui, args).await?,
            Commands::WorkRequest(command) => work_request::run(database, config, ui, command).await?,
            Commands::DeleteExpired(args) => upkeep::delete_expired(database, config, ui, args).await?,
            Commands::VacuumStorage(args) => upkeep::vacuum_storage(database, config, ui, args).await?,
            Commands::Fsck(args) => return upkeep::fsck(database, config, ui, args).await,
            Commands::Check => return check::run(database, config, ui).await,
            Commands::Migrate => {}
        }
        Ok(Code::Success)
    })
    .await
}

/// Needs no database that is there already, nor an up to date one.
async fn migrate(config: &Config, ui: Ui) -> anyhow::Result<Code> {
    let url = config.database_url();
    if let Some(directory) = sqlite_path(&url).and_then(Path::parent) {
        std::fs::create_dir_all(directory)?;
    }
    migrate::run(&Database::connect(&url).await?, ui).await
}

/// Opens the server's database, if there is one and its schema is up to date, for a command, and closes it.
pub async fn with_database(
    program: Program,
    config: &Config,
    command: impl AsyncFnOnce(&Database) -> anyhow::Result<Code>,
) -> anyhow::Result<Code> {
    let outcome = async {
        let database = open_existing(program, &config.database_url()).await?;
        refuse_old_schema(program, &database).await?;
        let code = command(&database).await?;
        database.close().await;
        anyhow::Ok(code)
    };
    outcome.await.map_err(in_debians_words)
}

/// Errors of the database as Debian's administration command tells them.
fn in_debians_words(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<usine_db::Error>() {
        Some(usine_db::Error::Database(inner)) => command_error(format!("Database error: {inner}")),
        Some(error) => command_error(error),
        None => error,
    }
}

/// Connects, without making a database that is not there.
pub async fn open_existing(program: Program, url: &str) -> anyhow::Result<Database> {
    if let Some(path) = sqlite_path(url)
        && !path.exists()
    {
        return Err(command_error(format!(
            "Database error: {} does not exist. `{} migrate` makes it; another one is named with --database or the \
             environment variable USINE_DATABASE",
            path.display(),
            program.admin()
        )));
    }
    Ok(Database::connect(url).await?)
}

/// The file of an SQLite URL: `sqlite:PATH` or `sqlite://PATH`, with or without parameters.
fn sqlite_path(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().filter(|path| !path.is_empty() && *path != ":memory:")?;
    Some(Path::new(path))
}

async fn refuse_old_schema(program: Program, database: &Database) -> anyhow::Result<()> {
    let pending = database.pending_migrations().await?;
    if pending.is_empty() {
        return Ok(());
    }
    let message = format!(
        "SystemCheckError: Non-applied migration: {}\nHINT: Run \"{} migrate\"",
        pending.join(", "),
        program.admin()
    );
    Err(Failed { message, code: Code::Findings }.into())
}

/// An error in the words of Debian's administration command.
fn command_error(message: impl std::fmt::Display) -> anyhow::Error {
    failure(format!("CommandError: {message}"))
}

/// A listing: YAML as `debusine-admin` prints it, JSON, or a table with these headings.
fn listing(ui: Ui, columns: &[(&str, &str)], rows: &[serde_json::Value]) -> anyhow::Result<()> {
    match ui.format {
        Format::Yaml => ui.text(&admin_yaml(rows))?,
        Format::Json => ui.data(&rows.iter().cloned().collect())?,
        Format::Human => {
            let headings: Vec<&str> = columns.iter().map(|(_, heading)| *heading).collect();
            let cells = rows.iter().map(|row| columns.iter().map(|(key, _)| cell(&row[*key])).collect());
            ui.table(&headings, cells.collect())?;
        }
    }
    Ok(())
}

fn cell(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_behind_a_url() {
        for (url, path) in [
            ("sqlite:/a/b.db", Some("/a/b.db")),
            ("sqlite:///a/b.db?mode=rwc", Some("/a/b.db")),
            ("sqlite:b.db", Some("b.db")),
            ("sqlite::memory:", None),
            ("postgres://h/b", None),
        ] {
            assert_eq!(sqlite_path(url), path.map(Path::new), "{url}");
        }
    }
}
