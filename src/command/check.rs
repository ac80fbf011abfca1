//! `usine check FILE.dsc`: builds a source package, runs the checks on what came of it, and prints their verdicts.

mod chain;
mod environments;
mod findings;
mod plan;
mod report;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;

use strum::{Display, IntoStaticStr};
use usine_model::artifact::ArtifactCategory;

use crate::connection::{Connected, Connection};
use crate::exit::{Code, failure, usage};
use crate::output::{OutputArgs, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    /// The source package; the files that it lists are next to it
    #[arg(value_name = "FILE.dsc")]
    dsc: PathBuf,
    /// What to compare with: another .dsc, or the id of a source package or an upload on the server [default: the newest
    /// older version that the server has]
    #[arg(long, value_name = "FILE.dsc|ID")]
    against: Option<Against>,
    /// Architecture to build and test on [default: this machine's]
    #[arg(long, value_name = "NAME")]
    architecture: Option<String>,
    /// Codename of the environments to take [default: that of the newest one]
    #[arg(long, value_name = "CODENAME")]
    suite: Option<String>,
    /// Environment to build and check in: a debian:system-tarball [default: the newest one of suite and architecture]
    #[arg(long, value_name = "ID")]
    environment: Option<i64>,
    /// Environment that piuparts runs in, of trixie or newer [default: the newest one]
    #[arg(long, value_name = "ID")]
    piuparts_environment: Option<i64>,
    /// System that piuparts installs the packages in [default: the newest one of suite and architecture]
    #[arg(long, value_name = "ID")]
    base_tgz: Option<i64>,
    /// Tags of lintian of this or a higher severity are a fault [default: error]
    #[arg(long, value_name = "SEVERITY", value_parser = SEVERITIES)]
    fail_on_severity: Option<String>,
    /// Workspace to work in [default: the configuration file's default-workspace, else the server's]
    #[arg(long, short, value_name = "NAME")]
    workspace: Option<String>,
}

const HELP: &str = "\
The source package is imported and built with sbuild; then lintian, autopkgtest,
piuparts, blhc and debdiff run at once. Ctrl-C leaves them running and tells their ids.

Exit status: 0 all checks passed or were skipped; 10 one found a fault; else 11, 12
or 13 if one ended in a temporary failure or an error or was aborted; 14 interrupted;
3 if the server cannot be asked or an environment is missing.

Example: usine check hello_2.10-5.dsc --against hello_2.10-3.dsc --suite bookworm";

/// What the task takes.
const SEVERITIES: [&str; 7] = ["error", "warning", "info", "pedantic", "experimental", "overridden", "none"];

/// The checks, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
enum Check {
    Build,
    Lintian,
    Autopkgtest,
    Piuparts,
    Blhc,
    Debdiff,
}

impl Check {
    /// The task that does it.
    fn task_name(self) -> &'static str {
        match self {
            Self::Build => "sbuild",
            other => other.into(),
        }
    }

    /// What says how it went.
    fn report_category(self) -> ArtifactCategory {
        match self {
            Self::Build => ArtifactCategory::PackageBuildLog,
            Self::Lintian => ArtifactCategory::Lintian,
            Self::Autopkgtest => ArtifactCategory::Autopkgtest,
            Self::Piuparts => ArtifactCategory::Piuparts,
            Self::Blhc => ArtifactCategory::Blhc,
            Self::Debdiff => ArtifactCategory::Debdiff,
        }
    }
}

/// What to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Against {
    Artifact(i64),
    File(PathBuf),
}

impl std::str::FromStr for Against {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(PathBuf::from(text)), Self::Artifact))
    }
}

/// A work request of ours, and what it is for.
type Submitted = (Check, i64);

/// Runs all checks and prints the table.
pub async fn run(args: Args, before: &Connection) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    let Connected { client, config } = args.connection.clone().or(before).open()?;
    let files = [Some(&args.dsc), args.against.as_ref().and_then(Against::file)];
    for file in files.into_iter().flatten() {
        if file.extension().is_none_or(|extension| extension != "dsc") {
            return Err(usage(format!("error: {} is not the .dsc of a source package", file.display())));
        }
        std::fs::File::open(file).map_err(|error| usage(format!("error: can't open '{}': {error}", file.display())))?;
    }
    let architecture = args.architecture.clone().map_or_else(host_architecture, Ok)?;
    let workspace = args.workspace.clone().or(config.default_workspace);
    let submitted = RefCell::new(Vec::new());
    let chain = chain::Chain { client: &client, args: &args, architecture, workspace, submitted: &submitted };
    tokio::select! {
        report = chain.run() => {
            let report = report?;
            report.print(ui, &client)?;
            Ok(report.code())
        }
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            eprintln!("{}", farewell(&submitted.borrow()));
            Ok(Code::NotEnded)
        }
    }
}

impl Against {
    fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Artifact(_) => None,
        }
    }
}

/// The architecture of this machine, as dpkg says.
fn host_architecture() -> anyhow::Result<String> {
    let unknown = || failure("Error: dpkg does not tell this machine's architecture: give --architecture");
    let output = Command::new("dpkg").arg("--print-architecture").output().map_err(|_| unknown())?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !name.is_empty() { Ok(name) } else { Err(unknown()) }
}

/// What to do after an interruption.
fn farewell(submitted: &[Submitted]) -> String {
    if submitted.is_empty() {
        return "Interrupted; nothing was submitted.".to_owned();
    }
    let mut text = "Interrupted; the work requests go on. Follow them:".to_owned();
    for (check, id) in submitted {
        text.push_str(&format!("\n  usine work-request watch {id}   # {check}"));
    }
    if submitted.iter().all(|(check, _)| *check == Check::Build) {
        text.push_str("\nThe checks of what it builds were not submitted yet: run `usine check` again.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_artifacts() {
        assert_eq!("12".parse(), Ok(Against::Artifact(12)));
        assert_eq!("12.dsc".parse(), Ok(Against::File(PathBuf::from("12.dsc"))));
    }

    #[test]
    fn an_interruption_tells_how_to_go_on() {
        assert_eq!(farewell(&[]), "Interrupted; nothing was submitted.");
        let build = farewell(&[(Check::Build, 4)]);
        assert!(build.contains("usine work-request watch 4   # build\n") && build.ends_with("again."), "{build}");
        let later = farewell(&[(Check::Build, 4), (Check::Lintian, 5)]);
        assert!(later.ends_with("usine work-request watch 5   # lintian"), "{later}");
    }
}
