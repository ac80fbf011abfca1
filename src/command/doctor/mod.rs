//! `usine doctor`: looks at this machine as a person who knows would, says in one line each what is well and what is
//! not, and what to do about it; `--fix` does it.

mod checks;
mod fix;
mod identity;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::exit::{Code, failure};
use crate::output::{Format, OutputArgs, Ui};
use crate::server_config::ServerOptions;

/// The account under which a worker that runs as root runs tasks.
pub const WORKER_USER: &str = "usine-worker";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 if nothing is wrong (warnings do not count), 1 otherwise.

Examples:
  usine doctor --for client        only what the client needs
  usine doctor --for worker --fix  as root: install tools, make the user usine-worker")]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    output: OutputArgs,
    /// Only what this part needs; may be repeated [default: all]
    #[arg(long = "for", value_name = "PART")]
    parts: Vec<Part>,
    /// As root: install missing Debian packages, make the user usine-worker and its ranges of ids
    #[arg(long)]
    fix: bool,
}

/// A part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Worker,
    Server,
    Client,
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It may do, or is not needed here.
    Warning,
    /// Something will not work.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How well it is.
    pub level: Level,
    /// What was looked at, and how it is.
    pub what: String,
    /// What to do; empty when it is well.
    pub advice: String,
}

impl Finding {
    /// It is well.
    pub fn ok(what: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), advice: String::new() }
    }

    /// It may do.
    pub fn warning(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), advice: advice.into() }
    }

    /// It will not work.
    pub fn error(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Error, what: what.into(), advice: advice.into() }
    }
}

/// Repairs if asked to, then looks at everything.
pub async fn run(args: Args, before: &Connection) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    let wants = |part| args.parts.is_empty() || args.parts.contains(&part);
    if args.fix {
        if !rustix::process::geteuid().is_root() {
            return Err(failure("usine doctor --fix changes the system: run it as root"));
        }
        if wants(Part::Worker) {
            fix::worker()?;
        }
    }
    let mut findings = Vec::new();
    if wants(Part::Worker) {
        findings.push(("Worker", checks::worker()));
    }
    if wants(Part::Server) {
        findings.push(("Server", checks::server(&args.server).await));
    }
    if wants(Part::Client) {
        findings.push(("Client", checks::client(&args.connection.or(before)).await));
    }
    print(ui, &findings)?;
    let is_wrong = findings.iter().flat_map(|(_, list)| list).any(|finding| finding.level == Level::Error);
    Ok(if is_wrong { Code::Findings } else { Code::Success })
}

fn print(ui: Ui, findings: &[(&str, Vec<Finding>)]) -> anyhow::Result<()> {
    if ui.format != Format::Human {
        let rows: Value = findings
            .iter()
            .flat_map(|(part, list)| list.iter().map(move |finding| (part, finding)))
            .map(|(part, finding)| {
                json!({"part": part, "level": finding.level.word(), "what": finding.what, "advice": finding.advice})
            })
            .collect();
        return Ok(ui.data(&rows)?);
    }
    for (part, list) in findings {
        ui.line(&format!("{part}:"))?;
        for finding in list {
            ui.line(&format!("  {:7}  {}", finding.level.word(), finding.what))?;
            for line in finding.advice.lines() {
                ui.line(&format!("           → {line}"))?;
            }
        }
    }
    Ok(())
}
