//! Where the log of a work request is: the live log as long as it is kept, then the log among its artifacts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use usine_db::artifact::ArtifactFilter;
use usine_db::{Artifact, ArtifactManager, WorkRequest};
use usine_model::artifact::ArtifactCategory;
use usine_store::{ByteStream, FileId, FileStore};

use super::split::{Place, Splitter};
use crate::live_log::BUFFER;
use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// Bytes of a stored log that are looked at. What is longer than this is for the download.
const LARGEST: u64 = 1 << 30;

/// Artifacts of one work request among which its log is looked for.
const ARTIFACTS: u64 = 100;

/// A log, as it is at this moment.
#[derive(Debug, Clone)]
pub(super) enum LogSource {
    /// The file of messages that grows.
    Live {
        /// Whose.
        work_request: i64,
        /// Where.
        path: PathBuf,
        /// Bytes that may be read.
        length: u64,
    },
    /// A text file of an artifact.
    Stored {
        /// Where it is kept.
        store: Arc<dyn FileStore>,
        /// Its content.
        file: FileId,
    },
}

/// What tells logs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The live log of a work request.
    Live(i64),
    /// A content.
    Stored(FileId),
}

impl LogSource {
    /// The log of a work request, if there is one.
    pub async fn of(state: &AppState, row: &WorkRequest) -> ApiResult<Option<Self>> {
        if let Some((path, length)) = state.live_logs.kept(row.id).await? {
            return Ok(Some(Self::Live { work_request: row.id, path, length }));
        }
        let file = if super::is_over(row) { stored(state, row).await? } else { None };
        Ok(file.map(|file| Self::Stored { store: state.store.clone(), file }))
    }

    /// Which log it is.
    pub fn key(&self) -> Key {
        match self {
            Self::Live { work_request, .. } => Key::Live(*work_request),
            Self::Stored { file, .. } => Key::Stored(*file),
        }
    }

    /// Bytes that are looked at.
    pub fn length(&self) -> u64 {
        match self {
            Self::Live { length, .. } => *length,
            Self::Stored { file, .. } => file.size.min(LARGEST),
        }
    }

    /// Whether there is more than is looked at.
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Stored { file, .. } if file.size > LARGEST)
    }

    /// What makes lines of its bytes, from the beginning of one.
    pub fn splitter(&self, place: Place) -> Splitter {
        match self {
            Self::Live { .. } => Splitter::messages(place),
            Self::Stored { .. } => Splitter::plain(place),
        }
    }

    /// Its bytes from `start` to `end`.
    pub async fn read(&self, start: u64, end: u64) -> io::Result<ByteStream> {
        match self {
            Self::Live { path, .. } => {
                let mut file = File::open(path).await?;
                file.seek(io::SeekFrom::Start(start)).await?;
                Ok(ReaderStream::with_capacity(file.take(end.saturating_sub(start)), BUFFER).boxed())
            }
            Self::Stored { store, file } => store.open_range(*file, start..end).await.map_err(io::Error::other),
        }
    }
}

/// The log among the artifacts of a work request: that of a build, else what the task calls its log, else what its commands said.
async fn stored(state: &AppState, row: &WorkRequest) -> ApiResult<Option<FileId>> {
    let manager = ArtifactManager(&state.database);
    // Who may see the work request may see all of its workspace.
    let filter = ArtifactFilter {
        workspace_ids: Some(vec![row.workspace_id]),
        work_request_id: Some(row.id),
        limit: Some(ARTIFACTS),
        ..ArtifactFilter::default()
    };
    let artifacts = manager.list(&filter).await?;
    let ids: Vec<_> = artifacts.iter().map(|artifact| artifact.id).collect();
    let files = manager.with_files(&ids).await?;
    let candidates = artifacts.iter().flat_map(|artifact| {
        let files = files.get(&artifact.id).map(Vec::as_slice).unwrap_or_default();
        files
            .iter()
            .filter(|(entry, content)| entry.complete && content.size > 0)
            .filter_map(|(entry, content)| Some((rank(artifact, &entry.path)?, artifact.id, &entry.path, content)))
    });
    let best = candidates.min_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    best.map(|(.., content)| {
        let sha256 = content.sha256.as_slice().try_into();
        let sha256 = sha256.map_err(|_| ApiError::Internal("a stored hash has not 32 bytes".into()))?;
        Ok(FileId::new(sha256, content.size.unsigned_abs()))
    })
    .transpose()
}

/// How likely a file is the log of the work request: less is more.
fn rank(artifact: &Artifact, path: &str) -> Option<u8> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_log = name == "log" || name.ends_with(".log") || name.ends_with(".build");
    match *artifact.category {
        ArtifactCategory::PackageBuildLog => Some(0),
        ArtifactCategory::WorkRequestDebugLogs if name == "cmd-output.log" => Some(2),
        ArtifactCategory::WorkRequestDebugLogs => is_log.then_some(3),
        _ => is_log.then_some(1),
    }
}
