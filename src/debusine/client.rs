//! `debusine`: the tree of commands of Debian's client, and how its errors end.

pub mod absent;
mod artifact;
mod old;
mod shapes;
mod work_request;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use usine_client::Client;
use usine_client::config::{self, ServerConfig};
use usine_protocol::problem::Problem;

use crate::command::setup;
use crate::command::workspace::inheritance::NotSet;
use crate::connection::{self, Connected};
use crate::exit::{self, Code};
use crate::output::{Format, Generation, Ui, yaml};
use crate::{logging, runtime};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "debusine",
    version = super::VERSION,
    about = "Use a server of debusine's protocol, with the command lines of Debian's client",
    after_help = HELP,
    infer_long_args = true,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Server of the configuration file: its name or FQDN/scope [env: DEBUSINE_SERVER_NAME] [default: the file's default-server]
    #[arg(long, value_name = "SERVER", value_parser = NonEmptyStringValueParser::new())]
    server: Option<String>,
    /// Use another scope than the configuration file says
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Configuration file [default: ~/.config/debusine/client/config.ini]
    #[arg(long, value_name = "CONFIG_FILE")]
    config_file: Option<PathBuf>,
    /// Print warnings and errors only
    #[arg(short, long)]
    silent: bool,
    /// Print debugging messages of these subsystems, comma separated: http, all
    #[arg(short, long, value_name = "SUBSYSTEMS", value_delimiter = ',', value_parser = ["http", "all"])]
    debug: Vec<String>,
    /// Print machine readable YAML
    #[arg(long, global = true)]
    yaml: bool,
    #[command(subcommand)]
    command: Spelling,
}

const HELP: &str = "\
The command names of older releases, such as create-work-request, are taken, too.
Without --yaml they print the YAML of those releases.

Exit status: 0 success; 2 wrong usage; 3 the command failed, and the text says why.";

/// The commands, under either name.
#[derive(Debug, Subcommand)]
enum Spelling {
    #[command(flatten)]
    New(Commands),
    #[command(flatten)]
    Old(old::Commands),
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Commands {
    /// Choose a server and get a token for it
    Setup,
    /// Submit, look at, retry and abort work requests
    #[command(subcommand, name = "work-request")]
    WorkRequest(work_request::Commands),
    /// Create, import, show and download artifacts
    #[command(subcommand)]
    Artifact(artifact::Commands),
    /// Workspaces
    #[command(subcommand)]
    Workspace(workspace::Commands),
    #[command(flatten)]
    Absent(absent::Commands),
}

/// A server, and how to talk about it.
struct Session {
    client: Client,
    config: ServerConfig,
    ui: Ui,
}

impl Session {
    /// The workspace to work in: the old generation leaves it to the server.
    fn workspace(&self, given: Option<String>) -> Option<String> {
        given.or_else(|| match self.ui.generation {
            Generation::New => Some(self.config.workspace().to_owned()),
            Generation::Old => self.config.default_workspace.clone(),
        })
    }

    /// The address of a page of the server.
    fn page(&self, path: &str) -> String {
        self.client.api_url().join(path).map_or_else(|_| path.to_owned(), String::from)
    }

    /// The old generation prints why the server refuses to create something, and exits with status 0 all the same: `None`.
    fn unless_refused<T, E: Into<anyhow::Error>>(&self, created: Result<T, E>) -> anyhow::Result<Option<T>> {
        let error = match created {
            Ok(created) => return Ok(Some(created)),
            Err(error) => error.into(),
        };
        let Some((status, problem)) = exit::problem_of(&error) else { return Err(error) };
        exit::print_problem(status, problem, self.ui.format)?;
        Ok(None)
    }

