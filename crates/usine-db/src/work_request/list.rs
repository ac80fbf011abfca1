//! Lists and counts of work requests, for the API and the pages: each is one query, and reads no more rows than it shows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select, Statement,
};
use usine_model::work_request::{Results, Statuses, TaskType};

use super::manager::OPEN;
use super::{WorkRequest, WorkRequestManager};
use crate::entity::work_request::{self, Column};
use crate::worker::occupying;
use crate::{Result, Text};

/// A place in a list: creation and id.
pub type Cursor = (DateTime<Utc>, i64);

/// Which work requests to list. Empty lists of statuses and results, and `None`, do not restrict.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// In one of these workspaces; an empty list matches nothing.
    pub workspace_ids: Vec<i64>,
    /// Of this type.
    pub task_type: Option<TaskType>,
    /// Of this task.
    pub task_name: Option<String>,
    /// Only what is in no workflow, or is one.
    pub root_only: bool,
    /// Only these.
    pub ids: Option<Vec<i64>>,
    /// In one of these statuses.
    pub statuses: Vec<Statuses>,
    /// With one of these results.
    pub results: Vec<Results>,
    /// About this.
    pub subject: Option<String>,
    /// On this worker.
    pub worker_id: Option<i64>,
    /// Of this user.
    pub created_by_id: Option<i64>,
    /// With one of these sets of requirements.
    pub requirement_sets: Option<Vec<i64>>,
    /// Only what comes after this place in the list, which goes from new to old.
    pub before: Option<Cursor>,
    /// Only what comes before this place: the nearest to it.
    pub after: Option<Cursor>,
}

/// Other conditions of partial indexes, like [`OPEN`].
const ABORTED: &str = "status = 'aborted'";
const BAD: &str = "result IN ('failure', 'temporary failure', 'error')";

impl ListFilter {
    fn query(&self) -> Select<work_request::Entity> {
        let mut query = work_request::Entity::find().filter(match self.workspace_ids.as_slice() {
            [one] => Column::WorkspaceId.eq(*one),
            several => Column::WorkspaceId.is_in(several.iter().copied()),
        });
        if !self.statuses.is_empty() {
            query = query.filter(Column::Status.is_in(self.statuses.iter().copied().map(Text)));
            if self.statuses.iter().all(|status| !status.is_terminal()) {
                query = query.filter(Expr::cust(OPEN));
            }
            if self.statuses == [Statuses::Aborted] {
                query = query.filter(Expr::cust(ABORTED));
            }
        }
        if !self.results.is_empty() {
            query = query.filter(Column::Result.is_in(self.results.iter().copied().map(Text)));
            if self.results.iter().all(|result| result.is_unsuccessful()) {
                query = query.filter(Expr::cust(BAD));
            }
        }
        query
            .apply_if(self.task_type, |query, task_type| query.filter(Column::TaskType.eq(Text(task_type))))
            .apply_if(self.task_name.clone(), |query, name| query.filter(Column::TaskName.eq(name)))
            .apply_if(self.root_only.then_some(()), |query, ()| query.filter(Column::ParentId.is_null()))
            .apply_if(self.ids.clone(), |query, ids| query.filter(Column::Id.is_in(ids)))
            .apply_if(self.subject.clone(), |query, subject| query.filter(Column::Subject.eq(subject)))
            .apply_if(self.worker_id, |query, id| query.filter(Column::WorkerId.eq(id)))
            .apply_if(self.created_by_id, |query, id| query.filter(Column::CreatedById.eq(id)))
            .apply_if(self.requirement_sets.clone(), |query, ids| query.filter(Column::RequirementSetId.is_in(ids)))
    }

    /// A part of the list, newest first; what comes before a place is found from there, the other way round.
    fn page(&self, limit: u64) -> Select<work_request::Entity> {
        let mut query = self.query();
        if let Some((at, id)) = self.before {
            query = query.filter(Column::CreatedAt.lt(at).or(Column::CreatedAt.eq(at).and(Column::Id.lt(id))));
        }
        if let Some((at, id)) = self.after {
            query = query.filter(Column::CreatedAt.gt(at).or(Column::CreatedAt.eq(at).and(Column::Id.gt(id))));
            return query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).limit(limit);
        }
        query.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id).limit(limit)
    }
}

/// How many open work requests of a kind there are.
#[derive(Debug, Clone, FromQueryResult)]
pub struct QueueCount {
    /// Where they run.
    pub task_type: Text<TaskType>,
    /// Pending or running.
    pub status: Text<Statuses>,
    /// What they require.
    pub requirement_set_id: Option<i64>,
    /// How many.
    pub count: i64,
    /// Since when the oldest of them has been pending.
    pub oldest: Option<DateTime<Utc>>,
}

/// What is open in a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenCount {
    /// Blocked.
    pub blocked: i64,
    /// Pending.
    pub pending: i64,
    /// Running.
    pub running: i64,
}

/// One that has ended, as far as the statistics of the queue look at it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Ended {
    /// Name of the task.
    pub task_name: String,
    /// What it required.
    pub requirement_set_id: Option<i64>,
    /// When it became pending.
    pub pending_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

