//! Replacing work requests that ended badly: the old row stays as it is, a new one supersedes it.
//!
//! After a temporary failure the new one first rests: it is blocked, with the time at which it becomes pending.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sea_orm::Set;
use serde_json::json;
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::policy::{MAX_AUTOMATIC_RETRIES, after_temporary_failure};
use usine_model::tags::Tags;
use usine_model::work_request::Statuses;

use super::create::{Heritage, NewWorkRequest, SchedulerTags, insert, mark_pending, with_retry_count};
use super::{WorkRequest, WorkRequestManager, change, heir_of, load, mark_aborted, superseded_by};
use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::work_request;
use crate::{Database, Error, Result};

/// Why a work request is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// A person asks: the count of retries begins anew.
    Manual,
    /// Its worker was lost: counted, and limited.
    WorkerFailed,
    /// Its worker was disabled after the run had made artifacts: not counted.
    WorkerDisabled,
    /// It failed temporarily: counted, limited, and tried again after this time.
    TemporaryFailure(TimeDelta),
}

/// Why a work request is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// A rule forbids it; the text says which.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// Anything else.
    #[error(transparent)]
    Database(#[from] Error),
}

impl WorkRequest {
    /// Whether a person may retry it now; [`WorkRequest::retry`] looks again.
    pub async fn check_retry(&self, database: &Database) -> Result<(), RetryError> {
        let heir = heir_of(database.reader(), self.id).await?;
        if self.rests() || heir.as_ref().is_some_and(WorkRequest::rests) {
            return Ok(());
        }
        self.state(heir.is_some()).check_retry(false).map_err(RetryError::NotAllowed)
    }

    /// Puts a new, pending work request in the place of this one, which must have ended badly. If such a one is there
    /// already and rests, or is this one itself, then its rest ends now.
    pub async fn retry(
        &self,
        database: &Database,
        user_id: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<WorkRequest, RetryError> {
        let heir = async {
            transact!(database, tx => {
                let row = load(&tx, self.id).await?;
                if let Some(resting) = resting(&tx, &row).await? {
                    return Ok(Ok(wake(&tx, resting, user_id, now).await?));
                }
                match retry(&tx, row, RetryReason::Manual, false, user_id, now).await {
                    Err(RetryError::Database(error)) => Err(error),
                    settled => Ok(settled),
                }
            })
        };
        match heir.await? {
            Ok(heir) => Ok(heir),
            Err(error) => Err(error),
        }
    }
}

impl WorkRequestManager<'_> {
    /// A work request that rested after a temporary failure becomes pending. `false` if it is not yet time, or it rests no
    /// more: another server was faster, or somebody aborted it.
    pub async fn end_rest(&self, id: i64, now: DateTime<Utc>) -> Result<bool> {
        transact!(self.0, tx => {
            let row = load(&tx, id).await?;
            if !row.rests() || row.delayed_until.is_none_or(|until| until > now) {
                return Ok(false);
            }
            let tags = tags_of(&row)?;
            mark_pending(&tx, row, &tags, false, now).await?;
            Ok(true)
        })
    }
}

/// The one that a person's retry wakes: the row itself, or the one that supersedes it.
async fn resting(tx: &WriteTransaction, row: &WorkRequest) -> Result<Option<WorkRequest>> {
    if row.rests() {
        return Ok(Some(row.clone()));
    }
    let Some(heir) = heir_of(tx.connection(), row.id).await? else { return Ok(None) };
    // Once more, under its lock: its rest may just have ended.
    let heir = load(tx, heir.id).await?;
    Ok(heir.rests().then_some(heir))
}

/// Ends a rest because a person asks: the count of retries begins anew.
async fn wake(
    tx: &WriteTransaction,
    row: WorkRequest,
    user_id: Option<i64>,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    let anew =
        work_request::ActiveModel { workflow_data: Set(with_retry_count(&row.workflow_data, 0)), ..Default::default() };
    let row = change(tx, &row, Statuses::Pending, anew).await?;
    let tags = tags_of(&row)?;
    let row = mark_pending(tx, row, &tags, false, now).await?;
    // Told where every other retry is: with the one that was replaced.
    if let Some(old) = row.supersedes_id {
        let event = NewEvent::of_work_request(EventKind::Retried, old, None, now).by(user_id);
        tx.record(event.detail(json!({"superseded_by": row.id})));
    }
    Ok(row)
}

