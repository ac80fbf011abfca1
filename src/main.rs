//! The program `usine`: reads the command line, hands out the real clock and randomness, calls the command, and turns
//! its outcome into an exit code. No logic here: each command has its file in `command/`. Under the names of debusine's
//! programs it is these: `debusine/`.

mod ambient;
mod cli;
mod command;
mod connection;
mod debusine;
mod editor;
mod exit;
mod input;
mod logging;
mod output;
mod patience;
mod progress;
mod runtime;
mod server_config;
mod signals;

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};
use tracing::Level;

use cli::{Cli, Commands};
use debusine::Personality;
use exit::Code;
use output::Format;

/// A server makes and drops some thousand small things for a work request: the C library's own takes twice as long for them.
/// SQLite's come from it, too. Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match std::env::args_os().next().map_or(Personality::Usine, |name| Personality::of(&name)) {
        Personality::Usine => usine(),
        Personality::Client => debusine::client::main(),
        Personality::Admin => debusine::admin::main(),
        Personality::Worker => debusine::worker::main(),
    }
}

fn usine() -> ExitCode {
    let matches = cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let format = format_of(&matches);
    runtime::block_on(run(cli)).unwrap_or_else(|error| exit::report(&error, format)).into()
}

async fn run(cli: Cli) -> anyhow::Result<Code> {
    let level = logging::level_of(cli.silent, cli.debug.is_some());
    match cli.command {
        Commands::Server(_) | Commands::Standalone(_) => logging::for_service(level.unwrap_or(Level::INFO), None),
        // Its configuration may say how much to log.
        Commands::Worker(_) => {}
        _ => logging::for_command(cli.silent, cli.debug.is_some()),
    }
    match cli.command {
        Commands::WorkRequest(args) => command::work_request::run(args, &cli.connection).await,
        Commands::Artifact(args) => command::artifact::run(args, &cli.connection).await,
        Commands::Workspace(args) => command::workspace::run(args, &cli.connection).await,
        Commands::Check(args) => command::check::run(args, &cli.connection).await,
        Commands::Task(args) => command::task::run(args),
        Commands::Server(args) => command::server::run(args).await,
        Commands::Worker(args) => command::worker::run(args, level).await,
        Commands::Standalone(args) => command::standalone::run(args).await,
        Commands::Admin(args) => command::admin::run(args).await,
        Commands::Setup(args) => command::setup::run(args, &cli.connection).await,
        Commands::Doctor(args) => command::doctor::run(args, &cli.connection).await,
        Commands::Bench(args) => command::bench::run(args).await,
        Commands::Completions(args) => command::completions::run(args),
        Commands::Man(args) => command::man::run(args),
    }
}

/// `--yaml` or `--json`, wherever it was given: errors of the server are printed in the same format.
fn format_of(matches: &ArgMatches) -> Format {
    let is_set = |name| matches!(matches.try_get_one::<bool>(name), Ok(Some(true)));
    if is_set("yaml") {
        Format::Yaml
    } else if is_set("json") {
        Format::Json
    } else {
        matches.subcommand().map_or(Format::Human, |(_, matches)| format_of(matches))
    }
}
