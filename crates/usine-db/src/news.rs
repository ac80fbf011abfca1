//! `EventManager`: events that other processes have written. What this process writes, it publishes by itself.

use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use crate::entity::event;
use crate::{Database, Result};

pub use event::Model as Event;

/// Reads events.
#[derive(Clone, Copy)]
pub struct EventManager<'a>(pub &'a Database);

impl EventManager<'_> {
    /// The id of the newest event; 0 if there is none.
    pub async fn newest(&self) -> Result<i64> {
        let newest: Option<i64> = event::Entity::find()
            .select_only()
            .column(event::Column::Id)
            .order_by_desc(event::Column::Id)
            .into_tuple()
            .one(self.0.reader())
            .await?;
        Ok(newest.unwrap_or(0))
    }

    /// Those of others after `after`, by id, at most `limit`.
    pub async fn foreign(&self, after: i64, limit: u64) -> Result<Vec<Event>> {
        Ok(self.others(after).limit(limit).all(self.0.reader()).await?)
    }

    /// The ids of those of others after `after` up to `upto`.
    pub async fn foreign_ids(&self, after: i64, upto: i64) -> Result<Vec<i64>> {
        let ids = self.others(after).filter(event::Column::Id.lte(upto)).select_only().column(event::Column::Id);
        Ok(ids.into_tuple().all(self.0.reader()).await?)
    }

    /// The events with these ids, by id.
    pub async fn with_ids(&self, ids: &[i64]) -> Result<Vec<Event>> {
        let rows = event::Entity::find().filter(event::Column::Id.is_in(ids.iter().copied()));
        Ok(rows.order_by_asc(event::Column::Id).all(self.0.reader()).await?)
    }

    fn others(&self, after: i64) -> Select<event::Entity> {
        let origin = event::Column::Origin;
        let foreign = match self.0.server() {
            Some(own) => Condition::any().add(origin.is_null()).add(origin.ne(own)),
            None => Condition::all(),
        };
        event::Entity::find().filter(event::Column::Id.gt(after)).filter(foreign).order_by_asc(event::Column::Id)
    }
}
