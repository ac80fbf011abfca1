//! `usine work-request logs`: the live log while the work request runs; afterwards the log that the server kept, else
//! the build log among its artifacts, else its debugging logs.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::time::{sleep, timeout};
use usine_client::channel::Received;
use usine_client::{ByteStream, Client, Error};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Statuses;
use usine_protocol::artifact::Artifact;
use usine_protocol::channel::LogMessage;
use usine_protocol::work_request::WorkRequest;

use super::follow::Waiter;
use super::view;
use crate::exit::failure;

/// Without `--follow`: when nothing more has come for this long, all there is has been printed.
const QUIET: Duration = Duration::from_secs(1);

/// How soon to look again while a work request has not started, or its channel broke.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints the log.
pub async fn run(client: &Client, id: i64, follow: bool) -> anyhow::Result<()> {
    let mut waiter = Waiter::without_notices(client, id);
    let mut live = Live { until: None };
    loop {
        // Its own log was asked for; only who follows goes on with the one that replaces it.
        let work_request = if follow { waiter.look().await? } else { client.work_request(id).await? };
        match work_request.status {
            Statuses::Running => live.print(client, work_request.id, follow).await?,
            Statuses::Blocked | Statuses::Pending if follow => {}
            Statuses::Blocked | Statuses::Pending => {
                let (id, status) = (work_request.id, work_request.status);
                return Err(failure(format!(
                    "Work request {id} has no log: it is {status}. Wait for its log with: usine work-request logs -f {id}"
                )));
            }
            Statuses::Completed | Statuses::Aborted => {
                if live.until.is_none() {
                    kept(client, &work_request).await?;
                } else {
                    eprintln!("work request {}: {}", work_request.id, view::status(&work_request));
                }
                return Ok(());
            }
        }
        if !follow {
            return Ok(());
        }
        sleep(AGAIN).await;
    }
}

/// The live log, and how far it has been printed: a new connection begins at the beginning.
struct Live {
    until: Option<DateTime<Utc>>,
}

impl Live {
    /// Prints what comes until the channel closes or, without `follow`, nothing more comes.
    async fn print(&mut self, client: &Client, id: i64, follow: bool) -> anyhow::Result<()> {
        let mut channel = match client.follow_log(id).await {
            Ok(channel) => channel,
            Err(error) if follow && error.is_transient() => {
                tracing::warn!("{error}; trying again");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let printed_before = self.until;
        loop {
            let received = if follow {
                channel.receive().await
            } else {
                match timeout(QUIET, channel.receive()).await {
                    Ok(received) => received,
                    Err(_) => break,
                }
            };
            match received {
                Ok(Received::Message(LogMessage::LogData { data, timestamp, .. })) => {
                    if printed_before.is_none_or(|before| timestamp > before) {
                        print(data.as_bytes())?;
                    }
                    self.until = self.until.max(Some(timestamp));
                }
                Ok(Received::Message(LogMessage::ConnectionRejected { reason, reason_code })) => {
                    // It ended meanwhile: the caller looks again.
                    if reason_code == "not_running" {
                        break;
                    }
                    return Err(failure(format!("The server does not show the log of work request {id}: {reason}")));
                }
                Ok(Received::Message(LogMessage::Connected | LogMessage::LogDataEnd { .. }) | Received::Unknown(_)) => {
                }
                Ok(Received::Closed) => break,
                Err(error) if follow && error.is_transient() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Prints what was kept of the log.
async fn kept(client: &Client, work_request: &WorkRequest) -> anyhow::Result<()> {
    let id = work_request.id;
    if let Some(log) = kept_by_server(client, id).await? {
        return copy(log).await;
    }
    let mut artifacts = Vec::new();
    for artifact in &work_request.artifacts {
        artifacts.push(client.artifact(*artifact).await?);
    }
    for category in [ArtifactCategory::PackageBuildLog, ArtifactCategory::WorkRequestDebugLogs] {
        let mut found = artifacts.iter().filter(|artifact| artifact.category == category).peekable();
        if found.peek().is_none() {
            continue;
        }
        for artifact in found {
            print_files(client, artifact).await?;
        }
        return Ok(());
    }
    Err(failure(format!("Work request {id} ({}) has left no log", view::status(work_request))))
}

/// The live log as our own server kept it; `None` from any other, or when it is gone.
async fn kept_by_server(client: &Client, id: i64) -> anyhow::Result<Option<ByteStream>> {
    let url = format!("{}/usine/1.0/work-request/{id}/log/", client.api_url().as_str().trim_end_matches('/'));
    match client.download_stream(&url).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn print_files(client: &Client, artifact: &Artifact) -> anyhow::Result<()> {
    for (name, file) in &artifact.files {
        if artifact.files.len() > 1 {
            eprintln!("==> {name} <==");
        }
        copy(client.download_stream(&file.url).await?).await?;
    }
    Ok(())
}

async fn copy(mut log: ByteStream) -> anyhow::Result<()> {
    while let Some(piece) = log.next().await {
        let piece: Result<_, Error> = piece;
        print(&piece?)?;
    }
    Ok(())
}

/// Bytes as they are: logs need not be UTF-8.
fn print(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
