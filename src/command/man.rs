//! `usine man DIRECTORY`.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;

use super::completions::Program;
use crate::exit::Code;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Read one with: man -l DIRECTORY/usine.1")]
pub struct Args {
    /// Where to write the pages; made if it does not exist
    directory: PathBuf,
}

/// Writes one page for each command, under our own names and under those of debusine's.
pub fn run(args: Args) -> anyhow::Result<Code> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("Cannot make {}", directory.display()))?;
    for program in Program::value_variants() {
        clap_mangen::generate_to(program.command(), directory)
            .with_context(|| format!("Cannot write to {}", directory.display()))?;
    }
    Ok(Code::Success)
}
