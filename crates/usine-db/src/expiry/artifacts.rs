//! Which artifacts go: mark, with reading statements; then sweep, where each one is looked at once more.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, JoinType, QueryFilter,
    QueryOrder, QuerySelect, RelationTrait, Statement,
};
use usine_model::artifact::RelationType;
use usine_model::expiry::{Relation, groups, kept};
use usine_model::work_request::Statuses;

use super::{BATCH, Delays, ExpiryManager, UNENDED};
use crate::artifact::{ArtifactManager, File};
use crate::database::transact;
use crate::entity::{artifact, artifact_relation, file, file_in_artifact, file_upload, work_request};
use crate::storage::unused;
use crate::{Result, Text, WorkRequest};

/// PostgreSQL hands out numbers before the commit, so that a lower one may become visible after a higher one: this many
/// are looked at once more (as by the server's watch on events).
const OVERLAP: i64 = 1000;

/// Artifacts that work requests which have not ended name in their data. Only the caller understands these data: it reads
/// the work requests batch by batch and [notes](Needed::note) what each names.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    artifacts: BTreeSet<i64>,
    /// Work requests that have been read, of the last numbers.
    read: BTreeSet<i64>,
    newest: i64,
}

impl Needed {
    /// This work request has been read, and names these artifacts.
    pub fn note(&mut self, work_request_id: i64, artifacts: impl IntoIterator<Item = i64>) {
        self.artifacts.extend(artifacts);
        self.newest = Ord::max(self.newest, work_request_id);
        self.read.insert(work_request_id);
        self.read = self.read.split_off(&(self.newest - OVERLAP));
    }
}

/// What the mark phase found of some candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Artifacts that may go, in the order of removal: a group goes as a whole, after the groups before it.
    pub groups: Vec<Vec<i64>>,
}

impl Marked {
    /// The groups, as many together as fit in one transaction.
    pub fn batches(&self) -> Vec<Vec<i64>> {
        let mut batches: Vec<Vec<i64>> = Vec::new();
        for group in &self.groups {
            match batches.last_mut() {
                Some(batch) if batch.len() + group.len() <= BATCH => batch.extend(group),
                _ => batches.push(group.clone()),
            }
        }
        batches
    }
}

/// What one transaction deleted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deleted {
    /// The artifacts.
    pub artifacts: Vec<i64>,
    /// Contents that no artifact has any more: they are to leave the stores.
    pub files: Vec<File>,
    /// Names of staged files whose upload is over.
    pub uploads: Vec<String>,
}

/// What expiry must know of an artifact.
#[derive(Debug, FromQueryResult)]
struct Row {
    id: i64,
    workspace_id: i64,
    created_at: DateTime<Utc>,
    expiration_delay: Option<i64>,
    /// Of the work request that made it.
    status: Option<Text<Statuses>>,
}

