//! New passwords: typed by a person, unseen, or given by a script on standard input.

use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::exit::failure;

/// How often a person may type two that differ.
const TRIES: u32 = 3;

/// A new password: twice the same on a terminal, else the first line of standard input.
pub fn new() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return read_line();
    }
    for _ in 0..TRIES {
        let (first, again) = (ask("Password: ")?, ask("Password (again): ")?);
        if first == again {
            return Ok(first);
        }
        eprintln!("Error: Your passwords didn't match.");
    }
    Err(failure(format!("CommandError: no password after {TRIES} attempts; nothing was changed")))
}

/// Asks on standard error: standard output is for what a command makes.
fn ask(question: &str) -> anyhow::Result<String> {
    eprint!("{question}");
    let hidden = Hidden::begin()?;
    let line = read_line();
    drop(hidden);
    eprintln!();
    line
}

fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let password = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.is_empty() {
        return Err(failure("CommandError: the password is empty; nothing was changed"));
    }
    Ok(password.to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
