//! Bytes of stored files, for views: never more than a view can use, never more views at once than the machine can bear.

use std::io::{self, Read};
use std::sync::{Arc, LazyLock};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use usine_db::artifact::{File, FileInArtifact};
use usine_store::{ByteStream, FileId, FileStore, StoreError};

use super::bytes;
use super::lines::Text;
use crate::api::upload::file_id;
use crate::overload::Lane;
use crate::problem::{ApiError, ApiResult};

/// Views that are made at the same time: each may hold a whole log in memory, or decompress an archive.
static TURNS: LazyLock<Lane> = LazyLock::new(|| Lane::new(3, 24));

/// Largest text that is held in memory, in bytes: 50 MiB, and in tests what they can make and read in no time.
pub const MAX_TEXT: u64 = if cfg!(test) { 1 } else { 50 } * 1024 * 1024;
/// Largest text whose lines are counted, in bytes.
const MAX_COUNTED: u64 = 2 * 1024 * 1024 * 1024;

/// Why there is nothing to show, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent(pub String);

/// What a view gets, or why it gets nothing.
pub type Found<T> = Result<T, Absent>;

/// A stored file, not read yet.
pub struct Stored {
    /// Which content.
    pub id: FileId,
    store: Arc<dyn FileStore>,
}

impl Stored {
    /// The file of an artifact, if it has arrived.
    pub fn of(store: &Arc<dyn FileStore>, entry: &FileInArtifact, content: &File) -> ApiResult<Found<Self>> {
        if !entry.complete {
            return Ok(Err(Absent("This file has not been uploaded completely.".to_owned())));
        }
        Ok(Ok(Self { id: file_id(content)?, store: store.clone() }))
    }

    /// Bytes of it.
    pub fn size(&self) -> u64 {
        self.id.size
    }

    async fn open(&self, start: u64, end: u64) -> ApiResult<Found<ByteStream>> {
        if self.size() == 0 {
            return Ok(Ok(futures::stream::empty().boxed()));
        }
        match self.store.open_range(self.id, start..end).await {
            Ok(stream) => Ok(Ok(stream)),
            Err(error @ (StoreError::NotFound { .. } | StoreError::Damaged { .. })) => {
                tracing::error!(%error, "a complete file cannot be shown");
                Ok(Err(Absent(
                    "This file is not currently available: it is missing from the store, or damaged.".into(),
                )))
            }
            Err(other) => Err(ApiError::Internal(Box::new(other))),
        }
    }

    /// The first bytes, at most `limit`.
    pub async fn head(&self, limit: u64) -> ApiResult<Found<Vec<u8>>> {
        self.range(0, self.size().min(limit)).await
    }

    /// The last bytes, at most `limit`.
    pub async fn tail(&self, limit: u64) -> ApiResult<Found<Vec<u8>>> {
        self.range(self.size().saturating_sub(limit), self.size()).await
    }

    async fn range(&self, start: u64, end: u64) -> ApiResult<Found<Vec<u8>>> {
        let mut stream = match self.open(start, end).await? {
            Ok(stream) => stream,
            Err(absent) => return Ok(Err(absent)),
        };
        let mut bytes = Vec::with_capacity(usize::try_from(end - start).unwrap_or_default());
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => {
                    tracing::error!(%error, file = %self.id, "a file cannot be read");
                    return Ok(Err(Absent("This file cannot be read at the moment.".to_owned())));
                }
            }
        }
        Ok(Ok(bytes))
    }

    /// The text, of a large file only its end, with the right numbers: a log ends with what is looked for.
    pub async fn text(&self) -> ApiResult<Found<Text>> {
        if self.size() > MAX_COUNTED {
            return Ok(Err(Absent(format!(
                "This file is too large to be looked into: it has {}.",
                bytes(self.size())
            ))));
        }
        let skipped = self.size().saturating_sub(MAX_TEXT);
        let end = match self.tail(MAX_TEXT).await? {
            Ok(end) => end,
            Err(absent) => return Ok(Err(absent)),
        };
        if skipped == 0 {
            return Ok(Ok(blocking(move || Text::new(&end)).await?));
        }
        let reader = match self.reader().await? {
            Ok(reader) => reader,
            Err(absent) => return Ok(Err(absent)),
        };
        blocking(move || match count_lines(reader.take(skipped)) {
            Ok(before) => {
                // The line that is cut belongs to what is skipped.
                let start = end.iter().position(|byte| *byte == b'\n').map_or(end.len(), |at| at + 1);
                Ok(Text::new(&end[start..]).after(before + 1))
            }
            Err(error) => {
                tracing::error!(%error, "a file cannot be read");
                Err(Absent("This file cannot be read at the moment.".to_owned()))
            }
        })
        .await
    }

    /// A reader of all of it, for a thread that may block.
    pub async fn reader(&self) -> ApiResult<Found<BlockingReader>> {
        let stream = self.open(0, self.size()).await?;
        Ok(stream.map(|stream| BlockingReader { stream, piece: Bytes::new(), runtime: Handle::current() }))
    }
}

/// A stream from the store as [`Read`]. Only for threads outside of the runtime.
pub struct BlockingReader {
    stream: ByteStream,
    piece: Bytes,
    runtime: Handle,
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn count_lines(mut reader: impl Read) -> io::Result<usize> {
    let mut buffer = vec![0; 128 * 1024];
    let mut lines = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(lines),
            count => lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}

/// Waits for a turn, which lasts as long as it is held: before bytes are read.
pub async fn turn() -> ApiResult<OwnedSemaphorePermit> {
    TURNS.turn().await
}

/// Does work that takes long on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::Internal(Box::new(error)))
}
