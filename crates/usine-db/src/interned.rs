//! What many rows share is written once, and known by its id: what work requests ask of workers, and their lanes in the queue.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, Select, Set};
use serde_json::json;
use sha2::{Digest, Sha256};
use usine_model::matching::RequirementSet;

use crate::database::WriteTransaction;
use crate::entity::{lane, requirement_set};
use crate::{Error, Result};

/// Most ids that are remembered.
const MOST: usize = 100_000;

/// The place of work requests in the queue that are alike to the scheduler: what they ask of workers, and whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LaneKey {
    pub(crate) requirement_set_id: i64,
    pub(crate) workspace_id: i64,
    pub(crate) created_by_id: i64,
}

/// Ids that have been looked up: they never change, and are never deleted.
#[derive(Default)]
pub(crate) struct Interned {
    sets: Mutex<HashMap<RequirementSet, i64>>,
    lanes: Mutex<HashMap<LaneKey, i64>>,
}

/// What a transaction has found or written. It may yet be rolled back: this is remembered when it has committed.
#[derive(Default)]
pub(crate) struct Learned {
    sets: Vec<(RequirementSet, i64)>,
    lanes: Vec<(LaneKey, i64)>,
}

impl Interned {
    /// Remembers what a transaction has learned.
    pub(crate) fn learn(&self, learned: Learned) {
        remember(&self.sets, learned.sets);
        remember(&self.lanes, learned.lanes);
    }
}

fn remember<K: Hash + Eq>(known: &Mutex<HashMap<K, i64>>, learned: Vec<(K, i64)>) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MOST {
        known.clear();
    }
    known.extend(learned);
}

fn remembered<K: Hash + Eq>(known: &Mutex<HashMap<K, i64>>, key: &K) -> Option<i64> {
    known.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
}

/// The id of a requirement set, which is written if it is new.
pub(crate) async fn requirement_set(tx: &WriteTransaction, set: RequirementSet) -> Result<i64> {
    if let Some(id) = remembered(&tx.interned().sets, &set) {
        return Ok(id);
    }
    let definition = json!(set);
    let digest = hex::encode(Sha256::digest(definition.to_string().as_bytes()));
    let rows = requirement_set::Entity::find().filter(requirement_set::Column::Digest.eq(digest.clone()));
    let row = requirement_set::ActiveModel { id: NotSet, digest: Set(digest), definition: Set(definition) };
    let id = find_or_insert(tx, rows, row, &[requirement_set::Column::Digest]).await?.id;
    tx.learn(|learned| learned.sets.push((set, id)));
    Ok(id)
}

/// The id of a lane, which is written if it is new.
pub(crate) async fn lane(tx: &WriteTransaction, key: LaneKey) -> Result<i64> {
    use lane::Column;
    if let Some(id) = remembered(&tx.interned().lanes, &key) {
        return Ok(id);
    }
    let rows = lane::Entity::find()
        .filter(Column::RequirementSetId.eq(key.requirement_set_id))
        .filter(Column::WorkspaceId.eq(key.workspace_id))
        .filter(Column::CreatedById.eq(key.created_by_id));
    let row = lane::ActiveModel {
        id: NotSet,
        requirement_set_id: Set(key.requirement_set_id),
        workspace_id: Set(key.workspace_id),
        created_by_id: Set(key.created_by_id),
    };
    let unique = [Column::RequirementSetId, Column::WorkspaceId, Column::CreatedById];
    let id = find_or_insert(tx, rows, row, &unique).await?.id;
    tx.learn(|learned| learned.lanes.push((key, id)));
    Ok(id)
}

async fn find_or_insert<A>(
    tx: &WriteTransaction,
    rows: Select<A::Entity>,
    row: A,
    unique: &[<A::Entity as EntityTrait>::Column],
) -> Result<<A::Entity as EntityTrait>::Model>
where
    A: ActiveModelTrait,
{
    if let Some(found) = rows.clone().one(tx.connection()).await? {
        return Ok(found);
    }
    // Somebody else may write it at this moment.
    let not_twice = OnConflict::columns(unique.iter().copied()).do_nothing().to_owned();
    A::Entity::insert(row).on_conflict(not_twice).exec_without_returning(tx.connection()).await?;
    let found = rows.one(tx.connection()).await?;
    found.ok_or_else(|| Error::Invalid("a row that was just written is not there".to_owned()))
}
