//! `artifact/{id}/files/{path}/`: files come in chunks, in as many requests as it takes.

use std::future::ready;
use std::io;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use usine_db::ArtifactManager;
use usine_db::artifact::{File, FileInArtifact, Upload};
use usine_protocol::content_range::{self, ContentRange};
use usine_store::{Chunk, FileId, StoreError, UploadError, UploadName};

use usine_model::permission::ARTIFACT_CAN_ADD_FILES;

use crate::auth::Requester;
use crate::permissions::visible_artifact_anywhere;
use crate::problem::{ApiError, ApiResult, drain};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// How long a request waits for another one that works on the same file, before it gives up. Clients wait 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// How long it takes until a file that has gone into the store is complete in the database.
const SETTLING: Duration = Duration::from_millis(500);

/// What the original's client sends again at once and for ever must not come back at once.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(2);

/// The routes.
pub fn routes() -> Routes {
    // The path has the final slash of the address in it.
    Routes::new().put("/api/1.0/artifact/{id}/files/{*path}", Access::UserOrWorkRequest, upload)
}

/// What a client hears about its upload.
enum Answer {
    /// So many bytes are there; go on (to a probe).
    Continue(u64),
    /// So many bytes are there, more are needed (to a chunk), or all of them (to a probe).
    Received(u64),
    /// The file is complete.
    Complete,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let range = |count| [(header::RANGE, content_range::received(count))];
        match self {
            Self::Continue(count) => (StatusCode::PARTIAL_CONTENT, range(count)).into_response(),
            Self::Received(count) => (StatusCode::OK, range(count)).into_response(),
            Self::Complete => StatusCode::CREATED.into_response(),
        }
    }
}

/// Takes a chunk, or says how far the upload is.
async fn upload(
    State(state): State<AppState>,
    requester: ApiResult<Requester>,
    Path((id, path)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Answer> {
    let mut body = body.into_data_stream();
    let path = path.strip_suffix('/').unwrap_or(&path);
    let answer = match requester {
        Ok(requester) => receive(&state, &requester, (&id, path), &headers, &mut body).await,
        Err(refusal) => Err(refusal),
    };
    drain(&mut body).await;
    if matches!(&answer, Err(ApiError::Problem(StatusCode::INSUFFICIENT_STORAGE, _))) {
        tokio::time::sleep(FULL_DISK_PAUSE).await;
    }
    answer
}

async fn receive(
    state: &AppState,
    requester: &Requester,
    (id, path): (&str, &str),
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> ApiResult<Answer> {
    let found = visible_artifact_anywhere(state, requester, id).await?;
    let (artifact, place) = found.ok_or_else(|| ApiError::not_found(format!("Artifact {id} does not exist")))?;
    let file = ArtifactManager(&state.database).file(artifact.id, path).await?;
    let (entry, content) =
        file.ok_or_else(|| ApiError::not_found(format!("No file_path \"{path}\" for artifact {id}")))?;
    requester.check(
        &ARTIFACT_CAN_ADD_FILES,
        &place.artifact(&artifact),
        &format!("artifact {id} of {}", place.name()),
    )?;
    let transfer = Transfer { state, id: file_id(&content)?, entry };
    let range = headers.get(header::CONTENT_RANGE).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        ContentRange::parse(&text)
            .ok_or_else(|| ApiError::bad_request(format!("Invalid Content-Range header: \"{text}\"")))
    });
    match range.transpose()? {
        Some(ContentRange::Probe { size }) => transfer.probe(size).await,
        Some(ContentRange::Chunk { start, end, size }) => {
            transfer.check_size(size)?;
            transfer.chunk(start, Some((end - start).saturating_add(1)), body).await
        }
        None => transfer.chunk(0, None, body).await,
    }
}

/// The name of a file's content in the store.
pub(crate) fn file_id(content: &File) -> ApiResult<FileId> {
    let wrong = |problem: &str| {
        ApiError::from(usine_db::Error::Inconsistent {
            table: "file",
            id: content.id,
            column: "sha256",
            problem: problem.to_owned(),
        })
    };
    let sha256 = content.sha256.as_slice().try_into().map_err(|_| wrong("not 32 bytes"))?;
    Ok(FileId::new(sha256, content.size.unsigned_abs()))
}

/// One request about one file.
struct Transfer<'a> {
    state: &'a AppState,
    id: FileId,
    entry: FileInArtifact,
}

