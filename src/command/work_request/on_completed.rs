//! `usine work-request on-completed`: runs a command for each work request that ends, and remembers how far it came.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use usine_client::Client;
use usine_client::channel::Received;
use usine_model::entropy::Entropy;
use usine_model::work_request::Results;
use usine_protocol::channel::{Notice, ServerMessage};
use usine_protocol::time;

use crate::ambient::OsEntropy;
use crate::exit::failure;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
COMMAND gets two further arguments: the id and the result of the work request.
It runs in the present directory, one at a time; its exit status means nothing.
This ends only by a signal, with exit status 0.")]
pub struct Args {
    /// Only of these workspaces
    #[arg(long, value_name = "NAME", num_args = 1..)]
    workspace: Vec<String>,
    /// File that remembers the last end seen, to begin there next time; made if it does not exist
    #[arg(long, value_name = "FILE")]
    last_completed_at: Option<PathBuf>,
    /// What to run, and its first arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The file's content. The text is kept as it was written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LastCompleted {
    last_completed_at: Option<String>,
}

/// Runs until a signal comes.
pub async fn run(client: &Client, args: Args) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let Some((command, arguments)) = args.command.split_first() else { return Ok(()) };
    let command = find_command(command)?;
    let last = args.last_completed_at.as_deref();
    if let Some(path) = last {
        prepare(path)?;
    }
    let follow = async {
        loop {
            if let Err(error) = follow(client, &args.workspace, last, &command, arguments).await {
                match error.downcast_ref::<usine_client::Error>() {
                    Some(error) => tracing::warn!("{error}; connecting again"),
                    None => return Err(error),
                }
            }
            // 1 to 6 s, so that many clients do not come back at once.
            let spread = u64::from(OsEntropy.bytes32()[0]) * 5000 / 255;
            tokio::time::sleep(Duration::from_millis(1000 + spread)).await;
        }
    };
    tokio::select! {
        outcome = follow => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// One connection.
async fn follow(
    client: &Client,
    workspaces: &[String],
    last: Option<&Path>,
    command: &Path,
    arguments: &[String],
) -> anyhow::Result<()> {
    let since = last.map(read_last).transpose()?.flatten();
    let mut channel = client.on_completed(workspaces, since).await?;
    loop {
        match channel.receive().await? {
            Received::Message(ServerMessage::Notice(Notice::WorkRequestCompleted {
                work_request_id,
                completed_at,
                result,
            })) => {
                run_command(command, arguments, work_request_id, result).await?;
                if let Some(path) = last {
                    write_last(path, Some(time::to_text(&completed_at)))?;
                }
            }
            Received::Message(ServerMessage::Notice(Notice::Connected)) => tracing::info!("Connected"),
            Received::Message(ServerMessage::Notice(_)) => {}
            Received::Message(ServerMessage::Rejected { reason, .. } | ServerMessage::Closed { reason, .. }) => {
                tracing::warn!("the server closed the connection: {reason}");
                return Ok(());
            }
            Received::Unknown(message) => tracing::debug!("not understood: {message}"),
            Received::Closed => return Ok(()),
        }
    }
}

/// A direct child with our standard streams. A stop signal must be heard meanwhile: the child may send it.
async fn run_command(command: &Path, arguments: &[String], id: i64, result: Results) -> anyhow::Result<()> {
    let mut child = tokio::process::Command::new(command)
        .args(arguments)
        .args([id.to_string(), result.to_string()])
        .spawn()
        .map_err(|error| failure(format!("Error: cannot run \"{}\": {error}", command.display())))?;
    let status = child.wait().await?;
    if !status.success() {
        tracing::warn!("{} {id} {result}: {status}", command.display());
    }
    Ok(())
}

fn find_command(command: &str) -> anyhow::Result<PathBuf> {
    let is_executable = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let found = if command.contains('/') {
        Some(PathBuf::from(command)).filter(|path| is_executable(path))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|directory| directory.join(command)).find(|path| is_executable(path))
    };
    found.ok_or_else(|| failure(format!("Error: \"{command}\" does not exist or is not executable")))
}

/// Makes the file, or makes sure that it can be used, before anything is run.
fn prepare(path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if access(directory, Access::WRITE_OK).is_err() {
        return Err(failure(format!("Error: write access denied for directory \"{}\"", directory.display())));
    }
    if !path.exists() {
        return write_last(path, None);
    }
    if access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
        return Err(failure(format!("Error: write or read access denied for \"{}\"", path.display())));
    }
    read_last(path).map(drop)
}

fn read_last(path: &Path) -> anyhow::Result<Option<DateTime<Utc>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("Cannot read {}", path.display()))?;
    let last: LastCompleted = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let read = |text: String| time::from_text(&text).with_context(|| format!("{}: {text:?}", path.display()));
    last.last_completed_at.map(read).transpose()
}

fn write_last(path: &Path, at: Option<String>) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        serde_json::to_writer_pretty(&mut file, &LastCompleted { last_completed_at: at })?;
        file.write_all(b"\n")
    };
    write().with_context(|| format!("Cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_remembers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last");
        prepare(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n  \"last_completed_at\": null\n}\n");
        assert_eq!(read_last(&path).unwrap(), None);
        write_last(&path, Some("2026-11-23T20:38:39Z".to_owned())).unwrap();
        prepare(&path).unwrap();
        assert_eq!(read_last(&path).unwrap(), Some(time::from_text("2026-11-23T20:38:39").unwrap()));
        std::fs::write(&path, "soon").unwrap();
        assert!(prepare(&path).is_err());
    }

    #[test]
    fn commands_are_found_in_the_path() {
        assert!(find_command("sh").unwrap().is_absolute());
        for missing in ["no-such-command-here", "/etc/passwd", "/nonexistent"] {
            assert_eq!(
                find_command(missing).unwrap_err().to_string(),
                format!("Error: \"{missing}\" does not exist or is not executable")
            );
        }
    }
}
