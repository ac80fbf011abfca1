//! `usine completions SHELL`.

use clap::{Command, ValueEnum};
use clap_complete::Shell;

use crate::exit::Code;
use crate::output::{Format, Ui};
use crate::{cli, debusine};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: usine completions bash > ~/.local/share/bash-completion/completions/usine")]
pub struct Args {
    /// For which shell
    shell: Shell,
    /// For the program under another of its names
    #[arg(long, value_name = "NAME", default_value = "usine")]
    program: Program,
}

/// A name of the program, with command lines of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// Ours.
    Usine,
    /// Debian's client.
    Debusine,
    /// Debian's administration command.
    DebusineAdmin,
    /// Debian's worker.
    DebusineWorker,
}

impl Program {
    /// Its commands and options.
    pub fn command(self) -> Command {
        match self {
            Self::Usine => cli::command(),
            Self::Debusine => debusine::client::command(),
            Self::DebusineAdmin => debusine::admin::command(),
            Self::DebusineWorker => debusine::worker::command(),
        }
    }
}

/// Prints the script.
pub fn run(args: Args) -> anyhow::Result<Code> {
    let mut script = Vec::new();
    let mut command = args.program.command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    Ui::new(Format::Human).text(&String::from_utf8_lossy(&script))?;
    Ok(Code::Success)
}
