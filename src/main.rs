//! The program `usine`: reads the command line, hands out the real clock and randomness, calls the command, and turns
//! its outcome into an exit code. No logic here: each command has its file in `command/`.

mod ambient;
mod cli;
mod command;
mod connection;
mod exit;
mod input;
mod logging;
mod output;
mod patience;
mod progress;
mod server_config;
mod signals;

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};

use cli::{Cli, Commands};
use exit::Code;
use output::Format;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let format = format_of(&matches);
    // Two at least: a worker hashes a file while it answers the server.
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    outcome.unwrap_or_else(|error| exit::report(&error, format)).into()
}

async fn run(cli: Cli) -> anyhow::Result<Code> {
    match cli.command {
        Commands::Server(_) | Commands::Worker(_) | Commands::Standalone(_) => {
            logging::for_service(cli.silent, cli.debug.is_some());
        }
        _ => logging::for_command(cli.silent, cli.debug.is_some()),
    }
    match cli.command {
        Commands::WorkRequest(args) => command::work_request::run(args, &cli.connection).await,
        Commands::Artifact(args) => command::artifact::run(args, &cli.connection).await,
        Commands::Check(args) => command::check::run(args, &cli.connection).await,
        Commands::Task(args) => command::task::run(args),
        Commands::Server(args) => command::server::run(args).await,
        Commands::Worker(args) => command::worker::run(args).await,
        Commands::Standalone(args) => command::standalone::run(args).await,
        Commands::Admin(args) => command::admin::run(args).await,
        Commands::Doctor(args) => command::doctor::run(args, &cli.connection).await,
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
