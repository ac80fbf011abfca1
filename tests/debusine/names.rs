//! Starting the program under another name.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::house::House;
use crate::support::Outcome;

/// Where debusine's client looks for its configuration, below the home directory.
pub const CLIENT_CONFIG: &str = ".config/debusine/client/config.ini";

/// Where debusine's worker looks for its own.
pub const WORKER_CONFIG: &str = ".config/debusine/worker/config.ini";

impl House {
    /// The program under this name.
    pub fn named(&self, name: &str) -> PathBuf {
        let path = self.path().join("bin").join(name);
        if !path.is_symlink() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_usine"), &path).unwrap();
        }
        path
    }

    /// A command of one of debusine's programs, not started yet, at home here.
    pub fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.named(name));
        command.args(arguments).env_clear().current_dir(self.path()).env("HOME", self.path());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("STATE_DIRECTORY", self.path().join("state"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs one of debusine's programs to its end.
    pub fn run_as(&self, name: &str, arguments: &[&str], stdin: &str) -> Outcome {
        self.end_of(self.command(name, arguments), stdin)
    }

    /// Runs a command to its end.
    pub fn end_of(&self, mut command: Command, stdin: &str) -> Outcome {
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| self.redact(&String::from_utf8_lossy(bytes));
        Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// `debusine` with this line of arguments.
    pub fn debusine(&self, line: &str, stdin: &str) -> Outcome {
        self.run_as("debusine", &line.split(' ').collect::<Vec<_>>(), stdin)
    }

    /// Gives debusine's client the configuration of alice.
    pub fn configure_debusine(&self) {
        let text = std::fs::read_to_string(self.path().join("client.ini")).unwrap();
        self.write(CLIENT_CONFIG, &text, 0o600);
    }
}
