//! The scheduler's view of the database: requirement sets, lanes of the queue, and the heads of these.
//!
//! A lane is what asks the same of workers and has the same owner. The cost of finding the next work request depends on
//! the number of lanes in which something waits, not on the length of the queue: the first ones of each are the first
//! entries of a partial index.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Statement,
};
use serde_json::Value;
use usine_model::fair_share::{DEFAULT_WEIGHT, Share};
use usine_model::matching::RequirementSet;
use usine_model::work_request::TaskType;

use crate::entity::{lane, requirement_set, user, work_request, workspace};
use crate::work_request::WorkRequest;
use crate::worker::OCCUPYING;
use crate::{Database, Error, Result, Text, bulk};

pub use lane::Model as Lane;

/// A work request that is one of the first of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct QueueHead {
    /// Its id.
    pub id: i64,
    /// Its lane.
    pub lane_id: i64,
    /// Effective priority.
    pub priority: i32,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
}

/// What a work request asks for that is to be assigned.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Wish {
    /// Its id.
    pub id: i64,
    /// Where it belongs.
    pub workspace_id: i64,
    /// Who submitted it.
    pub created_by_id: i64,
    /// Where it runs.
    pub task_type: Text<TaskType>,
    /// Name of the task.
    pub task_name: String,
    /// The data that are used: the configured ones, or those that were submitted.
    pub task_data: Value,
    /// Tags that it provides.
    pub scheduler_tags_provided: Value,
}

impl From<&WorkRequest> for Wish {
    fn from(row: &WorkRequest) -> Self {
        Self {
            id: row.id,
            workspace_id: row.workspace_id,
            created_by_id: row.created_by_id,
            task_type: row.task_type,
            task_name: row.task_name.clone(),
            task_data: row.used_task_data().clone(),
            scheduler_tags_provided: row.scheduler_tags_provided.clone(),
        }
    }
}

/// A work request that a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupied {
    /// The worker.
    pub worker: i64,
    /// The workspace.
    pub workspace: i64,
    /// The user.
    pub user: i64,
}

/// A work request that has ended, for the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Served {
    /// The workspace.
    pub workspace_id: i64,
    /// The user.
    pub created_by_id: i64,
    /// When a worker fetched it.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: DateTime<Utc>,
}

/// Reads what the scheduler needs.
#[derive(Clone, Copy)]
pub struct QueueManager<'a>(pub &'a Database);

