//! How artifacts relate.

use std::collections::BTreeSet;

use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};
use usine_model::artifact::{ArtifactCategory, RelationType};

use super::{Artifact, ArtifactManager, ArtifactRelation, BATCH};
use crate::database::transact;
use crate::entity::{artifact, artifact_relation, file_in_artifact};
use crate::{Error, Result, Text};

impl ArtifactManager<'_> {
    /// Relates two artifacts; says whether that is new. The same triple again returns the relation that is there.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`] if an end is missing, [`Error::Invalid`] if a file of an end has not arrived.
    pub async fn relate(
        &self,
        artifact_id: i64,
        target_id: i64,
        relation_type: RelationType,
    ) -> Result<(ArtifactRelation, bool)> {
        transact!(self.0, transaction => {
            let connection = transaction.connection();
            for (end, id) in [("source", artifact_id), ("target", target_id)] {
                if !is_complete(connection, id).await? {
                    return Err(Error::Invalid(format!("Cannot create relation: {end} artifact {id} is incomplete")));
                }
            }
            let row = artifact_relation::ActiveModel {
                id: NotSet,
                artifact_id: Set(artifact_id),
                target_id: Set(target_id),
                r#type: Set(Text(relation_type)),
            };
            let triple = [
                artifact_relation::Column::ArtifactId,
                artifact_relation::Column::TargetId,
                artifact_relation::Column::Type,
            ];
            let inserted = artifact_relation::Entity::insert(row)
                .on_conflict(OnConflict::columns(triple).do_nothing().to_owned())
                .exec_without_returning(connection)
                .await?;
            let relation = artifact_relation::Entity::find()
                .filter(artifact_relation::Column::ArtifactId.eq(artifact_id))
                .filter(artifact_relation::Column::TargetId.eq(target_id))
                .filter(artifact_relation::Column::Type.eq(Text(relation_type)))
                .one(connection)
                .await?
                .ok_or_else(|| Error::does_not_exist("ArtifactRelation", format!("{artifact_id} to {target_id}")))?;
            Ok((relation, inserted == 1))
        })
    }

    /// The relation with this id, if there is one.
    pub async fn relation(&self, id: i64) -> Result<Option<ArtifactRelation>> {
        Ok(artifact_relation::Entity::find_by_id(id).one(self.0.reader()).await?)
    }

    /// What an artifact relates to, oldest relation first.
    pub async fn relations_from(&self, artifact_id: i64) -> Result<Vec<ArtifactRelation>> {
        self.relations(artifact_relation::Column::ArtifactId, artifact_id).await
    }

    /// What relates to an artifact, oldest relation first.
    pub async fn relations_to(&self, target_id: i64) -> Result<Vec<ArtifactRelation>> {
        self.relations(artifact_relation::Column::TargetId, target_id).await
    }

    /// The artifacts of a workspace and a category to which these relate in this way, each once, in the order of their ids.
    pub async fn related(
        &self,
        artifact_ids: &[i64],
        relation_type: RelationType,
        category: ArtifactCategory,
        workspace_id: i64,
    ) -> Result<Vec<Artifact>> {
        let mut targets = BTreeSet::new();
        for ids in artifact_ids.chunks(BATCH) {
            let found: Vec<i64> = artifact_relation::Entity::find()
                .select_only()
                .column(artifact_relation::Column::TargetId)
                .filter(artifact_relation::Column::ArtifactId.is_in(ids.iter().copied()))
                .filter(artifact_relation::Column::Type.eq(Text(relation_type)))
                .into_tuple()
                .all(self.0.reader())
                .await?;
            targets.extend(found);
        }
        let found = self.in_bulk(&Vec::from_iter(targets)).await?;
        let wanted = |row: &Artifact| *row.category == category && row.workspace_id == workspace_id;
        Ok(found.into_values().filter(wanted).collect())
    }

    async fn relations(&self, end: artifact_relation::Column, id: i64) -> Result<Vec<ArtifactRelation>> {
        Ok(artifact_relation::Entity::find()
            .filter(end.eq(id))
            .order_by_asc(artifact_relation::Column::Id)
            .all(self.0.reader())
            .await?)
    }

    /// Removes a relation; false if there was none.
    pub async fn delete_relation(&self, id: i64) -> Result<bool> {
        transact!(self.0, transaction => {
            let outcome = artifact_relation::Entity::delete_by_id(id).exec(transaction.connection()).await?;
            Ok(outcome.rows_affected == 1)
        })
    }
}

/// Whether all files of an artifact have arrived; it stays where it is until the transaction ends.
async fn is_complete(connection: &impl ConnectionTrait, id: i64) -> Result<bool> {
    artifact::Entity::find_by_id(id)
        .lock(LockType::KeyShare)
        .one(connection)
        .await?
        .ok_or_else(|| Error::does_not_exist("Artifact", id))?;
    let missing = file_in_artifact::Entity::find()
        .filter(file_in_artifact::Column::ArtifactId.eq(id))
        .filter(file_in_artifact::Column::Complete.eq(false));
    Ok(missing.count(connection).await? == 0)
}
