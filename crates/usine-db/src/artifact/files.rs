//! Contents by hash and size, and which store has them.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::sea_query::{LockType, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait, Set,
};
use usine_model::artifact::ArtifactPath;

use super::{ArtifactManager, BATCH, File, FileInArtifact, FileStore, NewFile};
use crate::database::transact;
use crate::entity::{artifact, file, file_in_artifact, file_in_store, file_store};
use crate::{Error, Result};

/// How often rows are looked for again that upkeep removed between being found and being locked.
const MAX_TRIES: u32 = 5;

impl ArtifactManager<'_> {
    /// The files of an artifact, by path.
    pub async fn files(&self, artifact_id: i64) -> Result<Vec<(FileInArtifact, File)>> {
        Ok(self.with_files(&[artifact_id]).await?.remove(&artifact_id).unwrap_or_default())
    }

    /// The files of each of these artifacts, by path; artifacts without files are left out.
    pub async fn with_files(&self, ids: &[i64]) -> Result<HashMap<i64, Vec<(FileInArtifact, File)>>> {
        let mut files: HashMap<i64, Vec<_>> = HashMap::new();
        for ids in ids.chunks(BATCH) {
            let rows = file_in_artifact::Entity::find()
                .find_also_related(file::Entity)
                .filter(file_in_artifact::Column::ArtifactId.is_in(ids.iter().copied()))
                .all(self.0.reader())
                .await?;
            for (entry, content) in rows {
                let content = content.ok_or_else(|| without_content(&entry))?;
                files.entry(entry.artifact_id).or_default().push((entry, content));
            }
        }
        // Not in the database: each engine and locale has its own order of text.
        for list in files.values_mut() {
            list.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        }
        Ok(files)
    }

    /// The file under this path of an artifact, if there is one.
    pub async fn file(&self, artifact_id: i64, path: &str) -> Result<Option<(FileInArtifact, File)>> {
        // No file has such a path, and PostgreSQL would not even take all of them as text.
        if path.parse::<ArtifactPath>().is_err() {
            return Ok(None);
        }
        let row = file_in_artifact::Entity::find()
            .find_also_related(file::Entity)
            .filter(file_in_artifact::Column::ArtifactId.eq(artifact_id))
            .filter(file_in_artifact::Column::Path.eq(path))
            .one(self.0.reader())
            .await?;
        row.map(|(entry, content)| {
            let content = content.ok_or_else(|| without_content(&entry))?;
            Ok((entry, content))
        })
        .transpose()
    }

    /// All file stores, oldest first.
    pub async fn stores(&self) -> Result<Vec<FileStore>> {
        Ok(file_store::Entity::find().order_by_asc(file_store::Column::Id).all(self.0.reader()).await?)
    }

    /// The store that new files go to: the oldest that all scopes may use.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`] if there is none.
    pub async fn default_store(&self) -> Result<FileStore> {
        file_store::Entity::find()
            .filter(file_store::Column::InstanceWide.eq(true))
            .order_by_asc(file_store::Column::Id)
            .one(self.0.reader())
            .await?
            .ok_or_else(|| Error::does_not_exist("file store", "for all scopes"))
    }

    /// Says what the default store is. As long as it has no files, it may become another one.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its files are elsewhere.
    pub async fn claim_default_store(&self, backend: &str, configuration: serde_json::Value) -> Result<()> {
        let store = self.default_store().await?;
        if store.backend == backend && store.configuration == configuration {
            return Ok(());
        }
        transact!(self.0, tx => {
            let connection = tx.connection();
            let files = file_in_store::Entity::find().filter(file_in_store::Column::StoreId.eq(store.id));
            if files.one(connection).await?.is_some() {
                let place = |backend: &str, configuration: &serde_json::Value| match configuration["place"].as_str() {
                    Some(place) => format!("{backend} {place}"),
                    None => format!("{backend} (in the data directory)"),
                };
                let (old, new) = (place(&store.backend, &store.configuration), place(backend, &configuration));
                return Err(Error::Invalid(format!(
                    "the files of this database are in the store {old}, and the configuration names {new}; correct it, \
                     or move the files first"
                )));
            }
            file_store::Entity::update_many()
                .col_expr(file_store::Column::Backend, backend.into())
                .col_expr(file_store::Column::Configuration, configuration.clone().into())
                .filter(file_store::Column::Id.eq(store.id))
                .exec(connection)
                .await?;
            Ok(())
        })
    }

    /// Whether some store has this content.
    pub async fn is_in_store(&self, file_id: i64) -> Result<bool> {
        let rows = file_in_store::Entity::find().filter(file_in_store::Column::FileId.eq(file_id));
        Ok(rows.count(self.0.reader()).await? > 0)
    }

    /// Contents that no artifact has, by id after `after`, at most `limit`: upkeep takes them out of the stores.
    pub async fn orphan_files(&self, after: i64, limit: u64) -> Result<Vec<File>> {
        Ok(file::Entity::find()
            .join(JoinType::LeftJoin, file_in_artifact::Relation::File.def().rev())
            .filter(file_in_artifact::Column::Id.is_null())
            .filter(file::Column::Id.gt(after))
            .order_by_asc(file::Column::Id)
            .limit(limit)
            .all(self.0.reader())
            .await?)
    }
}

