//! `debusine-worker`: our own worker with the options and the configuration file of Debian's.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser};
use usine_worker::{Config, LogLevel, Places};

use crate::command::worker::{explained, level_of, start};
use crate::exit::{self, Code, usage};
use crate::output::Format;
use crate::runtime;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "debusine-worker",
    version = super::VERSION,
    about = "Run a worker of debusine's protocol, with the options of Debian's worker",
    after_help = HELP,
    infer_long_args = true
)]
struct Cli {
    /// How much to log: DEBUG, INFO, WARNING, ERROR or CRITICAL [default: the configuration's log-level, else INFO]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// Log to the end of this file [default: the configuration's log-file, else standard error]
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Log to standard error whatever the configuration says
    #[arg(long, conflicts_with = "log_file")]
    log_stderr: bool,
    /// Directory in which tasks run [default: the configuration's working-directory]
    #[arg(long, value_name = "DIRECTORY")]
    working_directory: Option<PathBuf>,
    /// Only remove what earlier runs left in the working directory
    #[arg(long)]
    clean: bool,
}

const HELP: &str = "\
The configuration is config.ini in ~/.config/debusine/worker or else /etc/debusine/worker, with the files token and
activation-token beside it.

Exit status: 0 stopped by signals, 2 a result could not be reported, 3 configuration, token or registration failure.";

/// The options, for manual pages and completions.
pub fn command() -> Command {
    Cli::command()
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| super::end(error, &mut command()));
    runtime::block_on(run(cli)).unwrap_or_else(|error| exit::report(&error, Format::Human)).into()
}

async fn run(cli: Cli) -> anyhow::Result<Code> {
    let mut config = Config::load_debusine(&Places::of_this_process()).map_err(explained)?;
    if let Some(directory) = cli.working_directory {
        config.working_directory = std::path::absolute(directory).map_err(|error| usage(error.to_string()))?;
    }
    config.log_file = if cli.log_stderr { None } else { cli.log_file.or(config.log_file) };
    start(config, cli.log_level.map(level_of), cli.clean).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_sound() {
        command().debug_assert();
        let cli = Cli::try_parse_from(["debusine-worker", "--log-l", "warning", "--work=/x"]).unwrap();
        assert_eq!((cli.log_level, cli.working_directory), (Some(LogLevel::Warning), Some("/x".into())));
        assert_eq!(Cli::try_parse_from(["debusine-worker", "--log-level", "loud"]).unwrap_err().exit_code(), 2);
    }
}
