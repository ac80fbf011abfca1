//! Handing work requests out to workers, taking their reports, and what happens when a worker is lost.
//!
//! Each hand-out is an attempt with a number and a key of its own. Only the live attempt may report; the report of
//! another one changes nothing, and a repeated report gets the same answer as the first.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, JoinType, NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait, Set,
};
use serde_json::json;
use usine_model::entropy::Entropy;
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::policy::{AfterLoss, DeadlinePassed, WORK_REQUEST_TOKEN_LIFE, after_loss};
use usine_model::token::{TokenHash, TokenKey, TokenType};
use usine_model::work_request::{Results, Statuses};

use super::create::with_retry_count;
use super::manager::in_queue_order;
use super::retry::{RetryError, RetryReason, retry, retry_later};
use super::{
    AttemptOutcome, WorkRequest, WorkRequestManager, de_assign, end_attempt, load, mark_aborted, mark_completed,
    mark_running,
};
use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{artifact, attempt, token, work_request, worker};
use crate::token::{NewToken, TokenSpec, insert as insert_token};
use crate::worker::{Worker, occupying};
use crate::{Error, Result, Text};

/// A work request on its way to a worker.
#[derive(Debug, Clone)]
pub struct HandedOut {
    /// The row as it was just before: pending, or running if the same worker gets it again.
    pub work_request: WorkRequest,
    /// What the worker may do everything with that it needs for it.
    pub key: TokenKey,
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The result counts.
    Accepted,
    /// The very same attempt has reported before.
    Repeated,
    /// The attempt is over: aborted, lost, or handed to another.
    NotRunning,
    /// The work request does not exist, or the key is not one for it.
    NotFound,
}

/// Why a worker lost its work requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Seconds without a sign of life.
    pub silent_for: i64,
}

