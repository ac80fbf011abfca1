//! Vacuum: what was begun and never ended, in the database, the store, the staging area and the live logs.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use usine_db::artifact::FileUpload;
use usine_db::expiry::BATCH;
use usine_db::{ArtifactManager, EnrolmentManager, ServerManager, SessionManager};
use usine_store::UploadName;

use super::expire::{clear, contents};
use super::storage::{Removed, Storage, UpkeepError};
use crate::live_log::LiveLogs;

/// Uploads that nobody continued for this long are thrown away, and artifacts whose files nobody has brought; empty
/// directories go at this age.
pub(super) const ABANDONED: TimeDelta = TimeDelta::days(1);

/// An upload without a staged file is forgotten after this long. The file may be with another server.
const EMPTY_UPLOAD: TimeDelta = TimeDelta::hours(1);

/// Longer than any file takes to come under its final name.
const INTERRUPTED_PUT: TimeDelta = TimeDelta::hours(1);

/// What has gone; in a dry run, what the database says would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Vacuumed {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Artifacts whose files nobody has brought.
    pub incomplete_artifacts: Vec<i64>,
    /// Contents without artifact that left the store.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads that were forgotten: nothing had come, or nothing any more.
    pub uploads: u64,
    /// Empty directories of the store.
    pub directories: u64,
    /// Live logs.
    pub live_logs: u64,
}

/// Vacuums. Ends early, but never in the middle of something, when `stop` is cancelled. A dry run looks at the database
/// only.
pub async fn vacuum(
    storage: &Storage<'_>,
    logs: &Logs<'_>,
    now: DateTime<Utc>,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<Vacuumed, UpkeepError> {
    let mut done = Vacuumed { dry_run, ..Vacuumed::default() };
    incomplete_artifacts(storage, now, &mut done, stop).await?;
    orphans(storage, &mut done, stop).await?;
    empty_uploads(storage, now, &mut done).await?;
    if !dry_run {
        SessionManager(storage.database).clear_expired(now).await?;
        EnrolmentManager(storage.database).clear(now - ABANDONED).await?;
        add(&mut done, storage.settle().await?);
        storage.store.sweep((now - INTERRUPTED_PUT).into()).await?;
        done.directories = storage.store.prune((now - ABANDONED).into()).await? as u64;
        sweep_up(storage, logs, now, &mut done).await?;
        let Vacuumed { files, bytes, uploads, directories, live_logs, .. } = done;
        let artifacts = done.incomplete_artifacts.len();
        if artifacts as u64 + files + uploads + directories + live_logs > 0 {
            tracing::info!(artifacts, files, bytes, uploads, directories, live_logs, "vacuumed");
        }
    }
    Ok(done)
}

/// Live logs, and how many seconds they are kept after their last line.
pub struct Logs<'a> {
    /// The logs.
    pub logs: &'a LiveLogs,
    /// Seconds.
    pub life: u32,
}

/// Throws away stale uploads and old live logs: the part of the vacuum that is worth doing every hour.
pub(super) async fn sweep_up(
    storage: &Storage<'_>,
    logs: &Logs<'_>,
    now: DateTime<Utc>,
    done: &mut Vacuumed,
) -> Result<(), UpkeepError> {
    done.live_logs += logs.logs.sweep(now.into(), logs.life).await.map_err(UpkeepError::LiveLogs)? as u64;
    for name in storage.uploads.sweep((now - ABANDONED).into()).await? {
        tracing::info!(%name, "an abandoned upload was thrown away");
        done.uploads += 1;
    }
    Ok(())
}

async fn incomplete_artifacts(
    storage: &Storage<'_>,
    now: DateTime<Utc>,
    done: &mut Vacuumed,
    stop: &CancellationToken,
) -> Result<(), UpkeepError> {
    let (artifacts, before) = (ArtifactManager(storage.database), now - ABANDONED);
    let mut after = 0;
    while !stop.is_cancelled() {
        let ids = artifacts.abandoned(before, after).await?;
        let Some(last) = ids.last() else { break };
        after = *last;
        if done.dry_run {
            done.incomplete_artifacts.extend(ids);
        } else {
            let deleted = artifacts.delete_abandoned(&ids, before).await?;
            done.incomplete_artifacts.extend(&deleted.artifacts);
            add(done, clear(storage, deleted).await?);
        }
    }
    Ok(())
}

/// Contents that no artifact has: an expiry was interrupted before it removed them.
async fn orphans(storage: &Storage<'_>, done: &mut Vacuumed, stop: &CancellationToken) -> Result<(), UpkeepError> {
    let mut after = 0;
    while !stop.is_cancelled() {
        let files = ArtifactManager(storage.database).orphan_files(after, BATCH as u64).await?;
        let Some(last) = files.last() else { break };
        after = last.id;
        let removed = if done.dry_run {
            let bytes = files.iter().map(|file| file.size.unsigned_abs()).sum();
            Removed { files: files.len() as u64, bytes }
        } else {
            storage.remove(&contents(&files)).await?
        };
        add(done, removed);
    }
    Ok(())
}

/// Rows of uploads of which no byte is staged.
async fn empty_uploads(storage: &Storage<'_>, now: DateTime<Utc>, done: &mut Vacuumed) -> Result<(), UpkeepError> {
    let artifacts = ArtifactManager(storage.database);
    let several = ServerManager(storage.database).list().await?.len() > 1;
    let before = now - if several { ABANDONED } else { EMPTY_UPLOAD };
    for upload in artifacts.stale_uploads(before).await? {
        if is_staged(storage, &upload).await? {
            continue;
        }
        if done.dry_run || artifacts.discard_stale_upload(upload.id, before).await? {
            done.uploads += 1;
        }
    }
    Ok(())
}

async fn is_staged(storage: &Storage<'_>, upload: &FileUpload) -> Result<bool, UpkeepError> {
    match upload.path.parse::<UploadName>() {
        Ok(name) => Ok(storage.uploads.received(&name).await?.is_some()),
        Err(_) => Ok(false),
    }
}

fn add(done: &mut Vacuumed, removed: Removed) {
    done.files += removed.files;
    done.bytes += removed.bytes;
}