impl ExpiryManager<'_> {
    /// Work requests that have not ended and of which `needed` does not know yet, at most a batch; empty when it knows
    /// them all.
    pub async fn unread_work_requests(&self, needed: &Needed) -> Result<Vec<WorkRequest>> {
        let ids = unread(self.0.reader(), needed).await?;
        Ok(work_request::Entity::find()
            .filter(work_request::Column::Id.is_in(ids))
            .order_by_asc(work_request::Column::Id)
            .all(self.0.reader())
            .await?)
    }

    /// Which of these artifacts may go, and which others with them. Kept are artifacts that have not expired, that are
    /// needed, that a work request made which has not ended; and what these keep by relations.
    pub async fn mark(&self, candidates: &[i64], needed: &Needed, now: DateTime<Utc>) -> Result<Marked> {
        let mut seen: BTreeSet<i64> = candidates.iter().copied().collect();
        let mut next: Vec<i64> = seen.iter().copied().collect();
        let (mut roots, mut relations) = (BTreeSet::new(), Vec::new());
        // Against the direction in which artifacts keep each other: only what could keep a candidate matters.
        while !next.is_empty() {
            let looked_at = std::mem::take(&mut next);
            for ids in looked_at.chunks(BATCH) {
                let rows = rows(self.0.reader(), ids, None).await?;
                let (open, stay): (Vec<_>, Vec<_>) = split(self.0.reader(), rows, needed, now).await?;
                roots.extend(stay);
                for relation in keepers(self.0.reader(), &open).await? {
                    next.extend([relation.source, relation.target].into_iter().filter(|id| seen.insert(*id)));
                    relations.push(relation);
                }
            }
        }
        let kept = kept(roots, &relations);
        let dead = seen.difference(&kept).copied().collect();
        Ok(Marked { groups: groups(&dead, &relations) })
    }

    /// Deletes those of these artifacts that may go still, with their relations and files. `None` if there is a new work
    /// request that the caller must read first.
    ///
    /// Looked at with everything locked: nobody can relate to these artifacts any more, or submit a work request that
    /// names them. One that somebody else has locked is kept this time, and so is what might be kept by it.
    pub async fn sweep(&self, batch: &[i64], needed: &Needed, now: DateTime<Utc>) -> Result<Option<Deleted>> {
        transact!(self.0, tx => {
            let connection = tx.connection();
            let rows = rows(connection, batch, Some(LockBehavior::SkipLocked)).await?;
            if !unread(connection, needed).await?.is_empty() {
                return Ok(None);
            }
            let locked: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
            let (open, mut roots) = split(connection, rows, needed, now).await?;
            let mut relations = Vec::new();
            for ids in open.chunks(BATCH) {
                relations.extend(keepers(connection, ids).await?);
            }
            let ends = relations.iter().flat_map(|relation| [relation.source, relation.target]);
            roots.extend(ends.filter(|id| !locked.contains(id)));
            let kept = kept(roots, &relations);
            let dead: Vec<i64> = open.into_iter().filter(|id| !kept.contains(id)).collect();
            Ok(Some(delete(connection, dead).await?))
        })
    }

    /// Bytes and number of the contents that only these artifacts have: what would leave the stores with them.
    pub async fn files_only_of(&self, artifacts: &BTreeSet<i64>) -> Result<BTreeMap<i64, i64>> {
        let connection = self.0.reader();
        let all = Vec::from_iter(artifacts.iter().copied());
        let mut sizes = BTreeMap::new();
        for ids in all.chunks(BATCH) {
            let rows: Vec<(i64, i64)> = file::Entity::find()
                .select_only()
                .column(file::Column::Id)
                .column(file::Column::Size)
                .join(JoinType::InnerJoin, file_in_artifact::Relation::File.def().rev())
                .filter(file_in_artifact::Column::ArtifactId.is_in(ids.iter().copied()))
                .into_tuple()
                .all(connection)
                .await?;
            sizes.extend(rows);
        }
        let files: Vec<i64> = sizes.keys().copied().collect();
        for ids in files.chunks(BATCH) {
            let rows: Vec<(i64, i64)> = file_in_artifact::Entity::find()
                .select_only()
                .column(file_in_artifact::Column::FileId)
                .column(file_in_artifact::Column::ArtifactId)
                .filter(file_in_artifact::Column::FileId.is_in(ids.iter().copied()))
                .into_tuple()
                .all(connection)
                .await?;
            for (file, _) in rows.into_iter().filter(|(_, artifact)| !artifacts.contains(artifact)) {
                sizes.remove(&file);
            }
        }
        Ok(sizes)
    }
}

/// Ids of work requests that have not ended and of which `needed` does not know, at most a batch.
async fn unread(connection: &impl ConnectionTrait, needed: &Needed) -> Result<Vec<i64>> {
    let backend = connection.get_database_backend();
    // SQLite would sort all that have not ended, page by page, unless it is told.
    let hint = if backend == DbBackend::Sqlite { "INDEXED BY work_request_unended" } else { "" };
    let after = needed.newest - OVERLAP;
    // Those that are known can be of the last numbers only, so that the batch is never full of them.
    let limit = BATCH + needed.read.len();
    let sql = format!("SELECT id FROM work_request {hint} WHERE {UNENDED} AND id > {after} ORDER BY id LIMIT {limit}");
    let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await?;
    let ids = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<i64>, _>>()?;
    Ok(ids.into_iter().filter(|id| !needed.read.contains(id)).take(BATCH).collect())
}

