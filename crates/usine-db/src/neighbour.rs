//! The row before or after another in the order of a time, ties broken by id.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{ExprTrait, Order};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use crate::{Database, Error, Result};

/// A place in the order of a time column.
pub(crate) struct Place<E: EntityTrait> {
    pub(crate) kind: &'static str,
    pub(crate) time: E::Column,
    pub(crate) id: E::Column,
    pub(crate) at: (DateTime<Utc>, i64),
}

impl<E: EntityTrait> Place<E> {
    /// The neighbour after (`next`) or before this place, or "does not exist".
    pub(crate) async fn neighbour(self, database: &Database, next: bool) -> Result<E::Model> {
        let (at, id) = self.at;
        let tie = self.time.eq(at);
        let (beyond, order) = if next {
            (self.time.gt(at).or(tie.and(self.id.gt(id))), Order::Asc)
        } else {
            (self.time.lt(at).or(tie.and(self.id.lt(id))), Order::Desc)
        };
        E::find()
            .filter(beyond)
            .order_by(self.time, order.clone())
            .order_by(self.id, order)
            .one(database.reader())
            .await?
            .ok_or_else(|| Error::does_not_exist(self.kind, format!("beside {id}")))
    }
}
