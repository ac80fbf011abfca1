//! `usine bench`: how fast this program is on this machine. The measurements are `usine-bench`'s.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use usine_bench::stage::{Api, BareDatabase, Latency, Memory, Queue, Start, Throughput, Transfer};
use usine_bench::{Ground, Measure, Place, Report, bare_http};

use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::{Code, failure};
use crate::output::{Format, OutputArgs, Ui};
use crate::signals;

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
    /// Leave directories and databases for a look at them
    #[arg(long, global = true)]
    keep: bool,
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
    /// Calls of the API per second and how long they take, and those of an HTTP server that does nothing
    Api(Api),
    /// What the database can do without a server: the rows of the whole life of a work request
    BareDatabase(BareDatabase),
    /// Upload and download of a large file, against reading, hashing and writing it
    Transfer(Transfer),
    /// Memory and CPU at rest and under load
    Memory(Memory),
    /// Time from the start to the first answer
    Start(Start),
    /// All of these, and a report
    Report(Report),
    /// An HTTP server that answers with the same bytes each time; `api` starts it
    #[command(hide = true)]
    BareHttp {
        /// Bytes of an answer
        size: usize,
    },
}

/// Measures and prints what was found.
pub async fn run(args: Args) -> anyhow::Result<Code> {
    if let Stages::BareHttp { size } = args.stage {
        let stop = signals::listen()?;
        bare_http::serve(size, stop.drain, |address| eprintln!("listening on http://{address}")).await?;
        return Ok(Code::Success);
    }
    let ui = Ui::new(args.output.format());
    let program = std::env::current_exe().map_err(|error| failure(format!("where is this program? {error}")))?;
    let ground = Ground {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        program,
        directory: args.directory,
        keep: args.keep,
    };
    let mut measures = Vec::new();
    if let Stages::Report(report) = &args.stage {
        measures = report.run(&ground, &args.databases).await?;
    } else {
        for place in &args.databases {
            measures.extend(one(&args.stage, &ground, place).await?);
        }
    }
    print(ui, &measures)?;
    Ok(Code::Success)
}

async fn one(stage: &Stages, ground: &Ground, place: &Place) -> usine_bench::Result<Vec<Measure>> {
    match stage {
        Stages::Throughput(stage) => stage.run(ground, place).await,
        Stages::Latency(stage) => stage.run(ground, place).await,
        Stages::Queue(stage) => stage.run(ground, place).await,
        Stages::Api(stage) => stage.run(ground, place).await,
        Stages::BareDatabase(stage) => stage.run(ground, place).await,
        Stages::Transfer(stage) => stage.run(ground, place).await,
        Stages::Memory(stage) => stage.run(ground, place).await,
        Stages::Start(stage) => stage.run(ground, place).await,
        Stages::Report(_) | Stages::BareHttp { .. } => Ok(Vec::new()),
    }
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
