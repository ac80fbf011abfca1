//! `StorageManager`: which contents leave the stores, and whether database and stores agree.
//!
//! How a content is removed, so that none is lost: its copies are set aside in the stores; [`StorageManager::forget`] looks
//! whether any artifact has it, in a transaction that begins after that, and deletes its rows if not; then the copies are
//! put back or discarded. An upload of the same content meanwhile either finds no copy and brings its own, or has found
//! the copy before it was set aside. In the latter case its artifact was there before, so `forget` sees it. A crash before
//! `forget` leaves rows and copies aside, one after it copies aside only: `vacuum` decides about both once more.

use std::collections::BTreeSet;

use sea_orm::sea_query::{LockType, OnConflict, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::json;

use crate::artifact::File;
use crate::database::transact;
use crate::entity::{file, file_in_artifact, file_in_store};
use crate::{Database, Result};

pub use file_in_store::Model as FileInStore;

/// Rows in one statement or transaction, as for expiry.
const BATCH: usize = crate::expiry::BATCH;

/// Looks after files and stores.
#[derive(Clone, Copy)]
pub struct StorageManager<'a>(pub &'a Database);

/// A content, as stores know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// Bytes.
    pub size: u64,
}

impl Content {
    /// The content of a row; `None` if the row is not one of a content (the schema forbids that).
    pub fn of(row: &File) -> Option<Self> {
        let sha256 = row.sha256.as_slice().try_into().ok()?;
        Some(Self { sha256, size: u64::try_from(row.size).ok()? })
    }
}

impl StorageManager<'_> {
    /// Forgets those of these contents that no artifact has, and which stores have them. Returns those that some artifact
    /// has: they must stay.
    pub async fn forget(&self, contents: &[Content]) -> Result<BTreeSet<Content>> {
        let mut stay = BTreeSet::new();
        for batch in contents.chunks(BATCH) {
            let used: BTreeSet<Content> = transact!(self.0, tx => {
                let connection = tx.connection();
                // Locked first: whoever makes an artifact with one of them has done so, or will find it gone.
                let rows = find(connection, batch, Some(LockType::Update)).await?;
                let unused = unused(connection, &rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
                file_in_store::Entity::delete_many()
                    .filter(file_in_store::Column::FileId.is_in(unused.iter().copied()))
                    .exec(connection)
                    .await?;
                file::Entity::delete_many()
                    .filter(file::Column::Id.is_in(unused.iter().copied()))
                    .exec(connection)
                    .await?;
                Ok(rows.iter().filter(|row| !unused.contains(&row.id)).filter_map(Content::of).collect())
            })?;
            stay.extend(used);
        }
        Ok(stay)
    }

    /// Those of these contents of which the database knows.
    pub async fn known(&self, contents: &[Content]) -> Result<BTreeSet<Content>> {
        let mut known = BTreeSet::new();
        for batch in contents.chunks(BATCH) {
            known.extend(find(self.0.reader(), batch, None).await?.iter().filter_map(Content::of));
        }
        Ok(known)
    }

    /// What a store has, as the database says: by id after `after`, at most a batch.
    pub async fn stored(&self, store_id: i64, after: i64) -> Result<Vec<(FileInStore, File)>> {
        let rows = file_in_store::Entity::find()
            .find_also_related(file::Entity)
            .filter(file_in_store::Column::StoreId.eq(store_id))
            .filter(file_in_store::Column::Id.gt(after))
            .order_by_asc(file_in_store::Column::Id)
            .limit(BATCH as u64)
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().filter_map(|(row, content)| Some((row, content?))).collect())
    }

    /// Contents that are complete in some artifact, and that no store has as far as the database knows: by id after
    /// `after`, at most a batch. Empty files are in no store.
    pub async fn unstored(&self, after: i64) -> Result<Vec<File>> {
        let complete = Query::select()
            .column(file_in_artifact::Column::FileId)
            .from(file_in_artifact::Entity)
            .and_where(file_in_artifact::Column::Complete.eq(true))
            .to_owned();
        let stored = Query::select().column(file_in_store::Column::FileId).from(file_in_store::Entity).to_owned();
        Ok(file::Entity::find()
            .filter(file::Column::Id.gt(after))
            .filter(file::Column::Size.gt(0))
            .filter(file::Column::Id.in_subquery(complete))
            .filter(file::Column::Id.not_in_subquery(stored))
            .order_by_asc(file::Column::Id)
            .limit(BATCH as u64)
            .all(self.0.reader())
            .await?)
    }

    /// Notes that a store has a content. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`crate::Error::Integrity`] if one of them does not exist.
    pub async fn note_stored(&self, store_id: i64, file_id: i64) -> Result<()> {
        transact!(self.0, tx => { note_stored(tx.connection(), store_id, file_id).await })
    }

    /// Notes that a store does not have a content; false if that is known.
    pub async fn note_missing(&self, row: &FileInStore) -> Result<bool> {
        transact!(self.0, tx => {
            let deleted = file_in_store::Entity::delete_by_id(row.id).exec(tx.connection()).await?;
            Ok(deleted.rows_affected == 1)
        })
    }
}

pub(crate) async fn note_stored(connection: &impl ConnectionTrait, store_id: i64, file_id: i64) -> Result<()> {
    let row =
        file_in_store::ActiveModel { id: NotSet, store_id: Set(store_id), file_id: Set(file_id), data: Set(json!({})) };
    file_in_store::Entity::insert(row)
        .on_conflict(
            OnConflict::columns([file_in_store::Column::StoreId, file_in_store::Column::FileId])
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// The rows of these contents, in the order in which everybody locks them.
async fn find(connection: &impl ConnectionTrait, batch: &[Content], lock: Option<LockType>) -> Result<Vec<File>> {
    let mut query = file::Entity::find()
        .filter(file::Column::Sha256.is_in(batch.iter().map(|content| content.sha256.to_vec())))
        .order_by_asc(file::Column::Id);
    if let Some(lock) = lock {
        query = query.lock(lock);
    }
    let wanted: BTreeSet<&Content> = batch.iter().collect();
    let rows = query.all(connection).await?;
    Ok(rows.into_iter().filter(|row| Content::of(row).is_some_and(|content| wanted.contains(&content))).collect())
}

/// Those of these contents that no artifact has, at most a batch.
pub(crate) async fn unused(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<BTreeSet<i64>> {
    let used: Vec<i64> = file_in_artifact::Entity::find()
        .select_only()
        .column(file_in_artifact::Column::FileId)
        .distinct()
        .filter(file_in_artifact::Column::FileId.is_in(ids.iter().copied()))
        .into_tuple()
        .all(connection)
        .await?;
    let used = BTreeSet::from_iter(used);
    Ok(ids.iter().copied().filter(|id| !used.contains(id)).collect())
}
