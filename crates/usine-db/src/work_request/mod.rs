//! `WorkRequest` and `WorkRequestManager`: requests to execute a task, and every step of their lives.
//!
//! Each step is one transaction that locks the row, asks the pure rules, changes it with the old status in the
//! statement's condition, and writes the event. [`create`] makes them, [`assign`] and [`handout`] give them to workers,
//! [`report`] takes the results, [`retry`] replaces them, [`decision`] asks people.

mod assign;
mod create;
mod decision;
mod handout;
mod list;
mod manager;
mod report;
mod retry;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Value, json};
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::work_request::{self as rules, MarkRunning, Results, State, StatusChangeError, Statuses};

use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{attempt, token, work_request, worker};
use crate::neighbour::Place;
use crate::worker::occupying;
use crate::{Database, Error, Result, Text};
pub(crate) use manager::has_status;

pub(crate) use assign::Assign;
pub use assign::Assignment;
pub(crate) use create::Create;
pub use create::{NewWorkRequest, SchedulerTags};
pub use decision::{ConfirmError, Decision, UnblockError};
pub(crate) use handout::HandOut;
pub use handout::{HandedOut, Loss};
pub use list::{Cursor, Ended, ListFilter, OpenCount, QueueCount};
pub use manager::WorkRequestManager;
pub(crate) use report::Report;
pub use report::ReportOutcome;
pub use retry::{RetryError, RetryReason};
pub use work_request::Model as WorkRequest;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub enum AttemptOutcome {
    /// The worker reported a result.
    Reported,
    /// The work request was aborted.
    Aborted,
    /// The worker fell silent.
    LeaseExpired,
    /// The worker came back and asked for work without reporting this one.
    WorkerRestarted,
    /// The worker was disabled.
    DeAssigned,
}

impl WorkRequest {
    /// The facts that decide what may happen next.
    pub fn state(&self, superseded: bool) -> State {
        State {
            id: self.id,
            task_type: *self.task_type,
            status: *self.status,
            result: *self.result,
            has_worker: self.worker_id.is_some(),
            superseded,
        }
    }

