//! Expiry: work requests, then artifacts with their files, then groups, then tokens whose time has come. In small batches, each looked
//! at once more when it goes, so that submitting and scheduling go on meanwhile.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use usine_db::artifact::File;
use usine_db::expiry::{BATCH, Deleted, Needed};
use usine_db::storage::Content;
use usine_db::{ExpiryManager, GroupManager, WorkRequest};

use super::storage::{Removed, Storage, UpkeepError};
use crate::requirements::named_artifacts;

/// Expired artifacts that are marked together: what they relate to is in memory meanwhile.
const MARKED_TOGETHER: usize = 2000;

/// How often new work requests are read for one batch before it is left to the next run.
const MAX_TRIES: u32 = 20;

/// What has gone, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Work requests.
    pub work_requests: BTreeSet<i64>,
    /// Artifacts.
    pub artifacts: BTreeSet<i64>,
    /// Contents that left the store.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Ephemeral groups that held no role any more.
    pub groups: Vec<String>,
    /// Tokens.
    pub tokens: u64,
}

/// Deletes what has expired by `now`, or only finds it. Ends early, but never in the middle of something, when `stop` is
/// cancelled.
pub async fn expire(
    storage: &Storage<'_>,
    now: DateTime<Utc>,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<Expired, UpkeepError> {
    let mut run = Run { storage, now, stop, expired: Expired { dry_run, ..Expired::default() } };
    let outcome = run.all().await;
    let Expired { work_requests, artifacts, files, bytes, groups, tokens, .. } = &run.expired;
    let (work_requests, artifacts, groups) = (work_requests.len(), artifacts.len(), groups.len());
    if !dry_run && (work_requests + artifacts + groups) as u64 + files + tokens > 0 {
        tracing::info!(work_requests, artifacts, files, bytes, groups, tokens, "deleted what had expired");
    }
    outcome.map(|()| run.expired)
}

/// One run.
struct Run<'a> {
    storage: &'a Storage<'a>,
    now: DateTime<Utc>,
    stop: &'a CancellationToken,
    expired: Expired,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), UpkeepError> {
        self.work_requests().await?;
        self.artifacts().await?;
        self.groups().await?;
        self.tokens().await
    }

    fn manager(&self) -> ExpiryManager<'_> {
        ExpiryManager(self.storage.database)
    }

    fn goes_on(&self) -> bool {
        !self.stop.is_cancelled()
    }

    async fn work_requests(&mut self) -> Result<(), UpkeepError> {
        let manager = ExpiryManager(self.storage.database);
        let mut due = manager.due_work_requests(self.now).await?;
        while self.goes_on() {
            let candidates = due.next(BATCH).await?;
            if candidates.is_empty() {
                break;
            }
            let gone = if self.expired.dry_run {
                manager.expired_work_requests(&candidates, self.now).await?
            } else {
                manager.delete_work_requests(&candidates, self.now).await?
            };
            self.expired.work_requests.extend(gone);
        }
        Ok(())
    }

    async fn artifacts(&mut self) -> Result<(), UpkeepError> {
        let manager = ExpiryManager(self.storage.database);
        let mut due = manager.due_artifacts(self.now).await?;
        let mut needed = Needed::default();
        while self.goes_on() {
            let candidates = due.next(MARKED_TOGETHER).await?;
            if candidates.is_empty() {
                break;
            }
            read(&manager, &mut needed).await?;
            let marked = manager.mark(&candidates, &needed, self.now).await?;
            for batch in marked.batches() {
                if !self.goes_on() {
                    break;
                }
                if self.expired.dry_run {
                    self.expired.artifacts.extend(batch);
                } else {
                    let deleted = self.sweep(&batch, &mut needed).await?;
                    self.expired.artifacts.extend(&deleted.artifacts);
                    let removed = clear(self.storage, deleted).await?;
                    self.expired.files += removed.files;
                    self.expired.bytes += removed.bytes;
                }
            }
        }
        if self.expired.dry_run {
            let files = manager.files_only_of(&self.expired.artifacts).await?;
            self.expired.files = files.len() as u64;
            self.expired.bytes = files.values().map(|size| size.unsigned_abs()).sum();
        }
        Ok(())
    }

    async fn sweep(&self, batch: &[i64], needed: &mut Needed) -> Result<Deleted, UpkeepError> {
        for _ in 0..MAX_TRIES {
            match self.manager().sweep(batch, needed, self.now).await? {
                Some(deleted) => return Ok(deleted),
                None => read(&self.manager(), needed).await?,
            }
        }
        Err(UpkeepError::TooBusy)
    }

    async fn groups(&mut self) -> Result<(), UpkeepError> {
        let manager = GroupManager(self.storage.database);
        let unused = manager.unused_ephemeral().await?;
        for batch in unused.chunks(BATCH) {
            let gone = if self.expired.dry_run {
                batch.to_vec()
            } else {
                manager.delete_unused_ephemeral(batch, self.now).await?
            };
            self.expired.groups.extend(gone.into_iter().map(|group| group.name));
        }
        Ok(())
    }

    async fn tokens(&mut self) -> Result<(), UpkeepError> {
        let manager = ExpiryManager(self.storage.database);
        let mut after = 0;
        while self.goes_on() {
            let ids = manager.expired_tokens(self.now, after).await?;
            let Some(last) = ids.last() else { break };
            after = *last;
            self.expired.tokens +=
                if self.expired.dry_run { ids.len() as u64 } else { manager.delete_tokens(&ids, self.now).await? };
        }
        Ok(())
    }
}

/// Clears up after artifacts that were deleted: their uploads, and their files if nobody else has them.
pub(super) async fn clear(storage: &Storage<'_>, deleted: Deleted) -> Result<Removed, UpkeepError> {
    for name in deleted.uploads {
        // One that somebody writes to, or whose name is none, is left to the sweep of stale uploads.
        if let Ok(name) = name.parse()
            && let Err(error) = storage.uploads.discard(&name).await
        {
            tracing::debug!(%name, %error, "an upload of a deleted artifact stays for a while");
        }
    }
    storage.remove(&contents(&deleted.files)).await
}

pub(super) fn contents(files: &[File]) -> Vec<Content> {
    files.iter().filter_map(Content::of).collect()
}

/// Reads the work requests that have not ended and are not read yet.
async fn read(manager: &ExpiryManager<'_>, needed: &mut Needed) -> Result<(), UpkeepError> {
    loop {
        let rows = manager.unread_work_requests(needed).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            needed.note(row.id, named_by(&row));
        }
    }
}

/// The artifacts that a work request names: in its data, and in what the server added when it was assigned.
fn named_by(row: &WorkRequest) -> BTreeSet<i64> {
    let mut named: BTreeSet<i64> =
        row.dynamic_task_data.as_ref().map(usine_tasks::input_artifact_ids).unwrap_or_default();
    if let Some(task) = usine_tasks::find(*row.task_type, &row.task_name) {
        // Data that the task refuses name nothing: such a work request ends as soon as it is looked at.
        named.extend(named_artifacts(task, row.used_task_data()).unwrap_or_default());
    }
    named
}
