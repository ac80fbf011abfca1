//! Which work requests go. A workflow goes as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use usine_model::work_request::Statuses;

use super::{BATCH, Delays, ExpiryManager, UNENDED};
use crate::database::transact;
use crate::entity::{token, work_request};
use crate::{Result, Text};

/// What expiry must know of a work request.
#[derive(Debug, FromQueryResult)]
struct Member {
    id: i64,
    workflow_root_id: Option<i64>,
    workspace_id: i64,
    created_at: DateTime<Utc>,
    expiration_delay: Option<i64>,
    status: Text<Statuses>,
}

impl Member {
    fn root(&self) -> i64 {
        self.workflow_root_id.unwrap_or(self.id)
    }
}

impl ExpiryManager<'_> {
    /// Of the workflows to which these work requests belong, those that have expired as a whole: the ids of all that
    /// belong to them. A work request without workflow is one by itself. Kept are workflows with anything that has not
    /// expired or not ended, or that something replaces which has not ended.
    pub async fn expired_work_requests(&self, candidates: &[i64], now: DateTime<Utc>) -> Result<Vec<i64>> {
        expired(self.0.reader(), candidates, now, false).await
    }

    /// Deletes what [`Self::expired_work_requests`] finds now, with attempts and events; returns the ids. Artifacts stay,
    /// and forget who made them.
    pub async fn delete_work_requests(&self, candidates: &[i64], now: DateTime<Utc>) -> Result<Vec<i64>> {
        transact!(self.0, tx => {
            let connection = tx.connection();
            let ids = expired(connection, candidates, now, true).await?;
            for batch in ids.chunks(BATCH) {
                token::Entity::delete_many()
                    .filter(token::Column::WorkRequestId.is_in(batch.iter().copied()))
                    .exec(connection)
                    .await?;
            }
            for batch in ids.chunks(BATCH) {
                work_request::Entity::delete_many()
                    .filter(work_request::Column::Id.is_in(batch.iter().copied()))
                    .filter(Expr::cust(UNENDED).not())
                    .exec(connection)
                    .await?;
            }
            Ok(ids)
        })
    }
}

async fn expired(
    connection: &impl ConnectionTrait,
    candidates: &[i64],
    now: DateTime<Utc>,
    lock: bool,
) -> Result<Vec<i64>> {
    let found = members(connection, work_request::Column::Id, candidates, false).await?;
    let roots: BTreeSet<i64> = found.iter().map(Member::root).collect();
    let roots = Vec::from_iter(roots);
    // Roots first: nothing is added to a workflow whose root is locked.
    let mut all = members(connection, work_request::Column::Id, &roots, lock).await?;
    all.extend(members(connection, work_request::Column::WorkflowRootId, &roots, lock).await?);
    // A root that is its own is there twice.
    let all: BTreeMap<i64, Member> = all.into_iter().map(|member| (member.id, member)).collect();

    let ids = Vec::from_iter(all.keys().copied());
    let mut replaced = BTreeSet::new();
    for ids in ids.chunks(BATCH) {
        replaced.extend(being_replaced(connection, ids).await?);
    }
    let delays = Delays::read(connection, all.values().map(|member| member.workspace_id).collect()).await?;
    let stays = |member: &Member| {
        !member.status.is_terminal()
            || replaced.contains(&member.id)
            || !delays.has_expired(member.workspace_id, member.created_at, member.expiration_delay, now)
    };
    let staying: BTreeSet<i64> = all.values().filter(|member| stays(member)).map(Member::root).collect();
    Ok(all.into_values().filter(|member| !staying.contains(&member.root())).map(|member| member.id).collect())
}

async fn members(
    connection: &impl ConnectionTrait,
    column: work_request::Column,
    ids: &[i64],
    lock: bool,
) -> Result<Vec<Member>> {
    Ok(work_request::Entity::find()
        .select_only()
        .columns([
            work_request::Column::Id,
            work_request::Column::WorkflowRootId,
            work_request::Column::WorkspaceId,
            work_request::Column::CreatedAt,
            work_request::Column::ExpirationDelay,
            work_request::Column::Status,
        ])
        .filter(column.is_in(ids.iter().copied()))
        .order_by_asc(work_request::Column::Id)
        .apply_if(lock.then_some(()), |query, ()| query.lock_exclusive())
        .into_model()
        .all(connection)
        .await?)
}

/// Those of these that are replaced by one that has not ended: it still asks what it replaces.
async fn being_replaced(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<i64>> {
    Ok(work_request::Entity::find()
        .select_only()
        .column(work_request::Column::SupersedesId)
        .filter(work_request::Column::SupersedesId.is_in(ids.iter().copied()))
        .filter(Expr::cust(UNENDED))
        .into_tuple()
        .all(connection)
        .await?)
}