    /// How to print in commands whose output is YAML even for people.
    fn always_yaml(&self) -> Ui {
        Ui { format: Format::Yaml, ..self.ui }
    }
}

/// The tree.
pub fn command() -> Command {
    Cli::command().subcommand_value_name("SUBCOMMAND").subcommand_help_heading("Subcommands")
}

/// Runs the program.
pub fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli.unwrap_or_else(|error| super::end(error, &mut command()));
    logging::for_command(cli.silent, !cli.debug.is_empty());
    // With --yaml an old name is only another spelling of the new one.
    let ui = match (&cli.command, cli.yaml) {
        (_, true) => Ui::new(Format::Yaml),
        (Spelling::Old(_), false) => Ui::old(),
        (_, false) => Ui::new(Format::Human),
    };
    runtime::block_on(run(cli, ui)).unwrap_or_else(|error| report(&error, ui)).into()
}

async fn run(cli: Cli, ui: Ui) -> anyhow::Result<Code> {
    end_well_on_signals()?;
    let path = match cli.config_file.clone() {
        Some(path) => path,
        None => connection::debusine_path()?,
    };
    let environment = connection::server_of_environment();
    let session = || {
        let config = config::load(&path, cli.server.as_deref(), environment.as_deref())?;
        let Connected { client, config } = connection::connect(config, cli.scope.as_deref())?;
        anyhow::Ok(Session { client, config, ui })
    };
    let command = match cli.command {
        Spelling::Old(old) => old.renamed(),
        Spelling::New(command) => command,
    };
    match command {
        Commands::WorkRequest(command) => work_request::run(&session()?, command).await,
        Commands::Artifact(command) => artifact::run(&session()?, command).await,
        Commands::Workspace(command) => workspace::run(&session()?, command).await,
        Commands::Absent(command) => Err(command.error()),
        Commands::Setup => {
            let server = cli.server.clone().or(environment.clone());
            setup::dialogue(&path, server.as_deref(), cli.scope.as_deref()).await
        }
    }
}

/// Debian's client ends with exit status 0 when it is interrupted or terminated.
fn end_well_on_signals() -> std::io::Result<()> {
    let stop = crate::signals::listen()?;
    tokio::spawn(async move {
        stop.drain.cancelled().await;
        // A command may be waiting for standard input, which nothing else interrupts.
        std::process::exit(i32::from(Code::Success as u8));
    });
    Ok(())
}

/// As [`exit::report`], but for what the server says: people read its title and what follows, without the HTTP status.
fn report(error: &anyhow::Error, ui: Ui) -> Code {
    let Some((status, problem)) = exit::problem_of(error) else {
        return exit::report(error, ui.format);
    };
    // Nothing can be done if these cannot be printed either.
    if error.is::<NotSet>() {
        eprint!("{NotSet}:\n{}", yaml(&serde_json::json!(problem)));
    } else if ui.format == Format::Human {
        let _ = print_problem(problem, ui);
    } else {
        let _ = exit::print_problem(status, problem, ui.format);
    }
    exit::hint(problem);
    Code::Failure
}

fn print_problem(problem: &Problem, ui: Ui) -> std::io::Result<()> {
    ui.line(&format!("Error: {}", problem.title))?;
    exit::print_particulars(problem, ui)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn argparse_habits() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        for line in [
            "debusine --serv=x work-request create noop --work=W --data d.yaml",
            "debusine --server x work-request create --workspace W noop --data=d.yaml",
            "debusine --server x create-work-request --workspace=W --dat d.yaml -- noop",
            "debusine -s -d http,all artifact create debusine:test --upload a b --data d.yaml --upload-b /tmp",
            "debusine create-artifact --upload a b --expire-at 2027-01-01 debusine:test",
            "debusine artifact create --upload a b --workspace System -- debusine:test",
            "debusine artifact download --target-directory /tmp --tarball 7",
            "debusine workspace inheritance --append a b/c 3 --remove x --prepend y",
            "debusine workspace-inheritance W --set",
            "debusine on-work-request-completed --workspace a b --last-completed-at f cmd --flag 1",
            "debusine manage-work-request 3 --set-priority-adjustment -5",
            "debusine workflow start NAME --data x -w W",
            "debusine list-assets --work-request 7",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "debusine work-request",
            "debusine work-request show x",
            "debusine work-request create noop --no-such",
            "debusine work-request list --server x",
            "debusine -d colour setup",
            "debusine frobnicate",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
