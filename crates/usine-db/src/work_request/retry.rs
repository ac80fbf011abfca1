//! Replacing work requests that ended badly: the old row stays as it is, a new one supersedes it.

use chrono::{DateTime, Utc};
use serde_json::json;
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::policy::MAX_AUTOMATIC_RETRIES;
use usine_model::tags::Tags;

use super::create::{Heritage, NewWorkRequest, SchedulerTags, insert, mark_pending};
use super::{WorkRequest, load, mark_aborted, superseded_by};
use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::{Database, Error, Result};

/// Why a work request is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// A person asks: the count of retries begins anew.
    Manual,
    /// Its worker was lost: counted, and limited.
    WorkerFailed,
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
    /// Puts a new, pending work request in the place of this one, which must have ended badly.
    pub async fn retry(
        &self,
        database: &Database,
        user_id: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<WorkRequest, RetryError> {
        let heir = async {
            transact!(database, tx => {
                let row = load(&tx, self.id).await?;
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
        RetryReason::WorkerFailed if row.retry_count() >= MAX_AUTOMATIC_RETRIES => {
            return Err(RetryError::NotAllowed("Maximum number of automatic retries exceeded"));
        }
        RetryReason::WorkerFailed => row.retry_count() + 1,
    };
    let row =
        if row.status.is_terminal() { row } else { mark_aborted(tx, row, OutputData::default(), None, now).await? };
    let copy = NewWorkRequest {
        workspace_id: row.workspace_id,
        created_by_id: row.created_by_id,
        task_type: *row.task_type,
        task_name: row.task_name.clone(),
        task_data: row.task_data.clone(),
        event_reactions: row.event_reactions.clone(),
        priority_base: row.priority_base,
        deadlines: row.deadlines(),
    };
    let heir = insert(tx, &copy, Some(Heritage { of: &row, retry_count }), now).await?;
    let tags = SchedulerTags {
        required: tags_of(&row, "scheduler_tags_required", &row.scheduler_tags_required)?,
        provided: tags_of(&row, "scheduler_tags_provided", &row.scheduler_tags_provided)?,
    };
    let heir = mark_pending(tx, heir, &tags, false, now).await?;
    let event = NewEvent::of_work_request(EventKind::Retried, row.id, None, now)
        .by(user_id)
        .detail(json!({"superseded_by": heir.id}));
    tx.record(event).await?;
    Ok(heir)
}

fn tags_of(row: &WorkRequest, column: &'static str, value: &serde_json::Value) -> Result<Tags> {
    serde_json::from_value(value.clone()).map_err(|error| Error::Inconsistent {
        table: "work_request",
        id: row.id,
        column,
        problem: error.to_string(),
    })
}
