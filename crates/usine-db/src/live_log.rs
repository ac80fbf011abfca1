//! `LiveLogManager`: live logs, as servers on one database tell each other.
//!
//! A log is a row of bytes; a piece has the place of its first byte. That no two pieces begin at one place keeps two servers
//! from going on with one log at the same time: the second one is refused, and looks what the first one has written.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use crate::database::transact;
use crate::entity::live_log_piece::{self, Column};
use crate::{Database, Error, Result};

pub use live_log_piece::Model as LogPiece;

/// Reads and writes pieces.
#[derive(Clone, Copy)]
pub struct LiveLogManager<'a>(pub &'a Database);

impl LiveLogManager<'_> {
    /// Adds bytes at a place; none mark the end of the log, and give way to what comes after all. False if something else
    /// begins there, or there is no such work request any more.
    pub async fn add(&self, work_request: i64, begin: u64, data: &[u8], now: DateTime<Utc>) -> Result<bool> {
        let begin = place(begin)?;
        let added = transact!(self.0, tx => {
            let piece = live_log_piece::ActiveModel {
                work_request_id: Set(work_request),
                begin_at: Set(begin),
                data: Set(data.to_vec()),
                written_at: Set(now),
            };
            let gives_way = OnConflict::columns([Column::WorkRequestId, Column::BeginAt])
                .update_columns([Column::Data, Column::WrittenAt])
                .action_and_where(Expr::cust("length(live_log_piece.data) = 0"))
                .to_owned();
            Ok(live_log_piece::Entity::insert(piece).on_conflict(gives_way).exec_without_returning(tx.connection()).await?)
        });
        match added {
            Ok(rows) => Ok(rows > 0),
            Err(Error::Integrity(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The pieces from a place on, in order, at most `limit`.
    pub async fn pieces(&self, work_request: i64, from: u64, limit: u64) -> Result<Vec<LogPiece>> {
        let pieces = live_log_piece::Entity::find()
            .filter(Column::WorkRequestId.eq(work_request))
            .filter(Column::BeginAt.gte(place(from)?))
            .order_by_asc(Column::BeginAt)
            .limit(limit);
        Ok(pieces.all(self.0.reader()).await?)
    }

    /// How long each of these logs is; those without pieces are left out.
    pub async fn lengths(&self, work_requests: &[i64]) -> Result<HashMap<i64, u64>> {
        let rows: Vec<(i64, i64)> = live_log_piece::Entity::find()
            .select_only()
            .column(Column::WorkRequestId)
            .column_as(Expr::cust("MAX(begin_at + length(data))"), "length")
            .filter(Column::WorkRequestId.is_in(work_requests.iter().copied()))
            .group_by(Column::WorkRequestId)
            .into_tuple()
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().map(|(id, length)| (id, length.unsigned_abs())).collect())
    }

    /// Whether there is any piece at all.
    pub async fn any(&self) -> Result<bool> {
        Ok(live_log_piece::Entity::find().one(self.0.reader()).await?.is_some())
    }

    /// When the log of a work request was last written to, if it has pieces.
    pub async fn last_written(&self, work_request: i64) -> Result<Option<DateTime<Utc>>> {
        let last: Option<DateTime<Utc>> = live_log_piece::Entity::find()
            .select_only()
            .column(Column::WrittenAt)
            .filter(Column::WorkRequestId.eq(work_request))
            .order_by_desc(Column::BeginAt)
            .into_tuple()
            .one(self.0.reader())
            .await?;
        Ok(last)
    }

    /// Deletes the logs that nobody has written to since `before`; returns how many pieces they had.
    pub async fn forget(&self, before: DateTime<Utc>) -> Result<u64> {
        transact!(self.0, tx => {
            let old = Query::select()
                .column(Column::WorkRequestId)
                .from(live_log_piece::Entity)
                .group_by_col(Column::WorkRequestId)
                .and_having(Expr::col(Column::WrittenAt).max().lt(before))
                .to_owned();
            let deleted = live_log_piece::Entity::delete_many()
                .filter(Column::WorkRequestId.in_subquery(old))
                .exec(tx.connection())
                .await?;
            Ok(deleted.rows_affected)
        })
    }
}

fn place(at: u64) -> Result<i64> {
    i64::try_from(at).map_err(|_| Error::Invalid(format!("a live log of {at} bytes is too long")))
}
