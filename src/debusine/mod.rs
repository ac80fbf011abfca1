//! The program under the names of debusine's: a symbolic link named `debusine` takes the command lines of Debian's client,
//! `debusine-admin` those of its administration command, `debusine-worker` those of its worker. Each tree of commands here
//! ends in the functions of our own commands.

pub mod admin;
pub mod client;
pub mod worker;

use std::ffi::OsStr;
use std::path::Path;

use clap::Command;

/// What `--version` of all of them says after the name.
///
/// Scripts compare this with versions of debusine, to learn which command names and which output to expect. So it begins
/// with the version whose command lines these are; the rest is read as a later one of the same by dpkg(1), by Python's
/// packaging and by semantic versioning.
pub const VERSION: &str = concat!("0.16.2+usine", env!("CARGO_PKG_VERSION"));

/// Which program is wanted, by the name under which it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// Our own commands.
    Usine,
    /// `debusine`.
    Client,
    /// `debusine-admin`.
    Admin,
    /// `debusine-worker`.
    Worker,
}

impl Personality {
    /// From the first argument of the process.
    pub fn of(argument: &OsStr) -> Self {
        match Path::new(argument).file_name().and_then(OsStr::to_str) {
            Some("debusine") => Self::Client,
            Some("debusine-admin") => Self::Admin,
            Some("debusine-worker") => Self::Worker,
            _ => Self::Usine,
        }
    }
}

/// Ends with what is wrong with a command line or, if that is wanted, with help. Scripts of argparse's programs know a wrong
/// command line by the usage, which clap does not show with every error.
fn end(error: clap::Error, command: &mut Command) -> ! {
    // Nothing can be done if this cannot be printed.
    let _ = error.print();
    if error.use_stderr() && !error.to_string().contains("Usage:") {
        eprintln!("\n{}", command.render_usage());
    }
    std::process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        for (argument, personality) in [
            ("/usr/bin/debusine", Personality::Client),
            ("debusine-worker", Personality::Worker),
            ("./debusine-admin", Personality::Admin),
            ("/usr/bin/usine", Personality::Usine),
            ("/srv/debusine/usine", Personality::Usine),
            ("", Personality::Usine),
        ] {
            assert_eq!(Personality::of(OsStr::new(argument)), personality, "{argument}");
        }
    }
}