async fn rows(connection: &impl ConnectionTrait, ids: &[i64], lock: Option<LockBehavior>) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for ids in ids.chunks(BATCH) {
        if let Some(behaviour) = lock {
            // By itself: PostgreSQL locks no rows of an outer join.
            let locked: Vec<i64> = artifact::Entity::find()
                .select_only()
                .column(artifact::Column::Id)
                .filter(artifact::Column::Id.is_in(ids.iter().copied()))
                .order_by_asc(artifact::Column::Id)
                .lock_with_behavior(LockType::Update, behaviour)
                .into_tuple()
                .all(connection)
                .await?;
            all.extend(with_makers(connection, &locked).await?);
        } else {
            all.extend(with_makers(connection, ids).await?);
        }
    }
    Ok(all)
}

async fn with_makers(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<Row>> {
    Ok(artifact::Entity::find()
        .select_only()
        .columns([
            artifact::Column::Id,
            artifact::Column::WorkspaceId,
            artifact::Column::CreatedAt,
            artifact::Column::ExpirationDelay,
        ])
        .column(work_request::Column::Status)
        .join(JoinType::LeftJoin, artifact::Relation::WorkRequest.def())
        .filter(artifact::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(artifact::Column::Id)
        .into_model()
        .all(connection)
        .await?)
}

/// The artifacts that may go as far as they themselves are concerned, and those that stay.
async fn split(
    connection: &impl ConnectionTrait,
    rows: Vec<Row>,
    needed: &Needed,
    now: DateTime<Utc>,
) -> Result<(Vec<i64>, Vec<i64>)> {
    let delays = Delays::read(connection, rows.iter().map(|row| row.workspace_id).collect()).await?;
    let may_go = |row: &Row| {
        delays.has_expired(row.workspace_id, row.created_at, row.expiration_delay, now)
            && !needed.artifacts.contains(&row.id)
            && row.status.is_none_or(|status| status.is_terminal())
    };
    let (open, stay): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(may_go);
    Ok((open.into_iter().map(|row| row.id).collect(), stay.into_iter().map(|row| row.id).collect()))
}

/// The relations through which something else might keep these artifacts.
async fn keepers(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<Relation>> {
    let extends = Condition::all()
        .add(artifact_relation::Column::ArtifactId.is_in(ids.iter().copied()))
        .add(artifact_relation::Column::Type.eq(Text(RelationType::Extends)));
    let rows = artifact_relation::Entity::find()
        .filter(Condition::any().add(artifact_relation::Column::TargetId.is_in(ids.iter().copied())).add(extends))
        .all(connection)
        .await?;
    let relation = |row: artifact_relation::Model| Relation {
        source: row.artifact_id,
        target: row.target_id,
        relation_type: *row.r#type,
    };
    Ok(rows.into_iter().map(relation).collect())
}

/// Deletes locked artifacts with everything that belongs to them.
async fn delete(connection: &impl ConnectionTrait, artifacts: Vec<i64>) -> Result<Deleted> {
    let (mut contents, mut uploads) = (BTreeSet::new(), Vec::new());
    // Relations first, all of them: artifacts of another part of the batch may be at the other end.
    for ids in artifacts.chunks(BATCH) {
        let ids = || ids.iter().copied();
        let either = Condition::any()
            .add(artifact_relation::Column::ArtifactId.is_in(ids()))
            .add(artifact_relation::Column::TargetId.is_in(ids()));
        artifact_relation::Entity::delete_many().filter(either).exec(connection).await?;
    }
    for ids in artifacts.chunks(BATCH) {
        let ids = || ids.iter().copied();
        let entries = file_in_artifact::Entity::find().filter(file_in_artifact::Column::ArtifactId.is_in(ids()));
        let staged: Vec<String> = file_upload::Entity::find()
            .select_only()
            .column(file_upload::Column::Path)
            .join(JoinType::InnerJoin, file_upload::Relation::FileInArtifact.def())
            .filter(file_in_artifact::Column::ArtifactId.is_in(ids()))
            .into_tuple()
            .all(connection)
            .await?;
        uploads.extend(staged);
        let files: Vec<i64> = entries
            .select_only()
            .column(file_in_artifact::Column::FileId)
            .distinct()
            .into_tuple()
            .all(connection)
            .await?;
        contents.extend(files);
        let entries = file_in_artifact::Entity::delete_many().filter(file_in_artifact::Column::ArtifactId.is_in(ids()));
        entries.exec(connection).await?;
        artifact::Entity::delete_many().filter(artifact::Column::Id.is_in(ids())).exec(connection).await?;
    }
    let files = orphans(connection, &Vec::from_iter(contents)).await?;
    Ok(Deleted { artifacts, files, uploads })
}

/// The rows of those of these contents that no artifact has.
async fn orphans(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<File>> {
    let mut orphans = Vec::new();
    for ids in ids.chunks(BATCH) {
        let unused = unused(connection, ids).await?;
        let rows = file::Entity::find().filter(file::Column::Id.is_in(unused)).order_by_asc(file::Column::Id);
        orphans.extend(rows.all(connection).await?);
    }
    Ok(orphans)
}

impl ArtifactManager<'_> {
    /// Artifacts made before `before` of which files are missing that nobody brings: no byte has come since, and the
    /// work request that made them, if any, has ended. By id after `after`, at most a batch.
    pub async fn abandoned(&self, before: DateTime<Utc>, after: i64) -> Result<Vec<i64>> {
        Ok(artifact::Entity::find()
            .select_only()
            .column(artifact::Column::Id)
            .filter(artifact::Column::Id.gt(after))
            .filter(is_abandoned(before))
            .order_by_asc(artifact::Column::Id)
            .limit(BATCH as u64)
            .into_tuple()
            .all(self.0.reader())
            .await?)
    }

    /// Deletes those of these artifacts that are [abandoned](Self::abandoned) still. Nothing can relate to them.
    pub async fn delete_abandoned(&self, ids: &[i64], before: DateTime<Utc>) -> Result<Deleted> {
        transact!(self.0, tx => {
            let connection = tx.connection();
            let locked: Vec<i64> = artifact::Entity::find()
                .select_only()
                .column(artifact::Column::Id)
                .filter(artifact::Column::Id.is_in(ids.iter().copied()))
                .order_by_asc(artifact::Column::Id)
                .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
                .into_tuple()
                .all(connection)
                .await?;
            // Those who bring a file lock its row: then they come after us, and find nothing.
            file_in_artifact::Entity::find()
                .filter(file_in_artifact::Column::ArtifactId.is_in(locked.iter().copied()))
                .order_by_asc(file_in_artifact::Column::Id)
                .lock_exclusive()
                .all(connection)
                .await?;
            let dead: Vec<i64> = artifact::Entity::find()
                .select_only()
                .column(artifact::Column::Id)
                .filter(artifact::Column::Id.is_in(locked))
                .filter(is_abandoned(before))
                .order_by_asc(artifact::Column::Id)
                .into_tuple()
                .all(connection)
                .await?;
            delete(connection, dead).await
        })
    }
}

fn is_abandoned(before: DateTime<Utc>) -> Condition {
    // Written out, not bound: only then do both engines use the partial indexes.
    let missing = "id IN (SELECT artifact_id FROM file_in_artifact WHERE NOT complete)";
    let made_by_unended = format!("created_by_work_request_id IN (SELECT id FROM work_request WHERE {UNENDED})");
    let coming = Query::select()
        .column((file_in_artifact::Entity, file_in_artifact::Column::ArtifactId))
        .from(file_in_artifact::Entity)
        .inner_join(
            file_upload::Entity,
            Expr::col((file_upload::Entity, file_upload::Column::FileInArtifactId))
                .equals((file_in_artifact::Entity, file_in_artifact::Column::Id)),
        )
        .and_where(file_upload::Column::LastActivityAt.gte(before))
        .to_owned();
    Condition::all()
        .add(artifact::Column::CreatedAt.lt(before))
        .add(Expr::cust(missing))
        .add(artifact::Column::Id.not_in_subquery(coming))
        .add(
            Condition::any()
                .add(artifact::Column::CreatedByWorkRequestId.is_null())
                .add(Expr::cust(made_by_unended).not()),
        )
}