fn without_content(entry: &FileInArtifact) -> Error {
    Error::Inconsistent {
        table: "file_in_artifact",
        id: entry.id,
        column: "file_id",
        problem: format!("there is no file {}", entry.file_id),
    }
}

/// Ids of the contents of `files`, in their order; rows that are missing are made.
///
/// They are locked against removal: upkeep may be taking away what no artifact has, and these have none yet.
pub(super) async fn find_or_make(connection: &impl ConnectionTrait, files: &[NewFile]) -> Result<Vec<i64>> {
    // Sorted, so that two transactions make the rows they share in the same order.
    let wanted = files.iter().map(key).collect::<Result<BTreeSet<_>>>()?;
    let mut known = HashMap::new();
    for _ in 0..MAX_TRIES {
        let missing: Vec<_> = wanted.iter().filter(|key| !known.contains_key(*key)).cloned().collect();
        for batch in missing.chunks(BATCH) {
            make_missing(connection, batch).await?;
            known.extend(lock(connection, batch).await?);
        }
        let ids: Option<Vec<_>> =
            files.iter().map(|file| Ok(known.get(&key(file)?).copied())).collect::<Result<_>>()?;
        if let Some(ids) = ids {
            return Ok(ids);
        }
    }
    Err(Error::Invalid("the same files are being removed all the time; try again later".to_owned()))
}

type Key = (Vec<u8>, i64);

fn key(file: &NewFile) -> Result<Key> {
    let size = i64::try_from(file.size)
        .map_err(|_| Error::Invalid(format!("file {} of {} bytes is too large", file.path, file.size)))?;
    Ok((file.sha256.to_vec(), size))
}

async fn make_missing(connection: &impl ConnectionTrait, keys: &[Key]) -> Result<()> {
    let rows = keys.iter().map(|(sha256, size)| file::ActiveModel {
        id: NotSet,
        sha256: Set(sha256.clone()),
        size: Set(*size),
    });
    file::Entity::insert_many(rows)
        .on_conflict(OnConflict::columns([file::Column::Sha256, file::Column::Size]).do_nothing().to_owned())
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

async fn lock(connection: &impl ConnectionTrait, keys: &[Key]) -> Result<Vec<(Key, i64)>> {
    let rows = file::Entity::find()
        .filter(file::Column::Sha256.is_in(keys.iter().map(|(sha256, _)| sha256.clone())))
        .order_by_asc(file::Column::Id)
        .lock(LockType::KeyShare)
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| ((row.sha256, row.size), row.id)).collect())
}

/// Which of these contents are in a store and complete in some artifact of the workspace.
pub(super) async fn available_in(
    connection: &impl ConnectionTrait,
    workspace_id: i64,
    file_ids: &[i64],
) -> Result<HashSet<i64>> {
    let mut available = HashSet::new();
    for ids in file_ids.chunks(BATCH) {
        let stored = Query::select().column(file_in_store::Column::FileId).from(file_in_store::Entity).to_owned();
        let found: Vec<i64> = file_in_artifact::Entity::find()
            .select_only()
            .column(file_in_artifact::Column::FileId)
            .distinct()
            .join(JoinType::InnerJoin, file_in_artifact::Relation::Artifact.def())
            .filter(artifact::Column::WorkspaceId.eq(workspace_id))
            .filter(file_in_artifact::Column::Complete.eq(true))
            .filter(file_in_artifact::Column::FileId.is_in(ids.iter().copied()))
            .filter(file_in_artifact::Column::FileId.in_subquery(stored))
            .into_tuple()
            .all(connection)
            .await?;
        available.extend(found);
    }
    Ok(available)
}
