//! What the stories have in common: commands that fail, commands that go on, and texts without what changes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::house::{House, until};

/// Longest that anything quick may take on a machine that does something else besides.
pub const SOON: Duration = Duration::from_secs(30);

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl House {
    /// A factory at work.
    pub fn at_work() -> Self {
        let mut house = Self::new(None);
        house.start_server();
        house.start_worker();
        house
    }

    /// A user's command, however it ends.
    pub fn try_client(&self, arguments: &[&str], stdin: &str) -> Outcome {
        let config = self.path().join("client.ini");
        self.try_usine(&[&["--config-file", config.to_str().unwrap()], arguments].concat(), stdin)
    }

    /// An administrator's command, however it ends.
    pub fn try_admin(&self, arguments: &[&str], stdin: &str) -> Outcome {
        let config = self.path().join("server.toml");
        self.try_usine(&[&["admin", "--config", config.to_str().unwrap()], arguments].concat(), stdin)
    }

    /// Any command, however it ends.
    pub fn try_usine(&self, arguments: &[&str], stdin: &str) -> Outcome {
        let (code, stdout, stderr) = self.outcome(arguments, stdin);
        Outcome { code, stdout, stderr }
    }

    /// A user's command that must fail with exit code 3 and a text that has all of these words.
    pub fn refuses(&self, arguments: &[&str], stdin: &str, words: &[&str]) {
        let outcome = self.try_client(arguments, stdin);
        outcome.assert_failed(3, words, &arguments.join(" "));
    }

    /// A noop that ends so.
    pub fn noop(&self, result: &str) -> i64 {
        self.submit("noop", &json!({"result": result}))
    }

    /// The exit code of `wait`.
    pub fn wait_code(&self, id: i64) -> i32 {
        self.try_client(&["work-request", "wait", &id.to_string(), "--timeout", "60"], "").code.unwrap()
    }

    /// Why it is not running.
    pub fn pending_reason(&self, id: i64) -> String {
        self.details(id)["pending_reason"]["summary"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until it is not running for a reason that has these words.
    pub fn wait_for_reason(&self, id: i64, words: &str) {
        until(&format!("work request {id} to wait because {words:?}"), SOON, || {
            self.pending_reason(id).contains(words)
        });
    }

    /// Everything that the server has: what a refused command must not change.
    pub fn holdings(&self) -> (Value, Value) {
        let list = |what| self.json(&[what, "list", "--limit", "1000"]);
        (list("artifact"), list("work-request"))
    }

    /// Starts a user's command that goes on.
    pub fn follow(&self, name: &str, arguments: &[&str]) -> Background {
        let config = self.path().join("client.ini");
        let arguments = [&["--config-file", config.to_str().unwrap()], arguments].concat();
        Background::start(self.path(), name, &arguments)
    }

    /// Sends a signal to the worker.
    pub fn signal_worker(&self, signal: Signal) {
        send(self.worker.as_ref().unwrap(), signal);
    }

    /// A text without the place and the address of this house.
    pub fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.url(), "URL").replace(self.path().to_str().unwrap(), "HOUSE");
        let number =
            Regex::new(r"(?m)^(  - id|      size|      disk_space|      available_\w+|      cpu_count): \d+$").unwrap();
        let time = Regex::new(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?").unwrap();
        let hash = Regex::new(r"\b[0-9a-f]{64}\b").unwrap();
        let duration = Regex::new(r"(duration\w*|cpu_time): [0-9.e-]+").unwrap();
        let text = number.replace_all(&text, "$1: NUMBER");
        let text = time.replace_all(&text, "TIME");
        let text = hash.replace_all(&text, "HASH");
        duration.replace_all(&text, "$1: SECONDS").into_owned()
    }
}

impl Outcome {
    /// It failed with this exit code and a text that has all of these words. It did not panic.
    pub fn assert_failed(&self, code: i32, words: &[&str], what: &str) {
        assert_eq!(self.code, Some(code), "{what}: {self:#?}");
        let text = format!("{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(text.contains(word), "{what}: {word:?} is not in:\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }

    /// It succeeded; gives what it printed.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }
}

/// A command that goes on by itself; what it says goes to files.
pub struct Background {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Background {
    /// Starts the program. Several of one name follow each other: each begins its files anew.
    pub fn start(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let path = |suffix| directory.join(format!("{name}.{suffix}"));
        let (stdout, stderr) = (path("out"), path("err"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_usine"));
        command.args(arguments).env("HOME", directory).current_dir(directory).stdin(Stdio::null());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Self { child: command.spawn().unwrap(), stdout, stderr }
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    /// What it has told people so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until it has told people this.
    pub fn wait_for(&mut self, text: &str) {
        until(&format!("{text:?}"), SOON, || {
            let said = self.stderr();
            let ended = self.child.try_wait().unwrap();
            assert!(said.contains(text) || ended.is_none(), "it ended ({ended:?}) and said:\n{said}");
            said.contains(text)
        });
    }

    /// Whether it still goes on.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        until("the end of a command", SOON, || !self.is_running());
        self.child.wait().unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
pub fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The ids of a list, in its order.
pub fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

/// The keys of a mapping, in their order.
pub fn keys(mapping: &Value) -> Vec<&str> {
    mapping.as_object().unwrap().keys().map(String::as_str).collect()
}
