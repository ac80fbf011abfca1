//! `Artifact` and `ArtifactManager`: artifacts with their files, the uploads that fill them, and how they relate.
//!
//! The bytes are elsewhere (in a file store, or in the staging area while they arrive): here is only what is known of them.

mod files;
mod list;
mod relations;
mod uploads;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, EntityTrait, NotSet, Set};
use serde_json::Value;
use usine_model::artifact::{ArtifactCategory, ArtifactPath, InvalidData, validate_data};
use usine_model::clock::to_stored_precision;
use usine_model::expiry;

use crate::database::transact;
use crate::entity::{artifact, file_in_artifact, workspace};
use crate::{Database, Error, Result, Text};

pub use crate::entity::artifact_relation::Model as ArtifactRelation;
pub use crate::entity::file::Model as File;
pub use crate::entity::file_in_artifact::Model as FileInArtifact;
pub use crate::entity::file_store::Model as FileStore;
pub use crate::entity::file_upload::Model as FileUpload;
pub use artifact::Model as Artifact;
pub use list::ArtifactFilter;
pub use uploads::Upload;

/// Rows or ids in one statement: both engines take that many parameters, and any list takes few statements.
const BATCH: usize = 500;

/// Makes and finds artifacts, and notes what becomes of their files.
#[derive(Clone, Copy)]
pub struct ArtifactManager<'a>(pub &'a Database);

/// An artifact to be made.
#[derive(Debug, Clone)]
pub struct NewArtifact {
    /// What kind of thing it is.
    pub category: ArtifactCategory,
    /// Where it belongs.
    pub workspace_id: i64,
    /// By category; stored as given.
    pub data: Value,
    /// Its files, each path once. The list never changes.
    pub files: Vec<NewFile>,
    /// The user who makes it.
    pub created_by: Option<i64>,
    /// The work request that makes it.
    pub created_by_work_request: Option<i64>,
    /// Seconds until it expires; `None` is the workspace's default, 0 is never.
    pub expiration_delay: Option<i64>,
}

/// A file of an artifact to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its name in the artifact.
    pub path: ArtifactPath,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
    /// Bytes.
    pub size: u64,
    /// MIME type as its maker says, at most 255 characters.
    pub content_type: Option<String>,
}

impl ArtifactManager<'_> {
    /// Makes an artifact. A file is complete at once if it is empty, or if its content is in a store *and* another
    /// artifact of the same workspace has it complete: nobody gets at a content of others by naming its hash.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the data does not fit the category; [`Error::Integrity`] when a path is there twice or the
    /// workspace or maker does not exist.
    pub async fn create(&self, new: NewArtifact, now: DateTime<Utc>) -> Result<Artifact> {
        check_data(&new)?;
        transact!(self.0, transaction => {
            let connection = transaction.connection();
            let contents = files::find_or_make(connection, &new.files).await?;
            let available = files::available_in(connection, new.workspace_id, &contents).await?;
            let row = artifact::ActiveModel {
                id: NotSet,
                category: Set(Text(new.category)),
                workspace_id: Set(new.workspace_id),
                data: Set(new.data.clone()),
                created_at: Set(to_stored_precision(now)),
                expiration_delay: Set(new.expiration_delay),
                created_by_id: Set(new.created_by),
                created_by_work_request_id: Set(new.created_by_work_request),
                original_artifact_id: Set(None),
            };
            let made = row.insert(connection).await?;
            let entries: Vec<_> = std::iter::zip(&new.files, &contents)
                .map(|(file, &file_id)| file_in_artifact::ActiveModel {
                    id: NotSet,
                    artifact_id: Set(made.id),
                    path: Set(file.path.as_str().to_owned()),
                    file_id: Set(file_id),
                    complete: Set(file.size == 0 || available.contains(&file_id)),
                    content_type: Set(file.content_type.clone()),
                })
                .collect();
            for batch in entries.chunks(BATCH) {
                file_in_artifact::Entity::insert_many(batch.to_vec()).exec_without_returning(connection).await?;
            }
            Ok(made)
        })
    }

    /// The artifact with this id.
    pub async fn get(&self, id: i64) -> Result<Artifact> {
        self.get_or_none(id).await?.ok_or_else(|| Error::does_not_exist("Artifact", id))
    }

    /// The artifact with this id, if there is one.
    pub async fn get_or_none(&self, id: i64) -> Result<Option<Artifact>> {
        Ok(artifact::Entity::find_by_id(id).one(self.0.reader()).await?)
    }
}

fn check_data(new: &NewArtifact) -> Result<()> {
    let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("invalid artifact data: {error}"));
    match validate_data(new.category, &new.data) {
        Ok(()) => {}
        Err(error @ InvalidData::NotADictionary) => return Err(Error::Invalid(error.to_string())),
        Err(error) => return Err(invalid(&error)),
    }
    // PostgreSQL's texts and jsonb cannot hold it.
    if has_nul(&new.data) {
        return Err(invalid(&"NUL characters cannot be stored"));
    }
    match new.files.iter().find(|file| file.content_type.as_deref().is_some_and(|text| text.contains('\0'))) {
        Some(file) => Err(Error::Invalid(format!("invalid content type of file {}", file.path))),
        None => Ok(()),
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// When an artifact of this workspace goes away: creation and delay, its own or else the workspace's; `None` is never.
pub fn expire_at(artifact: &Artifact, workspace: &workspace::Model) -> Option<DateTime<Utc>> {
    expiry::expire_at(artifact.created_at, artifact.expiration_delay.unwrap_or(workspace.default_expiration_delay))
}