    /// Label of the status.
    pub fn get_status_display(&self) -> &'static str {
        self.status.label()
    }

    /// Label of the result.
    pub fn get_result_display(&self) -> &'static str {
        self.result.label()
    }

    /// Seconds from start to completion, or `None` if either is missing.
    pub fn duration(&self) -> Option<f64> {
        rules::duration(self.started_at, self.completed_at)
    }

    /// Base and adjustment: higher comes first.
    pub fn priority_effective(&self) -> i32 {
        self.priority_base.saturating_add(self.priority_adjustment)
    }

    /// What tasks and workers use: the configured data, or the data as submitted.
    pub fn used_task_data(&self) -> &Value {
        self.configured_task_data.as_ref().unwrap_or(&self.task_data)
    }

    /// Aborted, or completed with a bad result.
    pub fn is_unsuccessful(&self) -> bool {
        self.state(false).is_unsuccessful()
    }

    /// Whether it waits for some time to pass after a temporary failure.
    pub fn rests(&self) -> bool {
        *self.status == Statuses::Blocked && self.delayed_until.is_some()
    }

    /// How often it was retried automatically: workers were lost, or it failed temporarily.
    pub fn retry_count(&self) -> i64 {
        self.workflow_data.get("retry_count").and_then(Value::as_i64).unwrap_or(0)
    }

    /// The limits on its run.
    pub fn deadlines(&self) -> Deadlines {
        let seconds = |limit: Option<i32>| limit.and_then(|limit| u32::try_from(limit).ok());
        Deadlines { total: seconds(self.deadline_total), silence: seconds(self.deadline_silence) }
    }

    /// The limits on what it uses.
    pub fn limits(&self) -> ResourceLimits {
        let bytes = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
        ResourceLimits { memory: bytes(self.limit_memory), disk: bytes(self.limit_disk) }
    }

    /// What it left behind besides artifacts.
    pub fn output(&self) -> Result<OutputData> {
        output(self.id, self.output_data.as_ref())
    }

    /// Takes the worker from it: pending again, not started. `false` (and a warning) if it is not pending or running.
    pub async fn de_assign_worker(&mut self, database: &Database, now: DateTime<Utc>) -> Result<bool> {
        let row = transact!(database, tx => {
            let row = load(&tx, self.id).await?;
            if row.state(false).can_be_de_assigned() {
                Ok(Some(de_assign(&tx, row, AttemptOutcome::DeAssigned, now).await?))
            } else {
                tracing::warn!("WorkRequest {} cannot be de-assigned: current status: {}", row.id, *row.status);
                Ok(None)
            }
        })?;
        let done = row.is_some();
        *self = row.unwrap_or_else(|| self.clone());
        Ok(done)
    }

    /// Its worker has begun. Twice is the same as once.
    pub async fn mark_running(&mut self, database: &Database, now: DateTime<Utc>) -> Result<()> {
        *self = transact!(database, tx => {
            let row = load(&tx, self.id).await?;
            mark_running(&tx, row, now).await
        })?;
        Ok(())
    }

    /// It ended with a result.
    pub async fn mark_completed(
        &mut self,
        database: &Database,
        result: Results,
        output: OutputData,
        now: DateTime<Utc>,
    ) -> Result<()> {
        *self = transact!(database, tx => {
            let row = load(&tx, self.id).await?;
            mark_completed(&tx, row, result, output.clone(), now).await
        })?;
        Ok(())
    }

    /// It is given up, whatever its status; the result stays as it is.
    pub async fn mark_aborted(&mut self, database: &Database, now: DateTime<Utc>) -> Result<()> {
        *self = transact!(database, tx => {
            let row = load(&tx, self.id).await?;
            mark_aborted(&tx, row, OutputData::default(), None, now).await
        })?;
        Ok(())
    }

    /// A person gives it up: its worker is freed, and hears of it after the commit. The reason if it may not be.
    pub async fn abort(
        &mut self,
        database: &Database,
        user_id: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Result<(), &'static str>> {
        let outcome = transact!(database, tx => {
            let row = load(&tx, self.id).await?;
            let superseded = superseded_by(tx.connection(), row.id).await?.is_some();
            match row.state(superseded).check_abort() {
                Err(reason) => Ok(Err(reason)),
                Ok(()) => {
                    let aborted = mark_aborted(&tx, row, OutputData::default(), user_id, now).await?;
                    let freed = work_request::ActiveModel {
                        id: Set(aborted.id), worker_id: Set(None), ..Default::default()
                    };
                    Ok(Ok(freed.update(tx.connection()).await?))
                }
            }
        })?;
        Ok(outcome.map(|row| *self = row))
    }

    /// Changes what a person has added to the priority.
    pub async fn set_priority_adjustment(
        &mut self,
        database: &Database,
        adjustment: i32,
        user_id: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        *self = transact!(database, tx => {
            let change = work_request::ActiveModel {
                id: Set(self.id), priority_adjustment: Set(adjustment), ..Default::default()
            };
            let row = change.update(tx.connection()).await?;
            let event = NewEvent::of_work_request(EventKind::PriorityChanged, self.id, None, now)
                .by(user_id)
                .detail(json!({"priority_adjustment": adjustment}));
            tx.record(event);
            Ok(row)
        })?;
        Ok(())
    }

    /// The work request that replaces this one, if any.
    pub async fn superseded_by(&self, database: &Database) -> Result<Option<i64>> {
        superseded_by(database.reader(), self.id).await
    }

    /// The work request made after this one.
    pub async fn get_next_by_created_at(&self, database: &Database) -> Result<Self> {
        self.place().neighbour(database, true).await
    }

    /// The work request made before this one.
    pub async fn get_previous_by_created_at(&self, database: &Database) -> Result<Self> {
        self.place().neighbour(database, false).await
    }

    fn place(&self) -> Place<work_request::Entity> {
        use work_request::Column;
        Place { kind: "WorkRequest", time: Column::CreatedAt, id: Column::Id, at: (self.created_at, self.id) }
    }
}

