//! What every file store can do, wherever it keeps its bytes.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::{FileId, StoreError, VerifiedFile};

/// The bytes of a file or of a range of it, in order, in pieces of bounded size. It ends after the last byte asked for;
/// if the file cannot give them all, the last item is an error.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// What putting a file changed; the journal of the store counts only what was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The store did not have the file and has it now.
    Added,
    /// The store had the file already.
    AlreadyThere,
}

/// A place that keeps whole files by their content.
///
/// All operations may run at the same time, also on one file. Who decides that a file may go (no row refers to it) must
/// keep others from relying on the same file meanwhile: a store cannot know.
pub trait FileStore: Send + Sync + fmt::Debug {
    /// Takes the file into the store. On success the local file is gone and the content survives a power cut. After a
    /// failure the store has either nothing or the whole file under this id, and in the first case the local file is
    /// still where it was.
    fn put_verified(&self, file: VerifiedFile) -> BoxFuture<'_, Result<Put, StoreError>>;

    /// Checks the local file against `id`, then takes it into the store as [`put_verified`](Self::put_verified) does.
    fn put<'a>(&'a self, id: FileId, local_file: &'a Path) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async move { self.put_verified(VerifiedFile::check(local_file, id).await?).await })
    }

    /// The bytes `range.start` up to but not including `range.end`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::RangeOutside`] unless start ≤ end ≤ size, [`StoreError::Damaged`].
    fn open_range(&self, id: FileId, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, StoreError>>;

    /// Whether the store has the file, as far as its size tells.
    fn contains(&self, id: FileId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Removes the file; false if there was none. Streams already open go on.
    fn remove(&self, id: FileId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Where the file would be on this machine, for those who can read a path faster than a stream. `None` for a remote
    /// store. Whoever opens it must not write.
    fn local_path(&self, id: FileId) -> Option<PathBuf>;
}
