//! Handing work requests out to workers, and what happens when a worker is lost.
//!
//! Each hand-out is an attempt with a number and a key of its own. Only the live attempt may report; the report of
//! another one changes nothing, and a repeated report gets the same answer as the first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, Query, UnionType};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, JoinType, NotSet, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait, Set,
};
use serde_json::json;
use usine_model::entropy::Entropy;
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::policy::{AfterLoss, DeadlinePassed, WORK_REQUEST_TOKEN_LIFE, after_loss};
use usine_model::token::{TokenHash, TokenKey, TokenType};
use usine_model::work_request::{Results, Statuses};

use super::create::with_retry_count;
use super::has_status;
use super::retry::{RetryError, RetryReason, retry};
use super::{
    AttemptOutcome, WorkRequest, WorkRequestManager, de_assign, end_attempt, load, mark_aborted, mark_completed,
};
use crate::batch::{Asked, Job, Waiting};
use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{artifact, attempt, token, work_request, worker};
use crate::token::{NewToken, TokenSpec, insert as insert_token, row_of as token_row};
use crate::worker::{Worker, occupying};
use crate::{Error, Result, Text, bulk};

/// A work request on its way to a worker.
#[derive(Debug, Clone)]
pub struct HandedOut {
    /// The row as it was just before: pending, or running if the same worker gets it again.
    pub work_request: WorkRequest,
    /// What the worker may do everything with that it needs for it.
    pub key: TokenKey,
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
        let credential = Credential::Fresh(key.hash());
        let next = self.0.batched(HandOut { worker: worker.clone(), credential, now }).await?;
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
        self.0.batched(HandOut { worker: worker.clone(), credential: Credential::Own(own.clone()), now }).await
    }

    /// What an old worker runs: the work request with a live attempt under the hash of the worker's own token. None if there
    /// are several, because the worker does not say which one it means.
    pub async fn running_with_own_token(&self, own: &TokenHash) -> Result<Option<WorkRequest>> {
        let mut running = work_request::Entity::find()
            .join(JoinType::InnerJoin, attempt::Relation::WorkRequest.def().rev())
            .filter(attempt::Column::TokenHash.eq(own.0.clone()))
            .filter(attempt::Column::EndedAt.is_null())
            .filter(has_status(Statuses::Running))
            .limit(2)
            .all(self.0.reader())
            .await?;
        Ok(running.pop().filter(|_| running.is_empty()))
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
                tx.record(event);
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
#[derive(Clone)]
enum Credential {
    /// A key made for it, by its hash.
    Fresh(TokenHash),
    /// The worker's own token.
    Own(TokenHash),
}

/// A worker asks for its next work request.
pub(crate) struct HandOut {
    worker: Worker,
    credential: Credential,
    now: DateTime<Utc>,
}

impl Job for HandOut {
    type Answer = Option<WorkRequest>;

    fn queue(waiting: &mut Waiting) -> &mut Vec<Asked<Self>> {
        &mut waiting.hand_outs
    }

    async fn perform(tx: &WriteTransaction, jobs: &[Asked<Self>]) -> Result<Vec<Result<Option<WorkRequest>>>> {
        let mut answers: Vec<_> = jobs.iter().map(|_| Ok(None)).collect();
        // A worker that asks twice has lost what it got first: that is for the next round to see.
        let mut rest: Vec<(usize, &Self)> = jobs.iter().map(|asked| &asked.job).enumerate().collect();
        while !rest.is_empty() {
            let mut asking = BTreeSet::new();
            let (round, later) = rest.into_iter().partition(|(_, job)| asking.insert(job.worker.id));
            for (index, next) in hand_out(tx, round).await? {
                answers[index] = Ok(next);
            }
            rest = later;
        }
        Ok(answers)
    }
}

/// What a worker gets.
struct Next<'a> {
    job: &'a HandOut,
    /// As it was before.
    row: WorkRequest,
}

/// Gives each of these workers the next work request it is to run, if there is one.
async fn hand_out(tx: &WriteTransaction, jobs: Vec<(usize, &HandOut)>) -> Result<Vec<(usize, Option<WorkRequest>)>> {
    let workers = jobs.iter().map(|(_, job)| job.worker.id);
    let held = work_request::Entity::find()
        .filter(work_request::Column::WorkerId.is_in(bulk::padded(workers)))
        .filter(occupying())
        .order_by_asc(work_request::Column::Id)
        .lock_exclusive()
        .all(tx.connection())
        .await?;
    let numbers = last_numbers(tx, held.iter().map(|row| row.id)).await?;
    let mut by_worker: HashMap<i64, Vec<WorkRequest>> = HashMap::new();
    for row in held {
        by_worker.entry(row.worker_id.unwrap_or_default()).or_default().push(row);
    }
    let mut begun = Vec::new();
    let mut places = Vec::new();
    for (place, job) in jobs {
        let held = by_worker.remove(&job.worker.id).unwrap_or_default();
        if let Some(row) = next_of(tx, job, held).await? {
            places.push((place, Some(row.clone())));
            begun.push(Next { job, row });
        }
    }
    start(tx, &begun).await?;
    // Keys of everything that these workers have had before.
    if !numbers.is_empty() {
        let ids = bulk::padded(numbers.keys().copied());
        token::Entity::delete_many().filter(token::Column::WorkRequestId.is_in(ids)).exec(tx.connection()).await?;
    }
    begin_attempts(tx, &begun, &numbers).await?;
    Ok(places)
}

