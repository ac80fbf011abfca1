//! Bringing a `.dsc`, `.changes` or `.deb` on disk to the server, as the artifacts that it stands for.

use std::collections::BTreeMap;
use std::path::Path;

use usine_debian::NoArtifact;
pub use usine_debian::{LocalArtifact, artifacts_of};
use usine_model::artifact::{RelationType, imposed_content_type};
use usine_protocol::artifact::{Artifact, CreateArtifact, CreateRelation, NewFile};

use crate::upload::new_file;
use crate::{Client, Error};

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no artifact.
    #[error(transparent)]
    NoArtifact(#[from] NoArtifact),
    /// A Debian file that cannot be read.
    #[error(transparent)]
    Debian(#[from] usine_debian::Error),
    /// An address that does not say how to call the file.
    #[error("{0} does not end in the name of a file")]
    NoFileName(String),
    /// The server or the way to it.
    #[error(transparent)]
    Client(#[from] Error),
}

/// What was brought to the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The first artifact.
    pub primary: Artifact,
    /// The ones that it extends and relates to.
    pub parts: Vec<Artifact>,
}

/// What to report while files are uploaded: path, bytes done, bytes in all.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Send + Sync);

/// The files of an artifact as the server is told of them, with hashes and content types.
pub async fn new_files(artifact: &LocalArtifact) -> Result<BTreeMap<String, NewFile>, Error> {
    let mut files = BTreeMap::new();
    for (path, local) in &artifact.files {
        let imposed = imposed_content_type(artifact.category, path);
        files.insert(path.clone(), new_file(path, local, imposed).await?);
    }
    Ok(files)
}

impl Client {
    /// Creates an artifact and uploads what the server does not have yet.
    pub async fn upload_artifact(
        &self,
        artifact: &LocalArtifact,
        workspace: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Artifact, Error> {
        let new = CreateArtifact {
            category: artifact.category.to_string(),
            workspace: workspace.map(str::to_owned),
            files: new_files(artifact).await?,
            data: artifact.data.clone(),
            work_request: None,
            expire_at: None,
        };
        let created = self.create_artifact(&new).await?;
        for path in &created.files_to_upload {
            let local = artifact.files.get(path).ok_or_else(|| {
                Error::invalid_body(
                    self.api_url.as_str(),
                    format!("it wants a file {path:?} that the artifact does not have"),
                )
            })?;
            self.upload_file(created.id, path, local, &|done, all| progress(path, done, all)).await?;
        }
        Ok(created)
    }

    /// Imports a `.dsc`, `.changes` or `.deb`: all artifacts one after the other, then for each further one the
    /// relations *extends* and *relates-to* from the first.
    pub async fn import(
        &self,
        path: &Path,
        workspace: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Imported, ImportError> {
        let owned = path.to_owned();
        let artifacts = tokio::task::spawn_blocking(move || artifacts_of(&owned))
            .await
            .map_err(|error| Error::Setup(error.to_string()))??;
        let mut created = Vec::with_capacity(artifacts.len());
        for artifact in &artifacts {
            created.push(self.upload_artifact(artifact, workspace, progress).await?);
        }
        let mut created = created.into_iter();
        let primary = created.next().ok_or_else(|| NoArtifact::UnknownKind(path.to_owned()))?;
        let parts: Vec<Artifact> = created.collect();
        for part in &parts {
            for relation_type in [RelationType::Extends, RelationType::RelatesTo] {
                self.create_relation(&CreateRelation { artifact: primary.id, target: part.id, relation_type }).await?;
            }
        }
        Ok(Imported { primary, parts })
    }
}
