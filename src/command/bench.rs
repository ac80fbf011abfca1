//! `usine bench`: how fast this program is on this machine. The measurements are `usine-bench`'s.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use usine_bench::stage::{Latency, Queue, Throughput};
use usine_bench::{Ground, Measure, Place};

use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::{Code, failure};
use crate::output::{Format, OutputArgs, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Which database, each in turn: sqlite, or the URL of a PostgreSQL database in which others can be made
    #[arg(long = "database", value_name = "DATABASE", global = true, default_value = "sqlite")]
    databases: Vec<Place>,
    /// Directory for what is written, on the file system that is to be measured
    #[arg(long, value_name = "DIRECTORY", global = true, default_value = "/var/tmp")]
    directory: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    stage: Stages,
}

const HELP: &str = "\
Each measurement starts a server of its own, on an empty database and a port of
its own, and removes everything at its end. Simulated workers and clients talk to
it as real ones do. An error of the server ends the measurement.

Example: usine bench throughput --workers 100 --seconds 10";

/// The measurements.
#[derive(Debug, Subcommand)]
enum Stages {
    /// Work requests per second from end to end: submitted, assigned, taken, reported
    Throughput(Throughput),
    /// Time from a submission to a worker's notice, at rest and under load
    Latency(Latency),
    /// The cost of one assignment with short and long queues
    Queue(Queue),
}

/// Measures and prints what was found.
pub async fn run(args: Args) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    let program = std::env::current_exe().map_err(|error| failure(format!("where is this program? {error}")))?;
    let ground =
        Ground { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), program, directory: args.directory };
    let mut measures = Vec::new();
    for place in &args.databases {
        measures.extend(match &args.stage {
            Stages::Throughput(stage) => stage.run(&ground, place).await?,
            Stages::Latency(stage) => stage.run(&ground, place).await?,
            Stages::Queue(stage) => stage.run(&ground, place).await?,
        });
    }
    print(ui, &measures)?;
    Ok(Code::Success)
}

fn print(ui: Ui, measures: &[Measure]) -> anyhow::Result<()> {
    if ui.format != Format::Human {
        return Ok(ui.data(&json!(measures))?);
    }
    let rows = measures.iter().map(|measure| {
        let [stage, database, case, what] =
            [measure.stage, measure.database, measure.case.as_str(), measure.what].map(str::to_owned);
        vec![stage, database, case, what, measure.shown(), measure.verdict()]
    });
    Ok(ui.table(&["stage", "database", "case", "what", "value", "target"], rows.collect())?)
}
