//! `usine worker`: a worker alone.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tracing::Level;
use usine_worker::{Config, Ground, LogLevel, Places, Stop, TaskLibrary, Tempo, WorkerError};

use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::{Code, failure};
use crate::{logging, signals};

/// Options of `usine worker`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The configuration is worker.toml or debusine's config.ini in the first of these directories that exists:
~/.config/usine/worker, /etc/usine/worker, ~/.config/debusine/worker, /etc/debusine/worker.
A file `activation-token` beside it, with what `usine admin worker create` printed, enables the worker at once.

The first SIGTERM lets the running work request end, the second one stops it.
Exit status: 0 stopped by signals, 2 a result could not be reported, 3 configuration, token or registration failure.")]
pub struct Args {
    /// Directory of the configuration and the tokens, instead of the usual ones
    #[arg(long, value_name = "DIRECTORY")]
    pub config_directory: Option<PathBuf>,
    /// Only remove what earlier runs left in the working directory
    #[arg(long)]
    pub clean: bool,
}

/// Runs until SIGTERM or SIGINT. `level`: how much to log, if the command line says.
pub async fn run(args: Args, level: Option<Level>) -> anyhow::Result<Code> {
    let places = Places::of_this_process();
    let config = match &args.config_directory {
        Some(directory) => Config::read(directory, &places),
        None => Config::load(&places),
    };
    start(config.map_err(explained)?, level, args.clean).await
}

/// Runs with a configuration that has been read, or only cleans up.
pub async fn start(config: Config, level: Option<Level>, only_clean: bool) -> anyhow::Result<Code> {
    logging::for_service(level.unwrap_or_else(|| level_of(config.log_level)), log_file(&config)?);
    if only_clean {
        let removed = usine_worker::clean(&config).map_err(explained)?;
        tracing::info!("removed {removed} directories of earlier runs");
        return Ok(Code::Success);
    }
    let stop = signals::listen()?;
    run_with(config, stop).await?;
    Ok(Code::Success)
}

/// The level of our logs for one of a configuration.
pub fn level_of(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warning => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}

fn log_file(config: &Config) -> anyhow::Result<Option<File>> {
    let Some(path) = &config.log_file else { return Ok(None) };
    let file = File::options().create(true).append(true).open(path);
    file.map(Some).with_context(|| format!("Cannot write to the log file {}", path.display()))
}

/// Runs a worker with the real clock, randomness and tasks.
pub async fn run_with(config: Config, stop: signals::Stop) -> anyhow::Result<()> {
    let ground = Ground {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        runner: Arc::new(TaskLibrary),
        tempo: Tempo::default(),
    };
    usine_worker::run(config, ground, Stop { drain: stop.drain, abort: stop.abort }).await.map_err(explained)
}

/// The exit code that the worker's errors have.
pub fn explained(error: WorkerError) -> anyhow::Error {
    match error.exit_code() {
        2 => crate::exit::usage(error.to_string()),
        _ => failure(error.to_string()),
    }
}
