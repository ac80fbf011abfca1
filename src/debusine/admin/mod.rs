//! `debusine-admin`: the tree of commands of Debian's administration command, and how its errors end. The commands are those
//! of `usine admin`; here are only their other names.

mod absent;
mod info;
mod old;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use usine_server::Config;
use usine_server::config::ConfigError;

use crate::command::admin::{self, Program, group, scope, user, worker, workspace};
use crate::exit::{self, Code, Failed};
use crate::output::{Format, Ui};
use crate::server_config::ServerOptions;
use crate::{logging, runtime};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "debusine-admin",
    version = super::VERSION,
    about = "Manage a server of debusine's protocol, with the command lines of Debian's administration command",
    after_help = HELP,
    infer_long_args = true
)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Spelling>,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// How much to say: 0 is little, 1 is normal, 2 is verbose, 3 is everything
    #[arg(short, long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    verbosity: u8,
    /// Print machine readable YAML
    #[arg(long)]
    yaml: bool,
    /// Print the causes of an error, too
    #[arg(long)]
    traceback: bool,
    /// Without effect: usine has no Python modules
    #[arg(long, value_name = "MODULE", hide = true)]
    settings: Option<String>,
    /// Without effect: nothing is coloured
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    no_color: bool,
    /// Without effect: nothing is coloured
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    force_color: bool,
}

const HELP: &str = "\
These commands open the database itself: run them on the server's machine, as the server's user. They find it as the
server does: /etc/usine/server.toml, or what the environment variables USINE_CONFIG, USINE_DATA_DIRECTORY and
USINE_DATABASE say.

Exit status: 0 success; 1 a check has found something, or there is no such command; 2 wrong usage; 3 the command failed, and
the text says why; 4 the worker has another type.";

/// The commands, under either name.
#[derive(Debug, Subcommand)]
enum Spelling {
    #[command(flatten)]
    New(Commands),
    #[command(flatten)]
    Old(old::Commands),
    #[command(flatten)]
    Absent(absent::Commands),
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Commands {
    /// Create, list and change users
    #[command(subcommand)]
    User(user::Commands),
    /// Create, list, enable, disable and describe workers
    #[command(subcommand)]
    Worker(worker::Commands),
    /// Create and change scopes
    #[command(subcommand)]
    Scope(scope::Commands),
    /// Create and change workspaces, and say which groups may use them
    #[command(subcommand)]
    Workspace(workspace::Commands),
    /// Create and change groups, and say who is in them
    #[command(subcommand)]
    Group(group::Commands),
    #[command(flatten)]
    Flat(old::Flat),
    /// Show what the server takes from its configuration
    Info,
    /// Check the schema and the content of the database, and that no file is missing from the store
    Check,
    /// Bring the schema of the database up to date
    Migrate,
}

/// The tree.
pub fn command() -> Command {
    // Options of every command may be anywhere.
    let command = Cli::command().mut_args(|arg| arg.global(true));
    command.subcommand_value_name("COMMAND").subcommand_help_heading("Commands")
}

/// Runs the program.
pub fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { options, command: spelling } = cli.unwrap_or_else(|error| super::end(error, &mut command()));
    logging::for_command(options.verbosity == 0, options.verbosity == 3);
    let Some(spelling) = spelling else {
        // As argparse's programs do; nothing can be done if it cannot be printed.
        let _ = command().print_help();
        return Code::Success.into();
    };
    let traceback = options.traceback;
    runtime::block_on(run(options, spelling)).unwrap_or_else(|error| report(&error, traceback)).into()
}