impl Transfer<'_> {
    fn artifacts(&self) -> ArtifactManager<'_> {
        ArtifactManager(&self.state.database)
    }

    fn check_size(&self, size: Option<u64>) -> ApiResult<()> {
        match size.filter(|size| *size != self.id.size) {
            None => Ok(()),
            Some(size) => Err(ApiError::bad_request(format!(
                "Invalid file size in Content-Range header. Expected {} received {size}",
                self.id.size
            ))),
        }
    }

    /// How far are we?
    async fn probe(&self, size: Option<u64>) -> ApiResult<Answer> {
        if self.entry.complete {
            return Ok(Answer::Received(self.id.size));
        }
        let Some(upload) = self.artifacts().upload_of(self.entry.id).await? else { return Ok(Answer::Continue(0)) };
        let name = staging_name(&upload.path)?;
        match self.received(&name).await? {
            0 => Ok(Answer::Continue(0)),
            received => {
                self.check_size(size)?;
                if received < self.id.size {
                    return Ok(Answer::Continue(received));
                }
                // What could not be done when the last chunk came: the client takes "all there" for the end.
                match self.finish(name).await? {
                    Finished::Complete => Ok(Answer::Received(received)),
                    Finished::Mismatch(_) => Ok(Answer::Continue(0)),
                }
            }
        }
    }

    /// Stores the body at `start`.
    async fn chunk(&self, start: u64, length: Option<u64>, body: &mut BodyDataStream) -> ApiResult<Answer> {
        let upload = if self.entry.complete {
            Upload::Complete
        } else {
            let fresh = UploadName::from_random(self.state.entropy.bytes32());
            self.artifacts().begin_upload(self.entry.id, fresh.as_str(), self.state.now()).await?
        };
        let Upload::InProgress(upload) = upload else { return Ok(Answer::Complete) };
        let name = staging_name(&upload.path)?;
        let received = match first_piece(body).await {
            None => self.received(&name).await?,
            Some(first) => {
                let chunk = Chunk { offset: start, expected_length: length, declared_size: self.id.size };
                let outcome = self.write(&name, chunk, first, body).await;
                self.artifacts().touch_upload(upload.id, self.state.now()).await?;
                match outcome {
                    Ok(received) => received,
                    Err(UploadError::Gap { received: 0, .. }) if self.is_complete_soon().await? => {
                        return Ok(Answer::Complete);
                    }
                    Err(error) => return Err(refusal(error)),
                }
            }
        };
        if received < self.id.size {
            return Ok(Answer::Received(received));
        }
        match self.finish(name).await? {
            Finished::Complete => Ok(Answer::Complete),
            Finished::Mismatch(text) => Err(ApiError::new(StatusCode::CONFLICT, text)),
        }
    }

    async fn received(&self, name: &UploadName) -> ApiResult<u64> {
        Ok(self.state.uploads.received(name).await.map_err(refusal)?.unwrap_or(0))
    }

    /// Writes the body when nobody else works on the file any more: a client that lost its connection is back before the
    /// server has noticed.
    async fn write(
        &self,
        name: &UploadName,
        chunk: Chunk,
        first: Result<Bytes, axum::Error>,
        rest: &mut BodyDataStream,
    ) -> Result<u64, UploadError> {
        let mut body = std::pin::pin!(stream::once(ready(first)).chain(rest));
        let mut waited = Duration::ZERO;
        loop {
            // The lock comes before the first byte of the body.
            match self.state.uploads.write_chunk(name, chunk, body.as_mut()).await {
                Err(UploadError::Busy { .. }) if waited < PATIENCE => wait(&mut waited).await,
                outcome => return outcome,
            }
        }
    }

    /// Takes the whole file into the store. Goes on to its end even if the client does not wait for it.
    async fn finish(&self, name: UploadName) -> ApiResult<Finished> {
        let (state, entry, id) = (self.state.clone(), self.entry.clone(), self.id);
        let work = async move { Transfer { state: &state, id, entry }.finish_here(&name).await };
        tokio::spawn(work).await.map_err(|error| ApiError::Internal(Box::new(error)))?
    }

    async fn finish_here(&self, name: &UploadName) -> ApiResult<Finished> {
        let store = self.artifacts().default_store().await?;
        let mut waited = Duration::ZERO;
        loop {
            match self.state.uploads.finish(name, self.id, &*self.state.store).await {
                Ok(_) => break,
                Err(UploadError::Busy { .. }) if waited < PATIENCE => wait(&mut waited).await,
                Err(UploadError::Unknown { .. }) if self.is_complete_soon().await? => return Ok(Finished::Complete),
                Err(error @ UploadError::HashMismatch { .. }) => {
                    self.artifacts().discard_upload(self.entry.id).await?;
                    return Ok(Finished::Mismatch(error.to_string()));
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        self.artifacts().complete_file(self.entry.id, store.id).await?;
        Ok(Finished::Complete)
    }

    /// Whether another request has just finished the file.
    async fn is_complete_soon(&self) -> ApiResult<bool> {
        let mut waited = Duration::ZERO;
        loop {
            let file = self.artifacts().file(self.entry.artifact_id, &self.entry.path).await?;
            if file.is_some_and(|(entry, _)| entry.complete) {
                return Ok(true);
            }
            if waited >= SETTLING {
                return Ok(false);
            }
            wait(&mut waited).await;
        }
    }
}

/// How an upload with all its bytes ended.
enum Finished {
    /// It is in the store.
    Complete,
    /// It was another content and has been thrown away.
    Mismatch(String),
}

async fn wait(waited: &mut Duration) {
    tokio::time::sleep(LOOK).await;
    *waited += LOOK;
}

fn staging_name(path: &str) -> ApiResult<UploadName> {
    path.parse().map_err(|error| ApiError::Internal(format!("file_upload.path {path:?}: {error}").into()))
}

/// The first bytes of a body, `None` if it has none.
async fn first_piece(body: &mut BodyDataStream) -> Option<Result<Bytes, axum::Error>> {
    while let Some(piece) = body.next().await {
        if !piece.as_ref().is_ok_and(Bytes::is_empty) {
            return Some(piece);
        }
    }
    None
}

fn refusal(error: UploadError) -> ApiError {
    match error {
        UploadError::Gap { .. }
        | UploadError::BeyondSize { .. }
        | UploadError::LengthMismatch { .. }
        | UploadError::Body { .. }
        | UploadError::Unknown { .. }
        | UploadError::Incomplete { .. } => ApiError::bad_request(error.to_string()),
        UploadError::HashMismatch { .. } => ApiError::new(StatusCode::CONFLICT, error.to_string()),
        UploadError::Busy { .. } => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        UploadError::NoSpace { source, .. } => disk_full(&source),
        UploadError::Store(StoreError::NoSpace { source, .. }) => disk_full(&source),
        UploadError::Store(_) | UploadError::Io { .. } => ApiError::Internal(Box::new(error)),
    }
}

/// The answer when there is no room for what comes.
pub(crate) fn disk_full(source: &io::Error) -> ApiError {
    tracing::error!(error = %source, "no space left for uploads: free some space, or enlarge the data directory");
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "The server's disk is full").detail(
        "Ask the administrator to free some space or to enlarge the data directory, then upload again: what has arrived \
         is kept, and the upload goes on from there.",
    )
}
