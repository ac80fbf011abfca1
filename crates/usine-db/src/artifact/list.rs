//! Lists of artifacts, and what work requests have made.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, QueryTrait, RelationTrait};
use usine_model::artifact::ArtifactCategory;
use usine_model::permission::{ARTIFACT_CAN_DISPLAY, PermissionContext};

use super::{Artifact, ArtifactManager, BATCH};
use crate::entity::{artifact, workspace};
use crate::tenancy::permission::condition;
use crate::{Result, Text};

/// Which artifacts to list. `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct ArtifactFilter {
    /// In one of these workspaces; an empty list matches nothing.
    pub workspace_ids: Option<Vec<i64>>,
    /// Of this category.
    pub category: Option<ArtifactCategory>,
    /// Made by this work request.
    pub work_request_id: Option<i64>,
    /// Older than the artifact with this id: where the next page begins.
    pub before_id: Option<i64>,
    /// At most so many.
    pub limit: Option<u64>,
}

impl ArtifactManager<'_> {
    /// Those of these artifacts that exist, by id.
    pub async fn in_bulk(&self, ids: &[i64]) -> Result<BTreeMap<i64, Artifact>> {
        let mut found = BTreeMap::new();
        for ids in ids.chunks(BATCH) {
            let rows = artifact::Entity::find()
                .filter(artifact::Column::Id.is_in(ids.iter().copied()))
                .all(self.0.reader())
                .await?;
            found.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        Ok(found)
    }

    /// Those of these artifacts that somebody may see.
    pub async fn displayable_among(&self, context: &PermissionContext, ids: &[i64]) -> Result<BTreeSet<i64>> {
        let mut found = BTreeSet::new();
        for ids in ids.chunks(BATCH) {
            let seen: Vec<i64> = artifact::Entity::find()
                .select_only()
                .column(artifact::Column::Id)
                .inner_join(workspace::Entity)
                .join(JoinType::InnerJoin, workspace::Relation::Scope.def())
                .filter(artifact::Column::Id.is_in(ids.iter().copied()))
                .filter(condition(&ARTIFACT_CAN_DISPLAY, context))
                .into_tuple()
                .all(self.0.reader())
                .await?;
            found.extend(seen);
        }
        Ok(found)
    }

    /// The artifacts that match, newest first.
    pub async fn list(&self, filter: &ArtifactFilter) -> Result<Vec<Artifact>> {
        Ok(artifact::Entity::find()
            .apply_if(filter.workspace_ids.clone(), |query, ids| query.filter(artifact::Column::WorkspaceId.is_in(ids)))
            .apply_if(filter.category, |query, category| query.filter(artifact::Column::Category.eq(Text(category))))
            .apply_if(filter.work_request_id, |query, id| query.filter(artifact::Column::CreatedByWorkRequestId.eq(id)))
            .apply_if(filter.before_id, |query, id| query.filter(artifact::Column::Id.lt(id)))
            .order_by_desc(artifact::Column::Id)
            .limit(filter.limit)
            .all(self.0.reader())
            .await?)
    }

    /// What each of these work requests has made, oldest first; those that made nothing are left out.
    pub async fn ids_of_work_request(&self, ids: &[i64]) -> Result<BTreeMap<i64, Vec<i64>>> {
        let mut made: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for ids in ids.chunks(BATCH) {
            let rows: Vec<(i64, i64)> = artifact::Entity::find()
                .select_only()
                .column(artifact::Column::CreatedByWorkRequestId)
                .column(artifact::Column::Id)
                .filter(artifact::Column::CreatedByWorkRequestId.is_in(ids.iter().copied()))
                .order_by_asc(artifact::Column::Id)
                .into_tuple()
                .all(self.0.reader())
                .await?;
            for (work_request, artifact) in rows {
                made.entry(work_request).or_default().push(artifact);
            }
        }
        Ok(made)
    }
}
