//! Sets of work requests.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Order, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Select};
use usine_model::work_request::{Results, Statuses};

use super::WorkRequest;
use crate::entity::{attempt, event, work_request};
use crate::worker::{Worker, occupying};
use crate::{Database, Error, Result, Text};

/// Makes and finds work requests.
#[derive(Clone, Copy)]
pub struct WorkRequestManager<'a>(pub &'a Database);

impl WorkRequestManager<'_> {
    /// The work request with this id.
    pub async fn get(&self, id: i64) -> Result<WorkRequest> {
        self.get_or_none(id).await?.ok_or_else(|| Error::does_not_exist("WorkRequest", id))
    }

    /// The work request with this id, or `None`.
    pub async fn get_or_none(&self, id: i64) -> Result<Option<WorkRequest>> {
        Ok(work_request::Entity::find_by_id(id).one(self.0.reader()).await?)
    }

    /// Those that are pending: higher priority first, then the oldest. Without those that have a worker, or only those
    /// of one worker, but not both.
    pub fn pending(&self, exclude_assigned: bool, worker: Option<&Worker>) -> Result<Select<work_request::Entity>> {
        let mut pending = in_status(Statuses::Pending);
        match (exclude_assigned, worker) {
            (true, Some(_)) => {
                return Err(Error::Invalid("Cannot exclude_assigned and filter by worker".to_owned()));
            }
            (true, None) => pending = pending.filter(work_request::Column::WorkerId.is_null()),
            (false, Some(worker)) => pending = pending.filter(work_request::Column::WorkerId.eq(worker.id)),
            (false, None) => {}
        }
        Ok(in_queue_order(pending))
    }

    /// Those that are running, on any worker or on this one.
    pub fn running(&self, worker: Option<&Worker>) -> Select<work_request::Entity> {
        let running = in_status(Statuses::Running).order_by_asc(work_request::Column::Id);
        match worker {
            Some(worker) => running.filter(work_request::Column::WorkerId.eq(worker.id)),
            None => running,
        }
    }

    /// Those that ended, with any result.
    pub fn completed(&self) -> Select<work_request::Entity> {
        in_status(Statuses::Completed).order_by_asc(work_request::Column::Id)
    }

    /// Those that were given up.
    pub fn aborted(&self) -> Select<work_request::Entity> {
        in_status(Statuses::Aborted).order_by_asc(work_request::Column::Id)
    }

    /// Those that were given up or ended badly.
    pub fn unsuccessful(&self) -> Select<work_request::Entity> {
        let bad = [Results::Failure, Results::TemporaryFailure, Results::Error].map(Text);
        work_request::Entity::find()
            .filter(has_status(Statuses::Aborted).or(work_request::Column::Result.is_in(bad)))
            .order_by_asc(work_request::Column::Id)
    }

    /// Whether anything pending or running is assigned to the worker.
    pub async fn running_or_pending_exists(&self, worker: &Worker) -> Result<bool> {
        worker.is_busy(self.0).await
    }

    /// Those that occupy workers, by worker. In the order of the index of just these, which SQLite takes for it.
    pub fn live(&self) -> Select<work_request::Entity> {
        work_request::Entity::find()
            .filter(occupying())
            .filter(work_request::Column::WorkerId.is_not_null())
            .order_by_asc(work_request::Column::WorkerId)
            .order_by_asc(work_request::Column::Status)
            .order_by_asc(work_request::Column::Id)
    }

    /// Those that run and have a limit.
    pub fn limited(&self) -> Select<work_request::Entity> {
        self.running(None).filter(
            work_request::Column::DeadlineTotal.is_not_null().or(work_request::Column::DeadlineSilence.is_not_null()),
        )
    }

    /// Those that rest after a temporary failure and have done so for long enough.
    pub fn rested(&self, now: DateTime<Utc>) -> Select<work_request::Entity> {
        work_request::Entity::find()
            .filter(work_request::Column::DelayedUntil.lte(now))
            .order_by_asc(work_request::Column::DelayedUntil)
            .order_by_asc(work_request::Column::Id)
    }

    /// All that ended since a time, in the order in which they ended. If exactly one ended at that very moment, it is
    /// the one that the caller has seen, and left out.
    pub async fn completed_since(&self, since: DateTime<Utc>, workspaces: &[i64]) -> Result<Vec<WorkRequest>> {
        let mut ended = work_request::Entity::find()
            .filter(work_request::Column::CompletedAt.gte(since))
            .order_by_asc(work_request::Column::CompletedAt)
            .order_by_asc(work_request::Column::Id);
        if !workspaces.is_empty() {
            ended = ended.filter(work_request::Column::WorkspaceId.is_in(workspaces.iter().copied()));
        }
        let mut rows = ended.all(self.0.reader()).await?;
        if rows.iter().filter(|row| row.completed_at == Some(since)).count() == 1 {
            rows.retain(|row| row.completed_at != Some(since));
        }
        Ok(rows)
    }

    /// All hand-outs of a work request, oldest first.
    pub async fn attempts(&self, id: i64) -> Result<Vec<attempt::Model>> {
        let attempts =
            attempt::Entity::find().filter(attempt::Column::WorkRequestId.eq(id)).order_by_asc(attempt::Column::Number);
        Ok(attempts.all(self.0.reader()).await?)
    }

    /// All that happened to a work request, oldest first.
    pub async fn history(&self, id: i64) -> Result<Vec<event::Model>> {
        let events = event::Entity::find().filter(event::Column::WorkRequestId.eq(id)).order_by_asc(event::Column::Id);
        Ok(events.all(self.0.reader()).await?)
    }
}

/// Whether a row has this status. The word is in the text, not bound: SQLite plans a statement anew with every value that
/// could make a partial index fit, which takes longer than most statements.
pub(crate) fn has_status(status: Statuses) -> SimpleExpr {
    Expr::cust(format!(r#""work_request"."status" = '{status}'"#))
}

/// What has not ended. As the partial indexes have it: SQLite uses one only if the text of its condition is in the query.
pub(super) const OPEN: &str = r#""work_request"."status" IN ('blocked', 'pending', 'running')"#;

fn in_status(status: Statuses) -> Select<work_request::Entity> {
    let rows = work_request::Entity::find().filter(has_status(status));
    if status.is_terminal() { rows } else { rows.filter(Expr::cust(OPEN)) }
}

/// Higher effective priority first, then the oldest.
pub(crate) fn in_queue_order(query: Select<work_request::Entity>) -> Select<work_request::Entity> {
    let effective = Expr::col((work_request::Entity, work_request::Column::PriorityBase))
        .add(Expr::col((work_request::Entity, work_request::Column::PriorityAdjustment)));
    query
        .order_by(effective, Order::Desc)
        .order_by_asc(work_request::Column::CreatedAt)
        .order_by_asc(work_request::Column::Id)
}
