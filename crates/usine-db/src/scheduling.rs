//! The scheduler's view of the database: requirement sets, and the head of the queue of each.
//!
//! The cost of finding the next work request depends on the number of distinct requirement sets, not on the length of
//! the queue: each set's first one is the first entry of a partial index.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IdenStatic, Iterable, QueryFilter, QueryOrder,
    Statement,
};
use usine_model::matching::RequirementSet;

use crate::entity::{requirement_set, work_request};
use crate::work_request::WorkRequest;
use crate::{Database, Error, Result};

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

    /// The first free pending work request of any of these sets, in the order of the queue, leaving some out.
    pub async fn head(&self, sets: &[i64], except: &[i64]) -> Result<Option<WorkRequest>> {
        if sets.is_empty() {
            return Ok(None);
        }
        let row = self.0.reader().query_one_raw(self.head_statement(sets, except)).await?;
        Ok(row.map(|row| work_request::Model::from_query_result(&row, "")).transpose()?)
    }

    /// What [`QueueManager::head`] asks the database, for whoever wants to have it explained. `sets` is not empty.
    ///
    /// The status is written out in the statement, not bound: only then do both engines use the partial index.
    pub fn head_statement(&self, sets: &[i64], except: &[i64]) -> Statement {
        let list = |ids: &[i64]| ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let not_these = if except.is_empty() { String::new() } else { format!("AND q.id NOT IN ({})", list(except)) };
        // Not `w.*`: PostgreSQL refuses a prepared one when the next version's migration adds a column.
        let columns: Vec<String> =
            work_request::Column::iter().map(|column| format!("w.{}", column.as_str())).collect();
        let sql = format!(
            "SELECT {} FROM work_request w WHERE w.id IN (\
               SELECT (SELECT q.id FROM work_request q \
                       WHERE q.requirement_set_id = r.id AND q.status = 'pending' AND q.worker_id IS NULL {not_these} \
                       ORDER BY (q.priority_base + q.priority_adjustment) DESC, q.created_at, q.id LIMIT 1) \
               FROM requirement_set r WHERE r.id IN ({})) \
             ORDER BY (w.priority_base + w.priority_adjustment) DESC, w.created_at, w.id LIMIT 1",
            columns.join(", "),
            list(sets),
        );
        Statement::from_string(self.0.backend(), sql)
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
             WHERE w.id = {} AND q.requirement_set_id IN ({list}) AND q.status = 'pending' AND q.worker_id IS NULL \
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
