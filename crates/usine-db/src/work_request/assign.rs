//! Assigning work requests to workers, many at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement};
use serde_json::Value;
use usine_model::event::EventKind;
use usine_model::work_request::Statuses;

use super::has_status;
use super::{WorkRequest, WorkRequestManager};
use crate::batch::{Asked, Job, Waiting};
use crate::database::WriteTransaction;
use crate::entity::event::NewEvent;
use crate::entity::{work_request, worker};
use crate::worker::{Worker, occupying};
use crate::{Database, Result, bulk};

/// A choice of the scheduler.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The work request.
    pub work_request_id: i64,
    /// The worker, as it was when it was chosen.
    pub worker: Arc<Worker>,
    /// What the server adds to the task data.
    pub dynamic_task_data: Option<Value>,
}

impl WorkRequestManager<'_> {
    /// Assigns a worker; the status stays pending. The worker hears of it after the commit.
    ///
    /// `false` if the work request is not pending or has a worker already, or the worker has no room left, or has other
    /// metadata by now than when it was chosen.
    pub async fn assign(&self, assignment: Assignment, now: DateTime<Utc>) -> Result<bool> {
        self.0.batched(Assign { assignment, now }).await
    }
}

impl WorkRequest {
    /// The same for this row, which is read again when it was assigned: see [`WorkRequestManager::assign`].
    pub async fn assign_worker(
        &mut self,
        database: &Database,
        worker: &Worker,
        dynamic_task_data: Option<Value>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let manager = WorkRequestManager(database);
        let worker = Arc::new(worker.clone());
        let assigned = manager.assign(Assignment { work_request_id: self.id, worker, dynamic_task_data }, now).await?;
        if assigned {
            *self = manager.get(self.id).await?;
        }
        Ok(assigned)
    }
}

pub(crate) struct Assign {
    assignment: Assignment,
    now: DateTime<Utc>,
}

impl Job for Assign {
    type Answer = bool;

    fn queue(waiting: &mut Waiting) -> &mut Vec<Asked<Self>> {
        &mut waiting.assignments
    }

    async fn perform(tx: &WriteTransaction, jobs: &[Asked<Self>]) -> Result<Vec<Result<bool>>> {
        let jobs: Vec<&Self> = jobs.iter().map(|asked| &asked.job).collect();
        // In the order of all locks: work requests, then workers.
        let mut free = free(tx, jobs.iter().map(|job| job.assignment.work_request_id)).await?;
        let workers: BTreeSet<i64> = jobs.iter().map(|job| job.assignment.worker.id).collect();
        let held = worker::Entity::find()
            .filter(worker::Column::Id.is_in(bulk::padded(workers.iter().copied())))
            .order_by_asc(worker::Column::Id)
            .lock_exclusive()
            .all(tx.connection())
            .await?;
        let held: HashMap<i64, Worker> = held.into_iter().map(|worker| (worker.id, worker)).collect();
        let mut occupied = occupied(tx, &workers).await?;
        let mut taken = Vec::new();
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Assignment { work_request_id, worker: chosen, .. } = &job.assignment;
            let room = occupied.entry(chosen.id).or_default();
            let fits = held
                .get(&chosen.id)
                .is_some_and(|worker| worker.has_metadata_of(chosen) && *room < i64::from(worker.concurrency));
            let assigned = fits && free.remove(work_request_id);
            if assigned {
                *room += 1;
                taken.push(job);
            }
            answers.push(Ok(assigned));
        }
        write(tx, &taken).await?;
        for Self { assignment, now } in taken {
            let worker = Some(assignment.worker.id);
            tx.record(NewEvent::of_work_request(EventKind::Assigned, assignment.work_request_id, worker, *now));
        }
        Ok(answers)
    }
}

/// Those that are pending and have no worker, locked.
async fn free(tx: &WriteTransaction, ids: impl Iterator<Item = i64>) -> Result<BTreeSet<i64>> {
    let ids: BTreeSet<i64> = ids.collect();
    let free: Vec<i64> = work_request::Entity::find()
        .select_only()
        .column(work_request::Column::Id)
        .filter(work_request::Column::Id.is_in(bulk::padded(ids)))
        .filter(has_status(Statuses::Pending))
        .filter(work_request::Column::WorkerId.is_null())
        .order_by_asc(work_request::Column::Id)
        .lock_exclusive()
        .into_tuple()
        .all(tx.connection())
        .await?;
    Ok(free.into_iter().collect())
}

/// How many work requests each of these workers has that are pending or running.
async fn occupied(tx: &WriteTransaction, workers: &BTreeSet<i64>) -> Result<BTreeMap<i64, i64>> {
    let counts: Vec<(i64, i64)> = work_request::Entity::find()
        .select_only()
        .column(work_request::Column::WorkerId)
        .expr(Func::count(Expr::col((work_request::Entity, work_request::Column::Id))))
        .filter(work_request::Column::WorkerId.is_in(bulk::padded(workers.iter().copied())))
        .filter(occupying())
        .group_by(work_request::Column::WorkerId)
        .into_tuple()
        .all(tx.connection())
        .await?;
    Ok(counts.into_iter().collect())
}

/// Writes the workers and the data, each work request's own.
async fn write(tx: &WriteTransaction, taken: &[&Assign]) -> Result<()> {
    let mut rest = taken;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(bulk::piece(rest.len()));
        let rows: Vec<String> =
            (0..piece.len()).map(|row| format!("(${}, ${}, ${})", 3 * row + 1, 3 * row + 2, 3 * row + 3)).collect();
        let sql = format!(
            "WITH chosen (id, worker_id, data) AS (VALUES {}) \
             UPDATE work_request SET worker_id = chosen.worker_id, dynamic_task_data = chosen.data \
             FROM chosen WHERE work_request.id = chosen.id AND work_request.status = 'pending' \
               AND work_request.worker_id IS NULL",
            rows.join(", ")
        );
        let values = piece.iter().flat_map(|Assign { assignment, .. }| {
            [
                assignment.work_request_id.into(),
                assignment.worker.id.into(),
                sea_orm::Value::Json(assignment.dynamic_task_data.clone().map(Box::new)),
            ]
        });
        let statement = Statement::from_sql_and_values(tx.connection().get_database_backend(), sql, values);
        tx.connection().execute_raw(statement).await?;
        rest = after;
    }
    Ok(())
}
