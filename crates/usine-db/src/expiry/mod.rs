//! `ExpiryManager`: finding what has expired, and deleting it in small batches.
//!
//! Whatever is found with reading statements is looked at once more, locked, in the transaction that deletes it. So a long
//! expiry blocks nobody, and nothing goes that somebody has begun to need in between.

mod artifacts;
mod due;
mod work_requests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use usine_model::expiry;

use crate::database::transact;
use crate::entity::{token, worker, workspace};
use crate::{Database, Result, TokenManager};

pub use artifacts::{Deleted, Marked, Needed};
pub use due::Due;

/// Rows that are looked at, locked and deleted in one transaction: few enough that a writer who waits for it does not
/// notice, many enough that a batch is not mostly its commit.
pub const BATCH: usize = 200;

/// The condition of work requests that have not ended, as the partial index `work_request_unended` has it.
const UNENDED: &str = "status IN ('blocked', 'pending', 'running')";

/// Finds and deletes what has expired.
#[derive(Clone, Copy)]
pub struct ExpiryManager<'a>(pub &'a Database);

impl ExpiryManager<'_> {
    /// Tokens that have expired and that no worker has, after the one with this id; at most a batch.
    pub async fn expired_tokens(&self, now: DateTime<Utc>, after: i64) -> Result<Vec<i64>> {
        Ok(TokenManager(self.0)
            .expired(now)
            .select_only()
            .column(token::Column::Id)
            .filter(token::Column::Id.gt(after))
            .filter(token::Column::Id.not_in_subquery(of_workers(worker::Column::TokenId)))
            .filter(token::Column::Id.not_in_subquery(of_workers(worker::Column::ActivationTokenId)))
            .order_by_asc(token::Column::Id)
            .limit(BATCH as u64)
            .into_tuple()
            .all(self.0.reader())
            .await?)
    }

    /// Deletes those of these tokens that have expired still, and that no worker has; returns how many.
    pub async fn delete_tokens(&self, ids: &[i64], now: DateTime<Utc>) -> Result<u64> {
        transact!(self.0, tx => {
            let deleted = token::Entity::delete_many()
                .filter(token::Column::Id.is_in(ids.iter().copied()))
                .filter(token::Column::ExpireAt.lt(now))
                .filter(token::Column::Id.not_in_subquery(of_workers(worker::Column::TokenId)))
                .filter(token::Column::Id.not_in_subquery(of_workers(worker::Column::ActivationTokenId)))
                .exec(tx.connection())
                .await?;
            Ok(deleted.rows_affected)
        })
    }
}

/// The tokens that workers have in this column.
fn of_workers(column: worker::Column) -> sea_orm::sea_query::SelectStatement {
    Query::select().column(column).from(worker::Entity).and_where(column.is_not_null()).to_owned()
}

/// The delays of workspaces, for what has none of its own.
struct Delays(BTreeMap<i64, i64>);

impl Delays {
    async fn read(connection: &impl ConnectionTrait, workspaces: BTreeSet<i64>) -> Result<Self> {
        let rows: Vec<(i64, i64)> = workspace::Entity::find()
            .select_only()
            .column(workspace::Column::Id)
            .column(workspace::Column::DefaultExpirationDelay)
            .filter(workspace::Column::Id.is_in(workspaces))
            .into_tuple()
            .all(connection)
            .await?;
        Ok(Self(rows.into_iter().collect()))
    }

    /// Whether something of a workspace has expired.
    fn has_expired(&self, workspace_id: i64, created_at: DateTime<Utc>, own: Option<i64>, now: DateTime<Utc>) -> bool {
        let delay = own.or_else(|| self.0.get(&workspace_id).copied()).unwrap_or(0);
        expiry::expire_at(created_at, delay).is_some_and(|at| at <= now)
    }
}