impl std::fmt::Display for WorkRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// Reads the row and, where the engine has row locks, keeps it for the rest of the transaction.
pub(crate) async fn load(tx: &WriteTransaction, id: i64) -> Result<WorkRequest> {
    work_request::Entity::find_by_id(id)
        .lock_exclusive()
        .one(tx.connection())
        .await?
        .ok_or_else(|| Error::does_not_exist("WorkRequest", id))
}

async fn superseded_by(connection: &impl sea_orm::ConnectionTrait, id: i64) -> Result<Option<i64>> {
    Ok(heir_of(connection, id).await?.map(|heir| heir.id))
}

async fn heir_of(connection: &impl sea_orm::ConnectionTrait, id: i64) -> Result<Option<WorkRequest>> {
    Ok(work_request::Entity::find().filter(work_request::Column::SupersedesId.eq(id)).one(connection).await?)
}

/// Writes a change of a row if its status still is `from`.
async fn change(
    tx: &WriteTransaction,
    from: &WorkRequest,
    wanted: Statuses,
    change: work_request::ActiveModel,
) -> Result<WorkRequest> {
    let written = work_request::Entity::update_many()
        .set(change)
        .filter(work_request::Column::Id.eq(from.id))
        .filter(has_status(*from.status))
        .exec(tx.connection())
        .await?;
    let row = load(tx, from.id).await?;
    if written.rows_affected == 1 {
        Ok(row)
    } else {
        Err(StatusChangeError::WrongStatus { id: row.id, wanted, current: *row.status }.into())
    }
}

async fn mark_running(tx: &WriteTransaction, row: WorkRequest, now: DateTime<Utc>) -> Result<WorkRequest> {
    let worker = match row.worker_id {
        None => None,
        Some(id) => worker::Entity::find_by_id(id).lock_exclusive().one(tx.connection()).await?,
    };
    let (name, running, concurrency) = match &worker {
        None => (String::new(), Vec::new(), 1),
        Some(worker) => {
            let running = worker.running_work_requests().all(tx.connection()).await?;
            let ids = running.iter().map(|row| row.id).collect();
            (worker.name.clone(), ids, worker.concurrency.unsigned_abs() as usize)
        }
    };
    match row.state(false).mark_running(&name, &running, concurrency)? {
        MarkRunning::AlreadyRunning => Ok(row),
        MarkRunning::Change => {
            let started = work_request::ActiveModel {
                status: Set(Text(Statuses::Running)),
                started_at: Set(Some(now)),
                ..Default::default()
            };
            let row = change(tx, &row, Statuses::Running, started).await?;
            tx.record(NewEvent::of_work_request(EventKind::Running, row.id, row.worker_id, now));
            Ok(row)
        }
    }
}

async fn mark_completed(
    tx: &WriteTransaction,
    row: WorkRequest,
    result: Results,
    output: OutputData,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    row.state(false).mark_completed(result)?;
    let completed = work_request::ActiveModel {
        status: Set(Text(Statuses::Completed)),
        result: Set(Text(result)),
        completed_at: Set(Some(now)),
        output_data: Set(merged_output(row.id, row.output_data.as_ref(), output)?),
        ..Default::default()
    };
    let row = change(tx, &row, Statuses::Completed, completed).await?;
    end_attempt(tx, row.id, AttemptOutcome::Reported, result, now).await?;
    delete_token(tx, row.id).await?;
    let event =
        NewEvent::of_work_request(EventKind::Completed, row.id, row.worker_id, now).detail(json!({"result": result}));
    tx.record(event);
    Ok(row)
}

