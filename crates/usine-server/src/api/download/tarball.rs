//! Many files as one `.tar.gz`, made while it is sent.

use std::io;

use async_compression::Level;
use async_compression::tokio::write::GzipEncoder;
use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_tar::{Builder, EntryType, Header};
use tokio_util::io::{ReaderStream, StreamReader};
use usine_store::FileId;

use crate::state::AppState;

/// Bytes between the maker of the archive and the connection: the maker waits when the client is slow.
const PIPE: usize = 256 * 1024;

/// A member of the archive.
pub(super) struct Member {
    /// Its path in the archive.
    pub path: String,
    /// Its content.
    pub id: FileId,
}

/// The archive as a body. `mtime`, in seconds since 1970, is that of all members.
///
/// Memory does not grow with the files. When something fails on the way, the connection breaks: the client must not take
/// half an archive for a whole one.
pub(super) fn body(state: AppState, members: Vec<Member>, mtime: u64) -> Body {
    let (writer, reader) = tokio::io::duplex(PIPE);
    let maker = tokio::spawn(async move {
        let outcome = write(&state, members, mtime, writer).await;
        // A client that has gone away is none of our failures.
        if let Err(error) = outcome.as_ref().map_err(|error| error.kind())
            && error != io::ErrorKind::BrokenPipe
        {
            tracing::error!(%error, "an archive of an artifact could not be made");
        }
        outcome
    });
    let end = stream::once(maker).filter_map(|outcome| async {
        match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(panic) => Some(Err(io::Error::other(panic))),
        }
    });
    let pieces: std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> =
        Box::pin(ReaderStream::with_capacity(reader, 64 * 1024).chain(end));
    Body::from_stream(pieces)
}

async fn write(
    state: &AppState,
    members: Vec<Member>,
    mtime: u64,
    to: impl AsyncWrite + Send + Unpin,
) -> io::Result<()> {
    // Fast: most files of packages are compressed already.
    let encoder = GzipEncoder::with_quality(to, Level::Fastest);
    // The end mark is written by into_inner: an archive that failed has none.
    let mut archive = Builder::new_non_terminated(encoder);
    for Member { path, id } in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(id.size);
        header.set_mode(0o644);
        header.set_mtime(mtime);
        let content = open(state, id).await.map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        archive.append_data(&mut header, &path, StreamReader::new(content)).await?;
    }
    let mut encoder = archive.into_inner().await?;
    encoder.shutdown().await
}

/// The bytes of a file; empty ones need no store.
async fn open(state: &AppState, id: FileId) -> Result<usine_store::ByteStream, usine_store::StoreError> {
    if id.size == 0 { Ok(stream::empty().boxed()) } else { state.store.open_range(id, 0..id.size).await }
}
