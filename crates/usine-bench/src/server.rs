//! The server under test: the same program, as a child, with its log in a file.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::process::Usage;
use crate::{Error, Result};

/// How long it may take to start, with a large database as well.
const START: Duration = Duration::from_secs(120);

/// How long it may take to end.
const END: Duration = Duration::from_secs(60);

/// Lines of the log that are shown when something is wrong.
const SHOWN: usize = 40;

/// A running server.
pub(crate) struct Server {
    child: Child,
    pid: u32,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was started.
    pub started: Instant,
}

impl Server {
    /// Starts the program with these arguments, and waits until it says that it listens.
    pub async fn start(program: &Path, arguments: &[&OsStr], log: &Path) -> Result<Self> {
        let output = File::create(log).map_err(Error::io(format!("cannot write {}", log.display())))?;
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            // What the caller's shell says about a server is not about this one.
            .env_remove("USINE_CONFIG")
            .env_remove("USINE_DATA_DIRECTORY")
            .env_remove("USINE_DATABASE")
            .env_remove("USINE_LOG")
            .env_remove("USINE_LOG_FORMAT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io(format!("cannot start {}", program.display())))?;
        let pid = child.id().ok_or_else(|| Error::Server { what: "has no process".to_owned(), log: String::new() })?;
        loop {
            let text = read(log)?;
            if let Some(address) = listening(&text) {
                return Ok(Self { child, pid, log: log.to_owned(), address, started });
            }
            let ended = child.try_wait().map_err(Error::io("cannot look at the server"))?;
            if ended.is_some() || started.elapsed() > START {
                return Err(Error::Server { what: "did not start".to_owned(), log: last_lines(&text) });
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// What it has used until now.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid).map_err(|error| Error::Server {
            what: format!("is gone ({error})"),
            log: read(&self.log).map(|text| last_lines(&text)).unwrap_or_default(),
        })
    }

    /// Asks it to end, waits, and looks into its log.
    ///
    /// # Errors
    /// If it does not end well, or has written errors.
    pub async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Usage(format!("{} is no process", self.pid)))?;
        // If it has ended by itself, its exit code tells.
        let _ = kill_process(pid, Signal::TERM);
        let ended = timeout(END, self.child.wait()).await;
        let log = read(&self.log)?;
        let failed = |what: String| Error::Server { what, log: last_lines(&log) };
        match ended {
            Err(_) => return Err(failed(format!("does not end within {} s", END.as_secs()))),
            Ok(status) => {
                let status = status.map_err(Error::io("cannot wait for the server"))?;
                if !status.success() {
                    return Err(failed(format!("ended with {status}")));
                }
            }
        }
        let errors: Vec<&str> = log.lines().filter(|line| is_error(line)).take(SHOWN).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(Error::Server { what: "has written errors".to_owned(), log: errors.join("\n") })
    }
}

fn read(log: &Path) -> Result<String> {
    let bytes = std::fs::read(log).map_err(Error::io(format!("cannot read {}", log.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The address in the line that says where the server listens.
fn listening(log: &str) -> Option<SocketAddr> {
    let rest = log.split_once("listening on http://")?.1;
    // Not half a line.
    rest.split_once('\n')?.0.trim().parse().ok()
}

/// Whether a line of log is an error: the second word is its level.
fn is_error(line: &str) -> bool {
    line.split_whitespace().nth(1) == Some("ERROR")
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_understood() {
        let line = "2026-11-29T16:00:00.000001Z  INFO usine::command::server: listening on http://127.0.0.1:40123";
        assert_eq!(listening(line), None, "the line is not whole");
        assert_eq!(listening(&format!("{line}\n")).unwrap().port(), 40123);
        assert!(!is_error(line));
        assert!(is_error("2026-11-29T16:00:00.000001Z ERROR usine_server::scheduler: the scheduler failed"));
    }
}