async fn run(options: Options, spelling: Spelling) -> anyhow::Result<Code> {
    let ui = Ui::new(if options.yaml { Format::Yaml } else { Format::Human });
    let command = match spelling {
        Spelling::New(command) => command,
        Spelling::Old(command) => command.renamed(),
        Spelling::Absent(command) => return Err(command.error()),
        Spelling::Unknown(words) => {
            let word = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            let message = format!("Unknown command: '{word}'\nType 'debusine-admin help' for usage.");
            return Err(Failed { message, code: Code::Findings }.into());
        }
    };
    let config = options.server.load()?;
    let known = match command {
        Commands::User(command) => admin::Commands::User(command),
        Commands::Worker(command) => admin::Commands::Worker(command),
        Commands::Scope(command) => admin::Commands::Scope(command),
        Commands::Workspace(command) => admin::Commands::Workspace(command),
        Commands::Group(command) => admin::Commands::Group(command),
        Commands::Check => admin::Commands::Check,
        Commands::Migrate => admin::Commands::Migrate,
        Commands::Info => return info::run(&config, ui),
        Commands::Flat(command) => return command.run(&config, ui).await,
    };
    dispatch(&config, known, ui).await
}

async fn dispatch(config: &Config, command: admin::Commands, ui: Ui) -> anyhow::Result<Code> {
    admin::dispatch(Program::Debusine, config, command, ui).await
}

/// Prints an error as Debian's administration command does, and says how to exit: a file that cannot be opened is no wrong
/// usage here.
fn report(error: &anyhow::Error, traceback: bool) -> Code {
    if exit::is_broken_pipe(error) {
        return exit::report(error, Format::Human);
    }
    if traceback {
        for cause in error.chain().skip(1) {
            eprintln!("Caused by: {cause}");
        }
    }
    let text = exit::text_of(error);
    let message = if error.is::<ConfigError>() {
        format!("Improperly configured error: {text}")
    } else if KNOWN_ERRORS.iter().any(|beginning| text.starts_with(beginning)) {
        text
    } else if let Some(problem) = text.strip_prefix("error: can't open ") {
        format!("CommandError: Can't read {problem}")
    } else {
        format!("CommandError: {text}")
    };
    let code = match error.downcast_ref::<Failed>() {
        Some(failed) if failed.code != Code::Usage => failed.code,
        _ => Code::Failure,
    };
    exit::report(&Failed { message, code }.into(), Format::Human)
}

/// How errors begin that say themselves whose they are.
const KNOWN_ERRORS: [&str; 4] = ["CommandError: ", "SystemCheckError: ", "Error: ", "Unknown command: "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        command().try_get_matches_from(line.split(' ')).and_then(|matches| Cli::from_arg_matches(&matches))
    }

    #[test]
    fn the_command_lines_of_scripts() {
        for line in [
            "debusine-admin create_user alice alice@example.org",
            "debusine-admin create_token --comment laptop alice",
            "debusine-admin list_tokens --username alice --yaml -v 2",
            "debusine-admin -v 2 user list --traceback --no-color",
            "debusine-admin group members debusine/Admins --add alice bob --role admin",
            "debusine-admin group members debusine/Admins --set",
            "debusine-admin workspace grant_role debusine/System owner Admins",
            "debusine-admin workspace create debusine/sid Owners --private --default-expiration-delay 30",
            "debusine-admin workspace define --no-singleton-collections debusine/sid",
            "debusine-admin worker create --worker-type signing worker.example.org",
            "debusine-admin worker edit_metadata --set f.yaml worker",
            "debusine-admin manage_worker --worker-type external enable worker",
            "debusine-admin edit_worker_metadata --set f.yaml worker",
            "debusine-admin manage_user change-email alice a@example.org",
            "debusine-admin create_work_request --created-by alice server aptmirror",
            "debusine-admin scope create kali --with-owners-group",
            "debusine-admin create_collection SUITE debian:suite --data x",
            "debusine-admin createsuperuser --username root --email root@example.org --noinput",
        ] {
            let parsed = parse(line);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            assert!(!matches!(parsed.unwrap().command, Some(Spelling::Unknown(_)) | None), "{line}");
        }
        for line in [
            "debusine-admin user",
            "debusine-admin user frobnicate",
            "debusine-admin create_token",
            "debusine-admin -v 4 list_users",
            "debusine-admin group members --add alice",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        let unknown = parse("debusine-admin frobnicate --all").unwrap().command;
        assert!(matches!(unknown, Some(Spelling::Unknown(words)) if words == ["frobnicate", "--all"]));
    }
}
