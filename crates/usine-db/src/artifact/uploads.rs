//! Uploads in progress, and the moment when a file is there.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set};
use usine_model::clock::to_stored_precision;

use super::{ArtifactManager, FileUpload};
use crate::database::transact;
use crate::entity::{file_in_artifact, file_upload};
use crate::storage::note_stored;
use crate::{Error, Result};

/// What there is to do for a file that somebody wants to upload.
#[derive(Debug, Clone, PartialEq)]
pub enum Upload {
    /// Nothing: the content has arrived.
    Complete,
    /// Go on with this one.
    InProgress(FileUpload),
}

impl ArtifactManager<'_> {
    /// The upload of a file, if one is in progress.
    pub async fn upload_of(&self, file_in_artifact_id: i64) -> Result<Option<FileUpload>> {
        Ok(file_upload::Entity::find()
            .filter(file_upload::Column::FileInArtifactId.eq(file_in_artifact_id))
            .one(self.0.reader())
            .await?)
    }

    /// The upload of a file; begins one under `staging_name` if none is in progress and the file is not complete.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`] if there is no such file; [`Error::Integrity`] if another upload has that name.
    pub async fn begin_upload(
        &self,
        file_in_artifact_id: i64,
        staging_name: &str,
        now: DateTime<Utc>,
    ) -> Result<Upload> {
        transact!(self.0, transaction => {
            let connection = transaction.connection();
            // Locked: whoever completes the file meanwhile waits, or has removed his upload before we look.
            let file = file_in_artifact::Entity::find_by_id(file_in_artifact_id)
                .lock_exclusive()
                .one(connection)
                .await?
                .ok_or_else(|| Error::does_not_exist("file in artifact", file_in_artifact_id))?;
            if file.complete {
                return Ok(Upload::Complete);
            }
            let row = file_upload::ActiveModel {
                id: NotSet,
                file_in_artifact_id: Set(file_in_artifact_id),
                path: Set(staging_name.to_owned()),
                last_activity_at: Set(to_stored_precision(now)),
            };
            file_upload::Entity::insert(row)
                .on_conflict(OnConflict::column(file_upload::Column::FileInArtifactId).do_nothing().to_owned())
                .exec_without_returning(connection)
                .await?;
            let upload = file_upload::Entity::find()
                .filter(file_upload::Column::FileInArtifactId.eq(file_in_artifact_id))
                .one(connection)
                .await?
                .ok_or_else(|| Error::does_not_exist("upload of file in artifact", file_in_artifact_id))?;
            Ok(Upload::InProgress(upload))
        })
    }

    /// Notes that bytes have come; false if the upload is gone.
    pub async fn touch_upload(&self, upload_id: i64, now: DateTime<Utc>) -> Result<bool> {
        transact!(self.0, transaction => {
            let outcome = file_upload::Entity::update_many()
                .col_expr(file_upload::Column::LastActivityAt, to_stored_precision(now).into())
                .filter(file_upload::Column::Id.eq(upload_id))
                .exec(transaction.connection())
                .await?;
            Ok(outcome.rows_affected == 1)
        })
    }

    /// Forgets the upload of a file, so that it can start over; false if there was none. The caller removes the bytes.
    pub async fn discard_upload(&self, file_in_artifact_id: i64) -> Result<bool> {
        transact!(self.0, transaction => {
            let outcome = file_upload::Entity::delete_many()
                .filter(file_upload::Column::FileInArtifactId.eq(file_in_artifact_id))
                .exec(transaction.connection())
                .await?;
            Ok(outcome.rows_affected == 1)
        })
    }

    /// Notes that the content of a file has come and is in a store: the file is complete, its upload is over. Doing it
    /// again changes nothing.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`] if there is no such file, [`Error::Integrity`] if there is no such store.
    pub async fn complete_file(&self, file_in_artifact_id: i64, store_id: i64) -> Result<()> {
        transact!(self.0, transaction => {
            let connection = transaction.connection();
            let file = file_in_artifact::Entity::find_by_id(file_in_artifact_id)
                .lock_exclusive()
                .one(connection)
                .await?
                .ok_or_else(|| Error::does_not_exist("file in artifact", file_in_artifact_id))?;
            note_stored(connection, store_id, file.file_id).await?;
            file_in_artifact::Entity::update_many()
                .col_expr(file_in_artifact::Column::Complete, true.into())
                .filter(file_in_artifact::Column::Id.eq(file_in_artifact_id))
                .exec(connection)
                .await?;
            file_upload::Entity::delete_many()
                .filter(file_upload::Column::FileInArtifactId.eq(file_in_artifact_id))
                .exec(connection)
                .await?;
            Ok(())
        })
    }

    /// Forgets an upload of which no byte has come since `before`; false if one has come, or it is over.
    pub async fn discard_stale_upload(&self, upload_id: i64, before: DateTime<Utc>) -> Result<bool> {
        transact!(self.0, transaction => {
            let outcome = file_upload::Entity::delete_many()
                .filter(file_upload::Column::Id.eq(upload_id))
                .filter(file_upload::Column::LastActivityAt.lt(before))
                .exec(transaction.connection())
                .await?;
            Ok(outcome.rows_affected == 1)
        })
    }

    /// Uploads of which no byte has come since `before`, the longest silent first.
    pub async fn stale_uploads(&self, before: DateTime<Utc>) -> Result<Vec<FileUpload>> {
        Ok(file_upload::Entity::find()
            .filter(file_upload::Column::LastActivityAt.lt(before))
            .order_by_asc(file_upload::Column::LastActivityAt)
            .all(self.0.reader())
            .await?)
    }
}