/// The number of the last attempt of each of these work requests that has had any; 0 if it has only a key.
async fn last_numbers(tx: &WriteTransaction, ids: impl Iterator<Item = i64>) -> Result<HashMap<i64, i32>> {
    let ids = bulk::padded(ids);
    let keys = Query::select()
        .column(token::Column::WorkRequestId)
        .expr(Expr::val(0))
        .from(token::Entity)
        .and_where(token::Column::WorkRequestId.is_in(ids.iter().copied()))
        .to_owned();
    let attempts = Query::select()
        .columns([attempt::Column::WorkRequestId, attempt::Column::Number])
        .from(attempt::Entity)
        .and_where(attempt::Column::WorkRequestId.is_in(ids))
        .union(UnionType::All, keys)
        .to_owned();
    let mut numbers = HashMap::new();
    for row in tx.connection().query_all(&attempts).await? {
        let (id, number): (i64, i32) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        numbers.entry(id).and_modify(|last: &mut i32| *last = number.max(*last)).or_insert(number);
    }
    Ok(numbers)
}

/// What the worker runs next. What it has running, it has lost.
async fn next_of(tx: &WriteTransaction, job: &HandOut, held: Vec<WorkRequest>) -> Result<Option<WorkRequest>> {
    let (running, pending): (Vec<_>, Vec<_>) = held.into_iter().partition(|row| *row.status == Statuses::Running);
    for row in running {
        match after_loss(row.retry_count(), has_artifacts(tx, row.id).await?) {
            AfterLoss::HandOutAgain => {
                end_attempt(tx, row.id, AttemptOutcome::WorkerRestarted, Results::None, job.now).await?;
                let again = count_retry(tx, &row).await?;
                let event = NewEvent::of_work_request(EventKind::HandedOutAgain, row.id, Some(job.worker.id), job.now)
                    .detail(json!({"retry_count": again.retry_count()}));
                tx.record(event);
                return Ok(Some(again));
            }
            AfterLoss::Supersede => supersede(tx, row, RetryReason::WorkerFailed, job.now).await?,
            AfterLoss::GiveUp => give_up(tx, row, job.now).await?,
        }
    }
    // In the order of the queue.
    Ok(pending.into_iter().min_by_key(|row| (Reverse(row.priority_effective()), row.created_at, row.id)))
}

/// Marks those that are not running yet.
async fn start(tx: &WriteTransaction, begun: &[Next<'_>]) -> Result<()> {
    let mut started = Vec::new();
    for Next { job, row } in begun {
        if *row.status != Statuses::Running {
            row.state(false).mark_running(&job.worker.name, &[], 1)?;
            started.push(row.id);
            tx.record(NewEvent::of_work_request(EventKind::Running, row.id, row.worker_id, job.now));
        }
    }
    let Some(now) = begun.iter().map(|next| next.job.now).max().filter(|_| !started.is_empty()) else { return Ok(()) };
    work_request::Entity::update_many()
        .col_expr(work_request::Column::Status, Expr::value(Text(Statuses::Running)))
        .col_expr(work_request::Column::StartedAt, Expr::value(Some(now)))
        .filter(work_request::Column::Id.is_in(bulk::padded(started)))
        .filter(has_status(Statuses::Pending))
        .exec(tx.connection())
        .await?;
    Ok(())
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

/// Gives the workers their keys, if they are to have some, and writes the attempts down.
async fn begin_attempts(tx: &WriteTransaction, begun: &[Next<'_>], numbers: &HashMap<i64, i32>) -> Result<()> {
    if begun.is_empty() {
        return Ok(());
    }
    let mut tokens = Vec::new();
    for Next { job, row } in begun {
        if let Credential::Fresh(hash) = &job.credential {
            tokens.push(token_row(&key_of(row.id, job.now), hash, job.now)?);
        }
    }
    bulk::write(tx.connection(), tokens).await?;
    let attempts = begun.iter().map(|Next { job, row }| {
        let (Credential::Fresh(hash) | Credential::Own(hash)) = &job.credential;
        attempt::ActiveModel {
            id: NotSet,
            work_request_id: Set(row.id),
            number: Set(numbers.get(&row.id).copied().unwrap_or(0).saturating_add(1)),
            worker_id: Set(Some(job.worker.id)),
            worker_name: Set(job.worker.name.clone()),
            token_hash: Set(hash.0.clone()),
            handed_out_at: Set(job.now),
            ended_at: Set(None),
            outcome: Set(None),
            result: Set(Text(Results::None)),
        }
    });
    bulk::write(tx.connection(), attempts.collect()).await?;
    Ok(())
}

/// The token of an attempt.
fn key_of(work_request_id: i64, now: DateTime<Utc>) -> TokenSpec {
    TokenSpec {
        work_request_id: Some(work_request_id),
        enabled: true,
        expire_at: Some(now + WORK_REQUEST_TOKEN_LIFE),
        ..TokenSpec::of_type(TokenType::WorkRequest)
    }
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
    let token = insert_token(tx, &key_of(row.id, now), &key.hash(), now).await?;
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