/// Puts another one in the place of one that has just failed temporarily, unless that happened too often or a rule forbids
/// it: then it stays as it is.
pub(super) async fn retry_later(tx: &WriteTransaction, row: WorkRequest, now: DateTime<Utc>) -> Result<()> {
    let Some(delay) = after_temporary_failure(row.retry_count()) else { return Ok(()) };
    match retry(tx, row, RetryReason::TemporaryFailure(delay), false, None, now).await {
        Ok(_) | Err(RetryError::NotAllowed(_)) => Ok(()),
        Err(RetryError::Database(error)) => Err(error),
    }
}

/// Replaces a row; with `force_status` one that has not ended is aborted first, without further consequences.
pub(super) async fn retry(
    tx: &WriteTransaction,
    row: WorkRequest,
    reason: RetryReason,
    force_status: bool,
    user_id: Option<i64>,
    now: DateTime<Utc>,
) -> Result<WorkRequest, RetryError> {
    let superseded = superseded_by(tx.connection(), row.id).await?.is_some();
    row.state(superseded).check_retry(force_status).map_err(RetryError::NotAllowed)?;
    let retry_count = match reason {
        RetryReason::Manual => 0,
        RetryReason::WorkerDisabled => row.retry_count(),
        RetryReason::WorkerFailed | RetryReason::TemporaryFailure(_) if row.retry_count() >= MAX_AUTOMATIC_RETRIES => {
            return Err(RetryError::NotAllowed("Maximum number of automatic retries exceeded"));
        }
        RetryReason::WorkerFailed | RetryReason::TemporaryFailure(_) => row.retry_count() + 1,
    };
    let row =
        if row.status.is_terminal() { row } else { mark_aborted(tx, row, OutputData::default(), None, now).await? };
    let copy = NewWorkRequest {
        workspace_id: row.workspace_id,
        created_by_id: row.created_by_id,
        task_type: *row.task_type,
        task_name: row.task_name.clone(),
        subject: row.subject.clone(),
        summary: row.summary.clone(),
        task_data: row.task_data.clone(),
        event_reactions: row.event_reactions.clone(),
        priority_base: row.priority_base,
        deadlines: row.deadlines(),
        limits: row.limits(),
        // If one has expired, the copy ends with an error when it is its turn: as it would have a moment later.
        inputs: BTreeSet::new(),
    };
    let delayed_until = match reason {
        RetryReason::TemporaryFailure(delay) => Some(now + delay),
        RetryReason::Manual | RetryReason::WorkerFailed | RetryReason::WorkerDisabled => None,
    };
    let tags = tags_of(&row)?;
    let heir = insert(tx, &copy, Some(Heritage { of: &row, retry_count, delayed_until }), now).await?;
    let mut detail = json!({"superseded_by": heir.id});
    let heir = match delayed_until {
        None => mark_pending(tx, heir, &tags, false, now).await?,
        Some(until) => {
            let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
            let rest = json!({"reason": "temporary-failure", "supersedes": row.id, "delayed_until": until});
            tx.record(NewEvent::of_work_request(EventKind::Blocked, heir.id, None, now).detail(rest));
            detail["reason"] = json!("temporary-failure");
            detail["retry_count"] = json!(retry_count);
            detail["delayed_until"] = json!(until);
            heir
        }
    };
    let event = NewEvent::of_work_request(EventKind::Retried, row.id, None, now).by(user_id).detail(detail);
    tx.record(event);
    Ok(heir)
}

/// The tags that it had when it was submitted.
fn tags_of(row: &WorkRequest) -> Result<SchedulerTags> {
    Ok(SchedulerTags {
        required: read_tags(row, "scheduler_tags_required", &row.scheduler_tags_required)?,
        provided: read_tags(row, "scheduler_tags_provided", &row.scheduler_tags_provided)?,
    })
}

fn read_tags(row: &WorkRequest, column: &'static str, value: &serde_json::Value) -> Result<Tags> {
    serde_json::from_value(value.clone()).map_err(|error| Error::Inconsistent {
        table: "work_request",
        id: row.id,
        column,
        problem: error.to_string(),
    })
}
