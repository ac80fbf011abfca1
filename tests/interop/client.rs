//! Kinds of clients, and what each calls the commands. A story asks for what it wants, and gets the answer as data.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::debian::Release;
use crate::house::{House, until};
use crate::support::{Outcome, SOON};
use crate::tenancy;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Ours, under the name `debusine`.
    Usine,
    /// Debian's.
    Debian(Release),
}

/// Which names of commands, and with them which form of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// `work-request show --yaml`, since 0.13.
    Today,
    /// `show-work-request --yaml`: the old names, which are still there, with the answers of today.
    OldToday,
    /// `show-work-request`, whose answers are YAML in the form of 0.11.
    Old,
}

/// A client of a server that runs.
pub struct Client {
    pub house: House,
    pub program: Program,
    pub names: Names,
}

/// Makes a test of each story for each kind of client.
macro_rules! clients {
    ($(fn $story:ident($client:ident: &mut Client) $body:block)+) => {
        $(mod $story {
            use super::*;

            fn story($client: &mut Client) $body

            $crate::client::clients!(@kind story, usine, Usine, Today);
            $crate::client::clients!(@kind story, usine_by_old_names, Usine, OldToday);
            $crate::client::clients!(@kind story, usine_as_of_old, Usine, Old);
            $crate::client::clients!(@kind story, debian_new, Debian(Release::New), Today);
            $crate::client::clients!(@kind story, debian_new_by_old_names, Debian(Release::New), OldToday);
            $crate::client::clients!(@kind story, debian_old, Debian(Release::Old), Old);
        })+
    };
    (@kind $story:ident, $kind:ident, $program:expr, $names:ident) => {
        #[test]
        fn $kind() {
            #[allow(unused_imports, reason = "not every kind is one of Debian's")]
            use $crate::{client::{Names, Program::*}, debian::Release};
            let mut client = $crate::client::Client::of_a_new_house($program, Names::$names);
            $story(&mut client);
            client.house.admin(&["check"]);
        }
    };
}
pub(crate) use clients;

impl Client {
    /// A user with this program, and a server.
    pub fn of_a_new_house(program: Program, names: Names) -> Self {
        Self { house: tenancy::house(), program, names }
    }