impl QueueManager<'_> {
    /// Requirement sets with an id above `after`: they never change, so that only new ones need to be read.
    pub async fn requirement_sets(&self, after: i64) -> Result<Vec<(i64, RequirementSet)>> {
        let rows = requirement_set::Entity::find()
            .filter(requirement_set::Column::Id.gt(after))
            .order_by_asc(requirement_set::Column::Id)
            .all(self.0.reader())
            .await?;
        rows.into_iter()
            .map(|row| match serde_json::from_value(row.definition) {
                Ok(set) => Ok((row.id, set)),
                Err(error) => Err(Error::Inconsistent {
                    table: "requirement_set",
                    id: row.id,
                    column: "definition",
                    problem: error.to_string(),
                }),
            })
            .collect()
    }

    /// Lanes with an id above `after`: they never change, so that only new ones need to be read.
    pub async fn lanes(&self, after: i64) -> Result<Vec<Lane>> {
        let lanes = lane::Entity::find().filter(lane::Column::Id.gt(after)).order_by_asc(lane::Column::Id);
        Ok(lanes.all(self.0.reader()).await?)
    }

    /// The lanes in which something waits. What it costs depends on their number, not on how much waits in each.
    pub async fn open_lanes(&self) -> Result<Vec<i64>> {
        let rows = self.0.reader().query_all_raw(self.open_lanes_statement()).await?;
        rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
    }

    /// What [`QueueManager::open_lanes`] asks the database, for whoever wants to have it explained: from lane to lane, by
    /// the index. Conditions are written out, not bound: only then do both engines use the partial index.
    pub fn open_lanes_statement(&self) -> Statement {
        let sql = "WITH RECURSIVE open (id) AS (\
               SELECT * FROM (SELECT q.lane_id FROM work_request q \
                   WHERE q.status = 'pending' AND q.worker_id IS NULL ORDER BY q.lane_id LIMIT 1) first \
               UNION ALL \
               SELECT (SELECT q.lane_id FROM work_request q \
                   WHERE q.status = 'pending' AND q.worker_id IS NULL AND q.lane_id > open.id ORDER BY q.lane_id LIMIT 1) \
               FROM open WHERE open.id IS NOT NULL) \
             SELECT id FROM open WHERE id IS NOT NULL";
        Statement::from_string(self.0.backend(), sql)
    }

    /// The first `each` free pending work requests of each of these lanes, lane by lane, in the order of the queue.
    pub async fn heads(&self, lanes: &[i64], each: u64) -> Result<Vec<QueueHead>> {
        let mut heads = Vec::new();
        let mut rest = lanes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(bulk::piece(rest.len()));
            let statement = self.heads_statement(piece, each);
            heads.extend(QueueHead::find_by_statement(statement).all(self.0.reader()).await?);
            rest = after;
        }
        Ok(heads)
    }

    /// What [`QueueManager::heads`] asks the database for some lanes.
    pub fn heads_statement(&self, lanes: &[i64], each: u64) -> Statement {
        let of_lane = |number: usize| {
            format!(
                "SELECT * FROM (SELECT q.id, q.lane_id, q.priority_base + q.priority_adjustment AS priority, q.created_at \
                 FROM work_request q WHERE q.lane_id = ${} AND q.status = 'pending' AND q.worker_id IS NULL \
                 ORDER BY (q.priority_base + q.priority_adjustment) DESC, q.created_at, q.id LIMIT $1) h{number}",
                number + 2
            )
        };
        let sql = (0..lanes.len()).map(of_lane).collect::<Vec<_>>().join(" UNION ALL ");
        let each = i64::try_from(each).unwrap_or(i64::MAX);
        let values = std::iter::once(each).chain(lanes.iter().copied()).map(sea_orm::Value::from);
        Statement::from_sql_and_values(self.0.backend(), sql, values)
    }

    /// What these work requests ask for, in no order.
    pub async fn wishes(&self, ids: &[i64]) -> Result<Vec<Wish>> {
        let used = Func::coalesce([
            Expr::col((work_request::Entity, work_request::Column::ConfiguredTaskData)),
            Expr::col((work_request::Entity, work_request::Column::TaskData)),
        ]);
        let rows = work_request::Entity::find()
            .select_only()
            .columns([
                work_request::Column::Id,
                work_request::Column::WorkspaceId,
                work_request::Column::CreatedById,
                work_request::Column::TaskType,
                work_request::Column::TaskName,
                work_request::Column::SchedulerTagsProvided,
            ])
            .expr_as(used, "task_data")
            .filter(work_request::Column::Id.is_in(bulk::padded(ids.iter().copied())));
        Ok(rows.into_model().all(self.0.reader()).await?)
    }

    /// What is on workers: every pending and running work request that has one.
    pub async fn occupied(&self) -> Result<Vec<Occupied>> {
        let columns = ["worker_id", "workspace_id", "created_by_id"];
        let from = format!("work_request WHERE {OCCUPYING} AND worker_id IS NOT NULL");
        let rows = bulk::numbers(self.0.reader(), columns, &from, "").await?;
        Ok(rows.into_iter().map(|[worker, workspace, user]| Occupied { worker, workspace, user }).collect())
    }

    /// Weights and limits of users, and of workspaces: of all that have others than the default.
    pub async fn shares(&self) -> Result<(HashMap<i64, Share>, HashMap<i64, Share>)> {
        let users: Vec<(i64, i32, Option<i32>)> = user::Entity::find()
            .select_only()
            .columns([user::Column::Id, user::Column::ShareWeight, user::Column::MaxRunning])
            .filter(user::Column::ShareWeight.ne(DEFAULT_WEIGHT).or(user::Column::MaxRunning.is_not_null()))
            .into_tuple()
            .all(self.0.reader())
            .await?;
        let workspaces: Vec<(i64, i32, Option<i32>)> = workspace::Entity::find()
            .select_only()
            .columns([workspace::Column::Id, workspace::Column::ShareWeight, workspace::Column::MaxRunning])
            .filter(workspace::Column::ShareWeight.ne(DEFAULT_WEIGHT).or(workspace::Column::MaxRunning.is_not_null()))
            .into_tuple()
            .all(self.0.reader())
            .await?;
        let by_id = |rows: Vec<(i64, i32, Option<i32>)>| {
            rows.into_iter().map(|(id, weight, max_running)| (id, Share { weight, max_running })).collect()
        };
        Ok((by_id(users), by_id(workspaces)))
    }

    /// What workers have done since a time: the newest ends, at most `limit`.
    pub async fn served(&self, since: DateTime<Utc>, limit: u64) -> Result<Vec<Served>> {
        let ended = work_request::Entity::find()
            .select_only()
            .columns([
                work_request::Column::WorkspaceId,
                work_request::Column::CreatedById,
                work_request::Column::StartedAt,
                work_request::Column::CompletedAt,
            ])
            .filter(work_request::Column::CompletedAt.gte(since))
            .filter(work_request::Column::StartedAt.is_not_null())
            .order_by_desc(work_request::Column::CompletedAt)
            .order_by_desc(work_request::Column::Id)
            .limit(limit);
        Ok(ended.into_model().all(self.0.reader()).await?)
    }

    /// How many free pending work requests of these sets come before this one.
    pub async fn count_ahead(&self, row: &WorkRequest, sets: &[i64]) -> Result<u64> {
        #[derive(FromQueryResult)]
        struct Count {
            ahead: i64,
        }
        if sets.is_empty() {
            return Ok(0);
        }
        let list = sets.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT COUNT(*) AS ahead FROM work_request q, work_request w \
             WHERE w.id = {} AND q.status = 'pending' AND q.worker_id IS NULL \
               AND q.lane_id IN (SELECT l.id FROM lane l WHERE l.requirement_set_id IN ({list})) \
               AND (q.priority_base + q.priority_adjustment > w.priority_base + w.priority_adjustment \
                    OR (q.priority_base + q.priority_adjustment = w.priority_base + w.priority_adjustment \
                        AND (q.created_at < w.created_at OR (q.created_at = w.created_at AND q.id < w.id))))",
            row.id,
        );
        let statement = Statement::from_string(self.0.backend(), sql);
        let count = Count::find_by_statement(statement).one(self.0.reader()).await?;
        Ok(count.map_or(0, |count| count.ahead.unsigned_abs()))
    }
}
