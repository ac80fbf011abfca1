//! The tree of commands and the page that `usine --help` shows.

use clap::{Command, CommandFactory, Parser, Subcommand};

use crate::command;
use crate::connection::Connection;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "usine",
    version,
    about = "A software factory for Debian: server, scheduler, worker and client in one program",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Which server to talk to.
    #[command(flatten)]
    pub connection: Connection,
    /// Print warnings and errors only
    #[arg(short, long)]
    pub silent: bool,
    /// Print debugging messages of these subsystems, comma separated: http, all
    #[arg(short, long, value_name = "SUBSYSTEMS")]
    pub debug: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Commands,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Submit, follow, retry and abort work requests
    #[command(name = "work-request", alias = "wr")]
    WorkRequest(command::work_request::Args),
    /// Create, import, show and download artifacts
    Artifact(command::artifact::Args),
    /// Show and change from which workspaces a workspace inherits
    Workspace(command::workspace::Args),
    /// Build a source package, run all checks on the result, and print their verdicts
    Check(command::check::Args),
    /// The tasks that work requests can run, and the data each one takes
    Task(command::task::Args),
    /// Run a server
    Server(command::server::Args),
    /// Run a worker
    Worker(command::worker::Args),
    /// Run server and worker in one process, ready to use
    Standalone(command::standalone::Args),
    /// Manage users, tokens, workers and the database of a server
    Admin(command::admin::Args),
    /// Choose a server and get a token for it
    Setup(command::setup::Args),
    /// Check this machine: tools, namespaces, database, connection; say what to do, or do it
    Doctor(command::doctor::Args),
    /// Measure how fast this program is on this machine
    Bench(command::bench::Args),
    /// Print a completion script for a shell
    Completions(command::completions::Args),
    /// Write the manual pages into a directory
    Man(command::man::Args),
}

/// The sections of `usine --help`. Every command is in one of them; a test sees to that.
const GROUPS: &[(&str, &[&str])] = &[
    ("Use a server", &["setup", "work-request", "artifact", "workspace", "check", "task"]),
    ("Run a server or a worker", &["server", "worker", "standalone", "admin"]),
    ("Help yourself", &["doctor", "bench", "completions", "man"]),
];

const FIRST_STEPS: &str = "\
First steps:
  usine doctor                                    what is missing on this machine
  usine standalone                                a whole factory in one process, to try it
  usine admin user create NAME MAIL --group debusine/Owners
  usine admin token create NAME                   the token for the client's configuration file
  usine setup                                     or: choose a server, log in there, get a token
  usine work-request create noop </dev/null       submit the simplest task
  usine work-request wait ID; echo $?             wait for its result
  usine check FILE.dsc                            build a package and run all checks on it
  usine COMMAND --help                            all about a command

Environment:
  USINE_URL, USINE_TOKEN   the server's api-url and a token, instead of a configuration file;
  USINE_SCOPE, USINE_WORKSPACE   go with them
  USINE_LOG                what to log, such as debug or usine_client=debug
  USINE_LOG_FORMAT=json    how server and worker log";

/// The tree, with the sections. The options of the client are accepted before the command, too, but shown in full only
/// where they mean something.
pub fn command() -> Command {
    let command = Cli::command()
        .mut_args(|arg| arg.global(false))
        .mut_subcommand("admin", |admin| admin.mut_args(|arg| arg.global(true)));
    let width = command.get_subcommands().map(|sub| sub.get_name().len()).max().unwrap_or(0);
    let mut sections = String::new();
    for (heading, names) in GROUPS {
        sections.push_str(&format!("{heading}:\n"));
        for sub in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            sections.push_str(&format!("  {:width$}  {about}\n", sub.get_name()));
        }
        sections.push('\n');
    }
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{sections}Options:\n{{options}}\n\n{FIRST_STEPS}\n\n{}\n",
        crate::exit::HELP
    );
    command.help_template(template).subcommand_value_name("COMMAND").subcommand_help_heading("Commands")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_section() {
        for sub in command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let sections = GROUPS.iter().filter(|(_, names)| names.contains(&sub.get_name())).count();
            assert_eq!(sections, 1, "{}", sub.get_name());
        }
    }

    #[test]
    fn every_command_and_option_says_what_it_does() {
        fn check(command: &Command) {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{} of {}", arg.get_id(), command.get_name());
            }
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&command());
    }

    #[test]
    fn client_options_are_taken_before_and_after_the_command() {
        use clap::FromArgMatches;
        for line in [
            "usine --server x work-request list",
            "usine work-request --server x list",
            "usine work-request list --server x",
        ] {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            let Commands::WorkRequest(args) = cli.command else { panic!("{line}") };
            assert_eq!(args.connection.or(&cli.connection).server.as_deref(), Some("x"), "{line}");
        }
    }
}