    /// The words of one name or the other.
    fn named<'a>(&self, today: &[&'a str], old: &'a str) -> Vec<&'a str> {
        match self.names {
            Names::Today => today.to_vec(),
            Names::OldToday | Names::Old => vec![old],
        }
    }

    /// The program with these words, before it runs.
    fn command(&self, arguments: &[&str]) -> Command {
        self.command_with(&self.house.path().join("client.ini"), arguments)
    }

    /// The same, with a configuration file of its own.
    pub fn command_with(&self, config: &Path, arguments: &[&str]) -> Command {
        let place = self.house.path();
        let all = [&["--config-file", config.to_str().unwrap()], arguments].concat();
        let mut command = match self.program {
            Program::Usine => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_usine"));
                command.arg0("debusine").args(all);
                command
            }
            Program::Debian(release) => release.command("root", place, &[], &[&["debusine"], &all[..]].concat()),
        };
        command.env("HOME", place).current_dir(place);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str], stdin: &str) -> Outcome {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The same, with an answer that is data, in the form of these names.
    pub fn data(&self, arguments: &[&str], stdin: &str) -> Outcome {
        match self.names {
            Names::Old => self.run(arguments, stdin),
            Names::Today | Names::OldToday => self.run(&[arguments, &["--yaml"]].concat(), stdin),
        }
    }

    /// Submits a work request, however it ends.
    pub fn try_submit(&self, task: &str, task_data: &str) -> Outcome {
        let words = self.named(&["work-request", "create"], "create-work-request");
        self.data(&[&words[..], &[task]].concat(), task_data)
    }

    /// Submits a work request; its id.
    pub fn submit(&self, task: &str, task_data: &str) -> i64 {
        let answer = yaml(&self.try_submit(task, task_data).success());
        let key = if self.names == Names::Old { "work_request_id" } else { "id" };
        answer[key].as_i64().unwrap_or_else(|| panic!("{answer:#}"))
    }

    /// Shows a work request, however it ends.
    pub fn try_show(&self, id: i64) -> Outcome {
        let words = self.named(&["work-request", "show"], "show-work-request");
        self.data(&[&words[..], &[&id.to_string()]].concat(), "")
    }

    /// Shows a work request.
    pub fn show(&self, id: i64) -> Value {
        yaml(&self.try_show(id).success())
    }

    /// Lists work requests.
    pub fn list(&self, limit: usize) -> Vec<Value> {
        let words = self.named(&["work-request", "list"], "list-work-requests");
        let answer = yaml(&self.data(&[&words[..], &["--limit", &limit.to_string()]].concat(), "").success());
        let list = if self.names == Names::Old { &answer["results"] } else { &answer };
        list.as_array().unwrap_or_else(|| panic!("{answer:#}")).clone()
    }

    /// Changes the priority of a work request.
    pub fn set_priority(&self, id: i64, adjustment: i64) -> Outcome {
        let words = self.named(&["work-request", "manage"], "manage-work-request");
        let (id, adjustment) = (id.to_string(), adjustment.to_string());
        self.run(&[&words[..], &[&id, "--set-priority-adjustment", &adjustment]].concat(), "")
    }

    /// Retries a work request.
    pub fn retry(&self, id: i64) -> Outcome {
        let words = self.named(&["work-request", "retry"], "retry-work-request");
        self.run(&[&words[..], &[&id.to_string()]].concat(), "")
    }

    /// Whether there is a command to abort: since 0.12.
    pub fn can_abort(&self) -> bool {
        self.names != Names::Old
    }

    /// Aborts a work request.
    pub fn abort(&self, id: i64) -> Outcome {
        let words = self.named(&["work-request", "abort"], "abort-work-request");
        self.run(&[&words[..], &[&id.to_string()]].concat(), "")
    }

    /// Creates an artifact of files below a directory, however it ends.
    pub fn try_create_artifact(&self, category: &str, base: &Path, files: &[&str], more: &[&str]) -> Outcome {
        let words = self.named(&["artifact", "create"], "create-artifact");
        let mut all = [&words[..], &[category, "--upload-base-directory", base.to_str().unwrap()], more].concat();
        if !files.is_empty() {
            all.push("--upload");
            all.extend(files);
        }
        self.data(&all, "")
    }

    /// Imports a file of Debian's, however it ends.
    pub fn try_import(&self, file: &Path) -> Outcome {
        let words = self.named(&["artifact", "import-debian"], "import-debian-artifact");
        self.data(&[&words[..], &[file.to_str().unwrap()]].concat(), "")
    }

    /// Imports a file of Debian's; the answer.
    pub fn import(&self, file: &Path) -> Value {
        yaml(&self.try_import(file).success())
    }

    /// Shows an artifact, however it ends.
    pub fn try_show_artifact(&self, id: i64) -> Outcome {
        let words = self.named(&["artifact", "show"], "show-artifact");
        self.data(&[&words[..], &[&id.to_string()]].concat(), "")
    }

    /// Shows an artifact.
    pub fn artifact(&self, id: i64) -> Value {
        yaml(&self.try_show_artifact(id).success())
    }

    /// Relations from an artifact, or to it.
    pub fn relations(&self, id: i64, reverse: bool) -> Vec<Value> {
        let words = self.named(&["artifact", "show-relations"], "show-artifact-relations");
        let reverse: &[&str] = if reverse { &["--reverse"] } else { &[] };
        let answer = yaml(&self.data(&[&words[..], reverse, &[&id.to_string()]].concat(), "").success());
        answer.as_array().unwrap_or_else(|| panic!("{answer:#}")).clone()
    }

    /// Downloads an artifact into a directory.
    pub fn download(&self, id: i64, target: &Path, more: &[&str]) -> Outcome {
        let words = self.named(&["artifact", "download"], "download-artifact");
        let target = ["--target-directory", target.to_str().unwrap()];
        self.run(&[&words[..], &target, more, &[&id.to_string()]].concat(), "")
    }

    /// Follows ends of work requests with a command.
    pub fn follow(&self, last: &Path, script: &Path) -> Follower {
        let words = self.named(&["work-request", "on-completed"], "on-work-request-completed");
        let log = self.house.path().join("follower.log");
        let arguments =
            [&words[..], &["--last-completed-at", last.to_str().unwrap(), script.to_str().unwrap()]].concat();
        let mut command = self.command(&arguments);
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Follower { child: command.spawn().unwrap(), log }
    }
}

/// A client that follows ends of work requests. It is over when this is dropped.
pub struct Follower {
    child: Child,
    log: PathBuf,
}

impl Follower {
    /// Waits for its end; the exit code.
    pub fn end(&mut self) -> Option<i32> {
        let log = &self.log;
        until(&format!("the follower's end; it says {}", log.display()), SOON, || {
            self.child.try_wait().unwrap().is_some()
        });
        self.child.wait().unwrap().code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A YAML document; a line `---` before it is no matter.
pub fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}
