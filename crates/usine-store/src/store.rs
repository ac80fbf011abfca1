//! What every file store can do, wherever it keeps its bytes.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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

/// A file that was moved out of the way and may have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Which file.
    pub id: FileId,
    /// Which copy of it.
    pub(crate) mark: String,
}

/// What lies in a part of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files, by id.
    pub files: Vec<StoredFile>,
    /// What has no business to be there, by name.
    pub strange: Vec<PathBuf>,
}

/// A file as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Which file, by its name.
    pub id: FileId,
    /// The bytes it has: another number than the name says if it is damaged.
    pub size: u64,
    /// When it was last written to.
    pub modified: SystemTime,
}

/// A place that keeps whole files by their content.
///
/// All operations may run at the same time, also on one file. A store cannot know who relies on a file: removal goes in
/// two steps, with a look at the database in between.
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

    /// Moves the file out of the way: the first step of its removal. `None` if there was none. From now on the store does
    /// not count it as there when the same file is put; readers still find it. `random` tells this copy from others of the
    /// same file.
    ///
    /// Then the caller must find out whether anybody relies on the file, in a transaction that begins now, and either
    /// [put it back](Self::put_back) or [discard](Self::discard) it.
    fn set_aside(&self, id: FileId, random: [u8; 32]) -> BoxFuture<'_, Result<Option<SetAside>, StoreError>>;

    /// Puts a file back that somebody relies on. Does no harm twice.
    fn put_back(&self, aside: SetAside) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes a file for good that nobody relies on. Streams already open go on. Does no harm twice.
    fn discard(&self, aside: SetAside) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All files that are aside: of removals under way, and of those that were interrupted. Whoever wants to may decide
    /// about each, as after [`set_aside`](Self::set_aside).
    fn aside(&self) -> BoxFuture<'_, Result<Vec<SetAside>, StoreError>>;

    /// All files whose digest begins with this byte.
    fn list(&self, first_byte: u8) -> BoxFuture<'_, Result<Listing, StoreError>>;

    /// Removes empty directories that have not changed since `older_than`; returns how many.
    fn prune(&self, older_than: SystemTime) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Removes what interrupted puts left behind and nobody has written to since `older_than`; returns how many.
    fn sweep(&self, older_than: SystemTime) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Where the file would be on this machine, for those who can read a path faster than a stream. `None` for a remote
    /// store. Whoever opens it must not write.
    fn local_path(&self, id: FileId) -> Option<PathBuf>;
}
