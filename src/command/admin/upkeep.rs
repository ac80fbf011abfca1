//! `usine admin delete-expired`, `vacuum-storage`, `fsck`: the upkeep of storage by hand, with the functions of the server.
//!
//! They may run beside the server. Whatever interrupts them, nothing is lost, and the next run goes on.

use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use usine_db::{ArtifactManager, Database};
use usine_model::clock::{Clock, to_stored_precision};
use usine_server::live_log::LiveLogs;
use usine_server::upkeep::{self, Expired, Finding, Logs, Storage, Vacuumed};
use usine_server::{Config, stores};
use usine_store::{FileStore, Uploads};

use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::{Code, Failed, failure};
use crate::output::{Format, Ui};

/// Options of what deletes.
#[derive(Debug, clap::Args)]
pub struct DryRun {
    /// Change nothing: say what would be deleted. The vacuum then looks at the database only
    #[arg(long)]
    dry_run: bool,
}

/// Options of `fsck`.
#[derive(Debug, clap::Args)]
pub struct FsckArgs {
    /// Put right what can be: remove files that nobody knows, note what is missing and what is there
    #[arg(long)]
    fix: bool,
    /// Only this file store
    #[arg(long, value_name = "NAME")]
    store: Option<String>,
}

/// Where the server keeps files.
struct Files {
    store: Arc<dyn FileStore>,
    uploads: Uploads,
}

impl Files {
    async fn open(config: &Config, database: &Database) -> anyhow::Result<Self> {
        let store = stores::open(config, database, Arc::new(OsEntropy)).await?;
        Ok(Self { store, uploads: Uploads::open(config.upload_directory()).await? })
    }

    fn with<'a>(&'a self, database: &'a Database) -> Storage<'a> {
        Storage { database, store: &*self.store, uploads: &self.uploads, entropy: &OsEntropy }
    }
}

/// Deletes what has expired.
pub async fn delete_expired(database: &Database, config: &Config, ui: Ui, args: DryRun) -> anyhow::Result<()> {
    let files = Files::open(config, database).await?;
    let now = to_stored_precision(SystemClock.now());
    let storage = files.with(database);
    let expired = upkeep::expire(&storage, now, args.dry_run, &CancellationToken::new()).await?;
    print(ui, &expired, expired_lines(&expired))
}

/// Vacuums.
pub async fn vacuum_storage(database: &Database, config: &Config, ui: Ui, args: DryRun) -> anyhow::Result<()> {
    let files = Files::open(config, database).await?;
    let live_logs = LiveLogs::open(config.live_log_directory(), config.live_log_size).await?;
    let logs = Logs { logs: &live_logs, life: config.live_log_life };
    let now = to_stored_precision(SystemClock.now());
    let storage = files.with(database);
    let done = upkeep::vacuum(&storage, &logs, now, args.dry_run, &CancellationToken::new()).await?;
    print(ui, &done, vacuum_lines(&done))
}

/// Compares store and database; exit code 1 if they did not agree.
pub async fn fsck(database: &Database, config: &Config, ui: Ui, args: FsckArgs) -> anyhow::Result<Code> {
    let store = ArtifactManager(database).default_store().await?;
    if let Some(name) = args.store.filter(|name| *name != store.name) {
        let message = format!("CommandError: File store {name} does not exist, or is none that this server has");
        return Err(Failed { message, code: Code::Findings }.into());
    }
    // An empty directory in the wrong place would look like a store that has lost everything.
    let directory = config.store_directory();
    if config.store.s3.is_none() && !directory.is_dir() {
        let shown = directory.display();
        return Err(failure(format!("CommandError: {shown} does not exist: name the directory with --data-directory")));
    }
    let files = Files::open(config, database).await?;
    let now = to_stored_precision(SystemClock.now());
    let findings = upkeep::fsck(&files.with(database), &store, now, args.fix).await?;
    print(ui, &findings, fsck_lines(&findings, &store.name))?;
    Ok(if findings.is_empty() { Code::Success } else { Code::Findings })
}

fn print(ui: Ui, report: &impl Serialize, lines: Vec<String>) -> anyhow::Result<()> {
    match ui.format {
        Format::Human => lines.iter().try_for_each(|line| ui.line(line))?,
        Format::Yaml | Format::Json => ui.data(&serde_json::to_value(report)?)?,
    }
    Ok(())
}

const DRY_RUN: &str = "dry-run mode: no changes will be made";

/// In the words of Debian's administration command.
fn expired_lines(expired: &Expired) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(expired.dry_run.then(|| DRY_RUN.to_owned()));
    lines.push(match expired.work_requests.len() {
        0 => "There were no expired work requests".to_owned(),
        count => format!("Deleting {count} expired work requests and 0 expired collections"),
    });
    if expired.artifacts.is_empty() {
        lines.push("There were no expired artifacts".to_owned());
    }
    lines.extend(expired.artifacts.iter().map(|id| format!("Deleted artifact {id}")));
    lines.extend(files_line(expired.files, expired.bytes));
    lines.extend(expired.groups.iter().map(|name| format!("Deleted ephemeral group {name}")));
    lines.push(match expired.tokens {
        0 => "There were no expired tokens".to_owned(),
        count => format!("Deleting {count} expired tokens"),
    });
    lines
}

fn vacuum_lines(done: &Vacuumed) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(done.dry_run.then(|| DRY_RUN.to_owned()));
    lines.extend(done.incomplete_artifacts.iter().map(|id| format!("Deleted incomplete artifact {id}")));
    lines.extend(files_line(done.files, done.bytes));
    for (count, what) in [
        (done.uploads, "abandoned upload(s)"),
        (done.directories, "empty directory(s)"),
        (done.live_logs, "old live log(s)"),
    ] {
        lines.extend((count > 0).then(|| format!("Deleting {count} {what}")));
    }
    if lines.len() == usize::from(done.dry_run) {
        lines.push("There was nothing to clear away".to_owned());
    }
    lines
}

fn files_line(files: u64, bytes: u64) -> Option<String> {
    (files > 0).then(|| format!("Deleting {files} file(s) from the store: {bytes} bytes"))
}

fn fsck_lines(findings: &[Finding], store: &str) -> Vec<String> {
    let line = |found: &Finding| format!("{store}: {}{}", found.what, if found.fixed { ": fixed" } else { "" });
    let mut lines: Vec<String> = findings.iter().map(line).collect();
    let fixed = findings.iter().filter(|found| found.fixed).count();
    lines.push(format!("{} problem(s) found, {fixed} fixed", findings.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_told_in_the_usual_words() {
        let nothing = Expired { dry_run: true, ..Expired::default() };
        assert_eq!(
            expired_lines(&nothing),
            [
                "dry-run mode: no changes will be made",
                "There were no expired work requests",
                "There were no expired artifacts",
                "There were no expired tokens",
            ]
        );
        let much = Expired {
            dry_run: false,
            work_requests: [1, 2].into(),
            artifacts: [7].into(),
            files: 3,
            bytes: 10,
            groups: vec!["friends".to_owned()],
            tokens: 1,
        };
        assert_eq!(
            expired_lines(&much),
            [
                "Deleting 2 expired work requests and 0 expired collections",
                "Deleted artifact 7",
                "Deleting 3 file(s) from the store: 10 bytes",
                "Deleted ephemeral group friends",
                "Deleting 1 expired tokens",
            ]
        );
    }
}