impl WorkRequestManager<'_> {
    /// Lists work requests, newest first, at most `limit`.
    pub async fn list(&self, filter: &ListFilter, limit: u64) -> Result<Vec<WorkRequest>> {
        let mut rows = filter.page(limit).all(self.0.reader()).await?;
        if filter.after.is_some() {
            rows.reverse();
        }
        Ok(rows)
    }

    /// What [`WorkRequestManager::list`] asks the database, for whoever wants to have it explained.
    pub fn list_statement(&self, filter: &ListFilter, limit: u64) -> Statement {
        filter.page(limit).build(self.0.backend())
    }

    /// How many there are, counted up to `most`.
    pub async fn count(&self, filter: &ListFilter, most: u64) -> Result<u64> {
        let rows = filter.query().select_only().column(Column::Id).limit(most).into_query();
        let query = Query::select().expr_as(Expr::cust("COUNT(*)"), "count").from_subquery(rows, "counted").to_owned();
        let row = self.0.reader().query_one(&query).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get("", "count"))?;
        Ok(count.unsigned_abs())
    }

    /// Counts what is pending and running, by type, status and requirements.
    pub async fn count_open(&self) -> Result<Vec<QueueCount>> {
        let counts = work_request::Entity::find()
            .select_only()
            .column(Column::TaskType)
            .column(Column::Status)
            .column(Column::RequirementSetId)
            .column_as(Column::Id.count(), "count")
            .column_as(Column::PendingAt.min(), "oldest")
            .filter(occupying())
            .group_by(Column::RequirementSetId)
            .group_by(Column::TaskType)
            .group_by(Column::Status);
        Ok(counts.into_model().all(self.0.reader()).await?)
    }

    /// Counts what is open, by workspace; those without are left out.
    pub async fn open_in(&self, workspace_ids: &[i64]) -> Result<HashMap<i64, OpenCount>> {
        let rows: Vec<(i64, Text<Statuses>, i64)> = work_request::Entity::find()
            .select_only()
            .column(Column::WorkspaceId)
            .column(Column::Status)
            .column_as(Column::Id.count(), "count")
            .filter(Column::WorkspaceId.is_in(workspace_ids.iter().copied()))
            .filter(Expr::cust(OPEN))
            .group_by(Column::WorkspaceId)
            .group_by(Column::Status)
            .into_tuple()
            .all(self.0.reader())
            .await?;
        let mut open: HashMap<i64, OpenCount> = HashMap::new();
        for (workspace, status, count) in rows {
            let counts = open.entry(workspace).or_default();
            match *status {
                Statuses::Blocked => counts.blocked = count,
                Statuses::Pending => counts.pending = count,
                Statuses::Running => counts.running = count,
                Statuses::Completed | Statuses::Aborted => {}
            }
        }
        Ok(open)
    }

    /// Counts what was submitted since then and ended badly, by workspace; those without are left out.
    pub async fn bad_since(&self, workspace_ids: &[i64], since: DateTime<Utc>) -> Result<HashMap<i64, i64>> {
        let rows: Vec<(i64, i64)> = work_request::Entity::find()
            .select_only()
            .column(Column::WorkspaceId)
            .column_as(Column::Id.count(), "count")
            .filter(Column::WorkspaceId.is_in(workspace_ids.iter().copied()))
            .filter(Column::CreatedAt.gte(since))
            .filter(Expr::cust(BAD))
            .group_by(Column::WorkspaceId)
            .into_tuple()
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The last ones that a worker has ended, at most `limit`.
    pub async fn last_ended(&self, limit: u64) -> Result<Vec<Ended>> {
        let rows = work_request::Entity::find()
            .select_only()
            .columns([
                Column::TaskName,
                Column::RequirementSetId,
                Column::PendingAt,
                Column::StartedAt,
                Column::CompletedAt,
            ])
            .filter(Column::CompletedAt.is_not_null())
            .order_by_desc(Column::CompletedAt)
            .order_by_desc(Column::Id)
            .limit(limit);
        Ok(rows.into_model().all(self.0.reader()).await?)
    }

    /// What work requests of these workspaces are about and begins so: workspace and subject, sorted, at most `limit`.
    pub async fn subjects(&self, workspace_ids: &[i64], prefix: &str, limit: u64) -> Result<Vec<(i64, String)>> {
        // No character comes after this one.
        let end = format!("{prefix}{}", char::MAX);
        let rows = work_request::Entity::find()
            .select_only()
            .column(Column::WorkspaceId)
            .column(Column::Subject)
            .distinct()
            .filter(Column::WorkspaceId.is_in(workspace_ids.iter().copied()))
            .filter(Condition::all().add(Column::Subject.gte(prefix)).add(Column::Subject.lt(end)))
            .filter(Column::Subject.ne(""))
            .order_by_asc(Column::Subject)
            .order_by_asc(Column::WorkspaceId)
            .limit(limit);
        Ok(rows.into_tuple().all(self.0.reader()).await?)
    }

    /// The workspaces of these work requests.
    pub async fn workspaces_of(&self, ids: &[i64]) -> Result<HashMap<i64, i64>> {
        let rows: Vec<(i64, i64)> = work_request::Entity::find()
            .select_only()
            .column(Column::Id)
            .column(Column::WorkspaceId)
            .filter(Column::Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }
}