impl WorkRequestManager<'_> {
    /// A new key for a work request that has a worker. The keys of this one and of the worker's other ones stop working; a
    /// live attempt goes on with the new key.
    pub async fn create_work_request_token(
        &self,
        id: i64,
        entropy: &dyn Entropy,
        now: DateTime<Utc>,
    ) -> Result<NewToken> {
        let key = TokenKey::generate(entropy);
        transact!(self.0, tx => {
            let row = load(&tx, id).await?;
            let issued = issue_token(&tx, &row, &key, now).await?;
            attempt::Entity::update_many()
                .col_expr(attempt::Column::TokenHash, Expr::value(issued.token.hash.clone()))
                .filter(attempt::Column::WorkRequestId.eq(id))
                .filter(attempt::Column::EndedAt.is_null())
                .exec(tx.connection())
                .await?;
            Ok(issued)
        })
    }

    /// The next work request of a worker that asks for one, marked running, with a fresh key.
    ///
    /// What the worker still has running, it has lost: it was restarted, and would not ask otherwise. That is handed
    /// out again, replaced (if it has made artifacts), or given up after too many tries.
    pub async fn get_next_for_worker(
        &self,
        worker: &Worker,
        entropy: &dyn Entropy,
        now: DateTime<Utc>,
    ) -> Result<Option<HandedOut>> {
        let key = TokenKey::generate(entropy);
        let next = transact!(self.0, tx => { hand_out(&tx, worker, Credential::Fresh(&key), now).await })?;
        Ok(next.map(|work_request| HandedOut { work_request, key }))
    }

    /// The same for a worker before 0.13, which does everything with its own token: the attempt has that token's hash, and
    /// no other key is made.
    pub async fn get_next_for_old_worker(
        &self,
        worker: &Worker,
        own: &TokenHash,
        now: DateTime<Utc>,
    ) -> Result<Option<WorkRequest>> {
        transact!(self.0, tx => { hand_out(&tx, worker, Credential::Own(own), now).await })
    }

    /// What an old worker runs: the work request with a live attempt under the hash of the worker's own token. None if there
    /// are several, because the worker does not say which one it means.
    pub async fn running_with_own_token(&self, own: &TokenHash) -> Result<Option<WorkRequest>> {
        let mut running = work_request::Entity::find()
            .join(JoinType::InnerJoin, attempt::Relation::WorkRequest.def().rev())
            .filter(attempt::Column::TokenHash.eq(own.0.clone()))
            .filter(attempt::Column::EndedAt.is_null())
            .filter(work_request::Column::Status.eq(Text(Statuses::Running)))
            .limit(2)
            .all(self.0.reader())
            .await?;
        Ok(running.pop().filter(|_| running.is_empty()))
    }

    /// A worker reports a result, with the key of its attempt. After a temporary failure another work request takes its
    /// place, a bounded number of times; it rests first ([`WorkRequestManager::end_rest`]).
    pub async fn report(
        &self,
        id: i64,
        key_hash: &TokenHash,
        result: Results,
        output: OutputData,
        now: DateTime<Utc>,
    ) -> Result<ReportOutcome> {
        transact!(self.0, tx => {
            let attempt = attempt::Entity::find()
                .filter(attempt::Column::WorkRequestId.eq(id))
                .filter(attempt::Column::TokenHash.eq(key_hash.0.clone()))
                // An old worker has the same key each time.
                .order_by_desc(attempt::Column::Number)
                .one(tx.connection())
                .await?;
            let Some(attempt) = attempt else { return Ok(ReportOutcome::NotFound) };
            let row = load(&tx, id).await?;
            let live = attempt::Entity::find_by_id(attempt.id).one(tx.connection()).await?;
            match live.and_then(|attempt| attempt.outcome) {
                None if *row.status == Statuses::Running => {
                    let row = mark_completed(&tx, row, result, output.clone(), now).await?;
                    if result == Results::TemporaryFailure {
                        retry_later(&tx, row, now).await?;
                    }
                    Ok(ReportOutcome::Accepted)
                }
                Some(outcome) if outcome == AttemptOutcome::Reported.to_string() => Ok(ReportOutcome::Repeated),
                _ => Ok(ReportOutcome::NotRunning),
            }
        })
    }

    /// A worker has fallen silent: all it has not finished is taken from it. Returns the ids.
    ///
    /// `worker` is the row as the caller saw it: if the worker has connected since, nothing happens.
    pub async fn lose_worker(&self, worker: &Worker, loss: Loss, now: DateTime<Utc>) -> Result<Vec<i64>> {
        transact!(self.0, tx => {
            let held = work_request::Entity::find()
                .filter(work_request::Column::WorkerId.eq(worker.id))
                .filter(occupying())
                .order_by_asc(work_request::Column::Id)
                .lock_exclusive()
                .all(tx.connection())
                .await?;
            let seen = worker::Entity::find_by_id(worker.id).lock_exclusive().one(tx.connection()).await?;
            if seen.is_none_or(|seen| seen.connected_at.is_some() && seen.connected_at != worker.connected_at) {
                return Ok(Vec::new());
            }
            // A mark that could not be taken back when the connection broke would make the scheduler choose this worker again.
            worker::Entity::update_many()
                .col_expr(worker::Column::ConnectedAt, Expr::value(None::<DateTime<Utc>>))
                .filter(worker::Column::Id.eq(worker.id))
                .exec(tx.connection())
                .await?;
            let mut lost = Vec::new();
            for row in held {
                let id = row.id;
                let event = NewEvent::of_work_request(EventKind::WorkerLost, id, Some(worker.id), now)
                    .detail(json!({"reason": "lease-expired", "silent_for": loss.silent_for}));
                tx.record(event).await?;
                if *row.status == Statuses::Pending {
                    de_assign(&tx, row, AttemptOutcome::LeaseExpired, now).await?;
                } else {
                    match after_loss(row.retry_count(), has_artifacts(&tx, id).await?) {
                        AfterLoss::HandOutAgain => {
                            let row = count_retry(&tx, &row).await?;
                            de_assign(&tx, row, AttemptOutcome::LeaseExpired, now).await?;
                        }
                        AfterLoss::Supersede => supersede(&tx, row, RetryReason::WorkerFailed, now).await?,
                        AfterLoss::GiveUp => give_up(&tx, row, now).await?,
                    }
                }
                lost.push(id);
            }
            Ok(lost)
        })
    }

    /// A running work request has passed a limit: it ends with an error. `false` if it ended otherwise meanwhile.
    pub async fn pass_deadline(&self, id: i64, passed: DeadlinePassed, now: DateTime<Utc>) -> Result<bool> {
        transact!(self.0, tx => {
            let row = load(&tx, id).await?;
            if *row.status != Statuses::Running {
                return Ok(false);
            }
            // The attempt did not report: its late report must not look like a repeated one.
            end_attempt(&tx, id, AttemptOutcome::Aborted, Results::None, now).await?;
            let output = OutputData::error(passed.code(), passed.message());
            mark_completed(&tx, row, Results::Error, output, now).await?;
            Ok(true)
        })
    }

    /// A pending work request cannot be assigned (its inputs are gone, its data do not fit): it ends with an error.
    pub async fn fail_pending(&self, id: i64, code: &str, message: &str, now: DateTime<Utc>) -> Result<bool> {
        transact!(self.0, tx => {
            let row = load(&tx, id).await?;
            if *row.status != Statuses::Pending || row.worker_id.is_some() {
                return Ok(false);
            }
            mark_completed(&tx, row, Results::Error, OutputData::error(code, message), now).await?;
            Ok(true)
        })
    }
}

