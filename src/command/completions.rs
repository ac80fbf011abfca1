//! `usine completions SHELL`.

use clap_complete::Shell;

use crate::exit::Code;
use crate::output::{Format, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: usine completions bash > ~/.local/share/bash-completion/completions/usine")]
pub struct Args {
    /// For which shell
    shell: Shell,
}

/// Prints the script.
pub fn run(args: Args) -> anyhow::Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::cli::command(), "usine", &mut script);
    Ui::new(Format::Human).text(&String::from_utf8_lossy(&script))?;
    Ok(Code::Success)
}