async fn mark_aborted(
    tx: &WriteTransaction,
    row: WorkRequest,
    output: OutputData,
    user_id: Option<i64>,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    let aborted = work_request::ActiveModel {
        status: Set(Text(Statuses::Aborted)),
        completed_at: Set(Some(now)),
        aborted_by_id: Set(user_id),
        delayed_until: Set(None),
        output_data: Set(merged_output(row.id, row.output_data.as_ref(), output)?),
        ..Default::default()
    };
    let row = change(tx, &row, Statuses::Aborted, aborted).await?;
    end_attempt(tx, row.id, AttemptOutcome::Aborted, Results::None, now).await?;
    delete_token(tx, row.id).await?;
    tx.record(NewEvent::of_work_request(EventKind::Aborted, row.id, row.worker_id, now).by(user_id));
    Ok(row)
}

/// Puts a pending or running row back into the queue, without its worker.
async fn de_assign(
    tx: &WriteTransaction,
    row: WorkRequest,
    outcome: AttemptOutcome,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    let lost = row.worker_id;
    let freed = work_request::ActiveModel {
        status: Set(Text(Statuses::Pending)),
        worker_id: Set(None),
        started_at: Set(None),
        ..Default::default()
    };
    let row = change(tx, &row, Statuses::Pending, freed).await?;
    end_attempt(tx, row.id, outcome, Results::None, now).await?;
    delete_token(tx, row.id).await?;
    tx.record(NewEvent::of_work_request(EventKind::DeAssigned, row.id, lost, now));
    Ok(row)
}

/// Takes everything from a worker that it has not finished. What has made artifacts is replaced: the next run must not find
/// them.
pub(crate) async fn de_assign_all(tx: &WriteTransaction, worker_id: i64, now: DateTime<Utc>) -> Result<()> {
    let held = work_request::Entity::find()
        .filter(work_request::Column::WorkerId.eq(worker_id))
        .filter(occupying())
        .order_by_asc(work_request::Column::Id)
        .lock_exclusive()
        .all(tx.connection())
        .await?;
    for row in held {
        if *row.status == Statuses::Running && handout::has_artifacts(tx, row.id).await? {
            handout::supersede(tx, row, RetryReason::WorkerDisabled, now).await?;
        } else {
            de_assign(tx, row, AttemptOutcome::DeAssigned, now).await?;
        }
    }
    Ok(())
}

fn output(id: i64, data: Option<&Value>) -> Result<OutputData> {
    match data {
        None => Ok(OutputData::default()),
        Some(data) => serde_json::from_value(data.clone()).map_err(|error| Error::Inconsistent {
            table: "work_request",
            id,
            column: "output_data",
            problem: error.to_string(),
        }),
    }
}

fn merged_output(id: i64, older: Option<&Value>, newer: OutputData) -> Result<Option<Value>> {
    let merged = output(id, older)?.merge(newer);
    if merged.is_empty() { Ok(None) } else { Ok(Some(json!(merged))) }
}

async fn end_attempt(
    tx: &WriteTransaction,
    work_request_id: i64,
    outcome: AttemptOutcome,
    result: Results,
    now: DateTime<Utc>,
) -> Result<()> {
    let ended = attempt::ActiveModel {
        ended_at: Set(Some(now)),
        outcome: Set(Some(outcome.to_string())),
        result: Set(Text(result)),
        ..Default::default()
    };
    attempt::Entity::update_many()
        .set(ended)
        .filter(attempt::Column::WorkRequestId.eq(work_request_id))
        .filter(attempt::Column::EndedAt.is_null())
        .exec(tx.connection())
        .await?;
    Ok(())
}

async fn delete_token(tx: &WriteTransaction, work_request_id: i64) -> Result<()> {
    token::Entity::delete_many().filter(token::Column::WorkRequestId.eq(work_request_id)).exec(tx.connection()).await?;
    Ok(())
}
