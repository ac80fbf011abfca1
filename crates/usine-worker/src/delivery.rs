//! Bringing an entry of the spool to the server, step by step, for as long as it takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use usine_client::{ArtifactFilter, Client, Error, content_type};
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_protocol::artifact::{Artifact, Checksums, CreateArtifact, CreateRelation, NewFile};
use usine_protocol::work_request::Completed;

use crate::spool::{End, Entry, SpoolError, SpooledArtifact};
use crate::{Tempo, WorkerError, ownership};

/// Most artifacts of a work request that are looked through for one whose creation was not heard of.
const MAX_LISTED: usize = 1000;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The server has all.
    Done,
    /// The work request is no longer ours; the entry is dropped.
    Refused,
    /// We were asked to stop; the entry stays.
    Interrupted,
}

/// How a delivery may be disturbed.
pub(crate) struct Circumstances {
    pub tempo: Tempo,
    /// Stop at once; the entry stays.
    pub stop: CancellationToken,
    /// Stop instead of waiting for a server that does not answer; the entry stays.
    pub hurry: CancellationToken,
    /// The work request is no longer ours.
    pub not_ours: CancellationToken,
    /// The server was just heard: no need to wait longer.
    pub online: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Client(#[from] Error),
    #[error(transparent)]
    NotOurs(Error),
    #[error("spool: {0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Inconsistent(String),
}

/// Delivers an entry. What fails for good (not: for now) is reported as the work request's error. `resumed`: an earlier
/// run may have delivered some of it.
pub(crate) async fn deliver(
    client: &Client,
    mut entry: Entry,
    resumed: bool,
    around: &Circumstances,
) -> Result<Delivered, WorkerError> {
    let id = entry.manifest.work_request;
    let failed = |message: String| WorkerError::Report { id, message };
    let client = client
        .acting_as(Some(&entry.manifest.token), Some(&entry.manifest.scope))
        .map_err(|error| failed(error.to_string()))?;
    let mut back_off = around.tempo.back_off();
    let mut given_up = false;
    let mut again = resumed;
    loop {
        let step = tokio::select! {
            biased;
            () = around.stop.cancelled() => return Ok(Delivered::Interrupted),
            () = around.not_ours.cancelled() => {
                entry.remove().map_err(|error| failed(error.to_string()))?;
                return Ok(Delivered::Refused);
            }
            step = attempt(&client, &mut entry, again) => step,
        };
        let error = match step {
            Ok(()) => {
                entry.remove().map_err(|error| failed(error.to_string()))?;
                return Ok(Delivered::Done);
            }
            Err(error) => error,
        };
        again = true;
        match &error {
            // A refusal that does not come from the server itself passes like its absence.
            StepError::Client(client_error) if client_error.is_transient() || client_error.is_refusal() => {
                if around.hurry.is_cancelled() {
                    return Ok(Delivered::Interrupted);
                }
                let wait = back_off.wait(client_error.retry_after());
                tracing::warn!(work_request = id, %error, wait = wait.as_secs_f64(), "cannot deliver now, trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = around.online.notified() => {}
                    () = around.stop.cancelled() => return Ok(Delivered::Interrupted),
                    () = around.hurry.cancelled() => {}
                    () = around.not_ours.cancelled() => {}
                }
            }
            StepError::NotOurs(_) => {
                tracing::warn!(work_request = id, %error, "the work request is no longer ours; its outcome is dropped");
                entry.remove().map_err(|error| failed(error.to_string()))?;
                return Ok(Delivered::Refused);
            }
            _ if given_up => {
                tracing::error!(work_request = id, %error, "the server does not take the result; it is dropped");
                entry.remove().map_err(|error| failed(error.to_string()))?;
                return Err(failed(error.to_string()));
            }
            _ => {
                tracing::error!(work_request = id, %error, "the outcome cannot be delivered; reporting that instead");
                given_up = true;
                give_up(&mut entry, &error);
                entry.save().map_err(|error| failed(error.to_string()))?;
            }
        }
    }
}

/// Only the failure is left to report.
fn give_up(entry: &mut Entry, error: &StepError) {
    let manifest = &mut entry.manifest;
    manifest.artifacts.clear();
    manifest.relations.clear();
    manifest.relations_done = 0;
    manifest.result = Results::Error;
    let statistics = manifest.output_data.runtime_statistics.take();
    manifest.output_data = OutputData {
        runtime_statistics: statistics,
        ..OutputData::error("upload-failed", format!("Cannot upload the outcome: {error}"))
    };
}

/// Goes on where the last attempt ended, and tells a work request that is no longer ours from other refusals.
async fn attempt(client: &Client, entry: &mut Entry, again: bool) -> Result<(), StepError> {
    match deliver_steps(client, entry, again).await {
        Err(StepError::Client(error))
            if ownership::is_lost_after(&error, client, entry.manifest.work_request).await =>
        {
            Err(StepError::NotOurs(error))
        }
        done => done,
    }
}

async fn deliver_steps(client: &Client, entry: &mut Entry, again: bool) -> Result<(), StepError> {
    for index in 0..entry.manifest.artifacts.len() {
        if !entry.manifest.artifacts[index].complete {
            deliver_artifact(client, entry, index, again).await?;
        }
    }
    while let Some(relation) = entry.manifest.relations.get(entry.manifest.relations_done).copied() {
        let relation = CreateRelation {
            artifact: id_of(entry, relation.artifact)?,
            target: id_of(entry, relation.target)?,
            relation_type: relation.relation_type,
        };
        client.create_relation(&relation).await?;
        entry.manifest.relations_done += 1;
        entry.save()?;
    }
    let completed = Completed { result: entry.manifest.result, output_data: entry.manifest.output_data.clone() };
    client.complete(entry.manifest.work_request, &completed).await?;
    Ok(())
}

async fn deliver_artifact(client: &Client, entry: &mut Entry, index: usize, again: bool) -> Result<(), StepError> {
    let artifact = &entry.manifest.artifacts[index];
    let (id, missing) = match artifact.id {
        Some(id) => (id, client.artifact_in(&entry.manifest.workspace, id).await?.files_to_upload),
        None => {
            let earlier = if again { made_earlier(client, entry, artifact).await? } else { None };
            let created = match earlier {
                Some(created) => created,
                None => client.create_artifact(&create(entry, artifact)?).await?,
            };
            entry.manifest.artifacts[index].id = Some(created.id);
            entry.save()?;
            (created.id, created.files_to_upload)
        }
    };
    for path in missing {
        let files = &entry.manifest.artifacts[index].files;
        let file =
            files.iter().find_map(|(known, file)| (known.as_str() == path).then_some(file)).ok_or_else(|| {
                StepError::Inconsistent(format!("the server wants a file {path:?} that artifact {id} does not have"))
            })?;
        client.upload_file(id, &path, &entry.path_of(file), &|_, _| {}).await?;
    }
    entry.manifest.artifacts[index].complete = true;
    entry.save()?;
    Ok(())
}

/// The artifact, if an earlier attempt made it and did not hear of that.
async fn made_earlier(client: &Client, entry: &Entry, wanted: &SpooledArtifact) -> Result<Option<Artifact>, Error> {
    let filter = ArtifactFilter { work_request: Some(entry.manifest.work_request), ..ArtifactFilter::default() };
    let listed = match client.artifacts(&filter, MAX_LISTED).await {
        Ok(listed) => listed,
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            // A server without usine's own API.
            tracing::debug!(%error, "the artifacts of the work request cannot be listed");
            return Ok(None);
        }
    };
    let is_known = |id| entry.manifest.artifacts.iter().any(|artifact| artifact.id == Some(id));
    Ok(listed.into_iter().find(|made| !is_known(made.id) && is_same(made, wanted)))
}

