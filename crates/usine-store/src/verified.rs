//! The ticket into a file store: a file on this machine whose content has been checked against its id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{blocking, digest, no_follow};
use crate::{FileId, StoreError};

/// A local file whose size and SHA-256 are known to be those of its [`FileId`].
///
/// Stores take nothing else, so no store can forget to check; and a caller who only names a digest never gets at a
/// content that somebody else uploaded, because the check comes before the store is asked whether it has the file.
/// The file must lie where nobody else writes.
#[derive(Debug, Clone)]
pub struct VerifiedFile {
    id: FileId,
    path: PathBuf,
    // Shared with the staging area, whose lock must last as long as a store works on the file.
    file: Arc<File>,
}

impl VerifiedFile {
    /// Reads the whole file once, in constant memory, and compares.
    ///
    /// # Errors
    /// [`StoreError::SizeMismatch`], [`StoreError::HashMismatch`], [`StoreError::NotThatFile`] for a symbolic link or
    /// anything that is not a regular file, [`StoreError::Io`].
    pub async fn check(path: &Path, id: FileId) -> Result<Self, StoreError> {
        let wanted = path.to_owned();
        blocking(move || {
            let file = no_follow().read(true).open(&wanted).map_err(|error| match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                    StoreError::NotThatFile { path: wanted.clone() }
                }
                _ => StoreError::io("open", &wanted, error),
            })?;
            Self::check_open(wanted, Arc::new(file), id)
        })
        .await
        .map_err(|error| StoreError::io("hash", path, error))?
    }

    /// The same for a file that is already open.
    pub(crate) fn check_open(path: PathBuf, file: Arc<File>, id: FileId) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("read", &path, error);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(StoreError::NotThatFile { path });
        }
        if metadata.len() != id.size {
            return Err(StoreError::SizeMismatch { path, expected: id.size, received: metadata.len() });
        }
        let (sha256, size) = digest(&file, |_| Ok(())).map_err(failed)?;
        if size != id.size {
            return Err(StoreError::SizeMismatch { path, expected: id.size, received: size });
        }
        Self::compare(path, file, id, sha256)
    }

    /// For a file whose `size` bytes have been hashed on their way to the disk.
    pub(crate) fn compare(path: PathBuf, file: Arc<File>, id: FileId, sha256: [u8; 32]) -> Result<Self, StoreError> {
        if sha256 == id.sha256 {
            Ok(Self { id, path, file })
        } else {
            Err(StoreError::HashMismatch { expected: id.sha256, received: sha256 })
        }
    }

    /// What the content is known by.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; its position may be anywhere.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The same, for work that goes on elsewhere.
    pub(crate) fn shared_file(&self) -> Arc<File> {
        self.file.clone()
    }
}