/// What a worker does the work of an attempt with.
#[derive(Clone, Copy)]
enum Credential<'a> {
    /// A key made for it.
    Fresh(&'a TokenKey),
    /// The worker's own token.
    Own(&'a TokenHash),
}

/// Gives the worker the next work request it is to run.
async fn hand_out(
    tx: &WriteTransaction,
    worker: &Worker,
    credential: Credential<'_>,
    now: DateTime<Utc>,
) -> Result<Option<WorkRequest>> {
    let running = work_request::Entity::find()
        .filter(work_request::Column::WorkerId.eq(worker.id))
        .filter(work_request::Column::Status.eq(Text(Statuses::Running)))
        .order_by_asc(work_request::Column::Id)
        .lock_exclusive()
        .all(tx.connection())
        .await?;
    for row in running {
        match after_loss(row.retry_count(), has_artifacts(tx, row.id).await?) {
            AfterLoss::HandOutAgain => {
                end_attempt(tx, row.id, AttemptOutcome::WorkerRestarted, Results::None, now).await?;
                let again = count_retry(tx, &row).await?;
                begin_attempt(tx, &again, worker, credential, now).await?;
                let event = NewEvent::of_work_request(EventKind::HandedOutAgain, row.id, Some(worker.id), now)
                    .detail(json!({"retry_count": again.retry_count()}));
                tx.record(event).await?;
                return Ok(Some(again));
            }
            AfterLoss::Supersede => supersede(tx, row, RetryReason::WorkerFailed, now).await?,
            AfterLoss::GiveUp => give_up(tx, row, now).await?,
        }
    }
    let assigned = work_request::Entity::find()
        .filter(work_request::Column::WorkerId.eq(worker.id))
        .filter(work_request::Column::Status.eq(Text(Statuses::Pending)));
    let next = in_queue_order(assigned).lock_exclusive().one(tx.connection()).await?;
    let Some(next) = next else { return Ok(None) };
    let running = mark_running(tx, next.clone(), now).await?;
    begin_attempt(tx, &running, worker, credential, now).await?;
    Ok(Some(next))
}

pub(super) async fn has_artifacts(tx: &WriteTransaction, work_request_id: i64) -> Result<bool> {
    let made = artifact::Entity::find()
        .filter(artifact::Column::CreatedByWorkRequestId.eq(work_request_id))
        .one(tx.connection())
        .await?;
    Ok(made.is_some())
}

async fn count_retry(tx: &WriteTransaction, row: &WorkRequest) -> Result<WorkRequest> {
    let counted = work_request::ActiveModel {
        id: Set(row.id),
        workflow_data: Set(with_retry_count(&row.workflow_data, row.retry_count() + 1)),
        ..Default::default()
    };
    Ok(counted.update(tx.connection()).await?)
}

/// Puts another one in the place of one whose run has come to nothing.
pub(super) async fn supersede(
    tx: &WriteTransaction,
    row: WorkRequest,
    reason: RetryReason,
    now: DateTime<Utc>,
) -> Result<()> {
    match retry(tx, row, reason, true, None, now).await {
        Ok(_) => Ok(()),
        Err(RetryError::Database(error)) => Err(error),
        Err(RetryError::NotAllowed(reason)) => Err(Error::Invalid(reason.to_owned())),
    }
}

async fn give_up(tx: &WriteTransaction, row: WorkRequest, now: DateTime<Utc>) -> Result<()> {
    let message = format!("No worker managed to complete work request {}. Automatic retry limit exceeded.", row.id);
    let output = OutputData::error("work-request-retry-limit-exceeded", message);
    mark_aborted(tx, row, output, None, now).await?;
    Ok(())
}

/// Gives the worker its key, if it is to have one, and writes the attempt down.
async fn begin_attempt(
    tx: &WriteTransaction,
    row: &WorkRequest,
    worker: &Worker,
    credential: Credential<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let token_hash = match credential {
        Credential::Fresh(key) => issue_token(tx, row, key, now).await?.token.hash,
        Credential::Own(hash) => {
            revoke_tokens(tx, worker.id).await?;
            hash.0.clone()
        }
    };
    let before =
        attempt::Entity::find().filter(attempt::Column::WorkRequestId.eq(row.id)).count(tx.connection()).await?;
    let attempt = attempt::ActiveModel {
        id: NotSet,
        work_request_id: Set(row.id),
        number: Set(i32::try_from(before + 1).unwrap_or(i32::MAX)),
        worker_id: Set(Some(worker.id)),
        worker_name: Set(worker.name.clone()),
        token_hash: Set(token_hash),
        handed_out_at: Set(now),
        ended_at: Set(None),
        outcome: Set(None),
        result: Set(Text(Results::None)),
    };
    attempt.insert(tx.connection()).await?;
    Ok(())
}

async fn issue_token(tx: &WriteTransaction, row: &WorkRequest, key: &TokenKey, now: DateTime<Utc>) -> Result<NewToken> {
    if !matches!(*row.status, Statuses::Pending | Statuses::Running) {
        return Err(Error::Invalid(format!("Cannot issue a token for a WorkRequest that has status {}", *row.status)));
    }
    let Some(worker_id) = row.worker_id else {
        return Err(Error::Invalid(
            "Cannot issue a token for a WorkRequest that is not assigned to a worker.".to_owned(),
        ));
    };
    revoke_tokens(tx, worker_id).await?;
    let spec = TokenSpec {
        work_request_id: Some(row.id),
        enabled: true,
        expire_at: Some(now + WORK_REQUEST_TOKEN_LIFE),
        ..TokenSpec::of_type(TokenType::WorkRequest)
    };
    let token = insert_token(tx, &spec, &key.hash(), now).await?;
    Ok(NewToken { token, key: key.clone() })
}

/// Deletes the keys of everything that a worker has.
async fn revoke_tokens(tx: &WriteTransaction, worker_id: i64) -> Result<()> {
    let theirs = work_request::Entity::find()
        .select_only()
        .column(work_request::Column::Id)
        .filter(work_request::Column::WorkerId.eq(worker_id))
        .filter(occupying())
        .into_tuple::<i64>()
        .all(tx.connection())
        .await?;
    token::Entity::delete_many().filter(token::Column::WorkRequestId.is_in(theirs)).exec(tx.connection()).await?;
    Ok(())
}