fn is_same(made: &Artifact, wanted: &SpooledArtifact) -> bool {
    made.category == wanted.category
        && made.data == wanted.data
        && made.files.len() == wanted.files.len()
        && wanted.files.iter().all(|(path, file)| {
            made.files
                .get(path.as_str())
                .is_some_and(|made| made.size == file.size && made.checksums.sha256 == file.sha256)
        })
}

fn create(entry: &Entry, artifact: &SpooledArtifact) -> Result<CreateArtifact, StepError> {
    let mut files = BTreeMap::new();
    for (path, file) in &artifact.files {
        let content_type = match &file.content_type {
            Some(content_type) => content_type.clone(),
            None => {
                let stored = entry.path_of(file);
                let guessed = content_type(path.as_str(), &stored);
                guessed.map_err(|source| SpoolError::Io { path: stored, source })?.to_owned()
            }
        };
        let new = NewFile {
            size: file.size,
            file_type: "file".to_owned(),
            checksums: Checksums { sha256: file.sha256.clone() },
            content_type: Some(content_type),
        };
        files.insert(path.as_str().to_owned(), new);
    }
    Ok(CreateArtifact {
        category: artifact.category.to_string(),
        workspace: Some(entry.manifest.workspace.clone()),
        files,
        data: artifact.data.clone(),
        work_request: Some(entry.manifest.work_request),
        expire_at: None,
    })
}

fn id_of(entry: &Entry, end: End) -> Result<i64, StepError> {
    match end {
        End::Existing(id) => Ok(id),
        End::Made(index) => entry
            .manifest
            .artifacts
            .get(index)
            .and_then(|artifact| artifact.id)
            .ok_or_else(|| StepError::Inconsistent(format!("artifact number {index} was not created"))),
    }
}
