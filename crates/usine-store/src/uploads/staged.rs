//! One staged file, open and locked. Everything here blocks and belongs on the threads for file system work.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::hashes::Hashes;
use crate::disk::{is_same_file, no_follow};
use crate::{FileId, StoreError, UploadError, UploadName, VerifiedFile};

/// Private to the server until the file is whole.
const FILE_MODE: u32 = 0o600;

/// A staged file that nobody else works on, in this process or another, as long as this value lives.
///
/// The lock is flock(2), which goes with the open file: a request that is cancelled while a write is under way keeps it
/// until that write has ended.
#[derive(Debug)]
pub(super) struct Staged {
    name: UploadName,
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    /// Digest of all `length` bytes, if known.
    hasher: Option<Sha256>,
    hashes: Arc<Hashes>,
}

impl Staged {
    /// Opens and locks the file; `None` if there is none and `create` is false.
    ///
    /// # Errors
    /// [`UploadError::Busy`] if it is locked, [`UploadError::Io`].
    pub(super) fn open(
        directory: &Path,
        name: UploadName,
        create: bool,
        hashes: Arc<Hashes>,
    ) -> Result<Option<Self>, UploadError> {
        let path = directory.join(name.as_str());
        let failed = |error| UploadError::io("open", &path, 0, error);
        loop {
            let file = match no_follow().read(true).write(true).create(create).mode(FILE_MODE).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            let metadata = match lock(&path, &file) {
                Ok(Some(metadata)) => metadata,
                Ok(None) => continue,
                Err(TryLockError::WouldBlock) => return Err(UploadError::Busy { name }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            };
            if !metadata.is_file() {
                return Err(failed(io::Error::other("not a regular file")));
            }
            let length = metadata.len();
            let hasher = if length == 0 { Some(Sha256::new()) } else { hashes.take(&name, &file) };
            return Ok(Some(Self { name, path, file: Arc::new(file), length, hasher, hashes }));
        }
    }

    /// Bytes stored.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes the pieces at `offset`, at most the present length; what was stored after `offset` is cut off first, so
    /// that the length always counts bytes that belong together.
    pub(super) fn write(&mut self, offset: u64, pieces: &[Bytes]) -> io::Result<()> {
        if offset < self.length {
            self.hasher = None;
            self.file.set_len(offset)?;
            self.length = offset;
            self.hasher = (offset == 0).then(Sha256::new);
        }
        for piece in pieces {
            self.append(piece)?;
        }
        Ok(())
    }

    /// Like `write_all`, but knows how much was written when the disk is full in the middle.
    fn append(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            let count = match self.file.write_at(piece, self.length) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece[..count]);
            }
            self.length += count as u64;
            piece = &piece[count..];
        }
        Ok(())
    }

    /// Checks the whole content; the file stays locked until the ticket is gone, too.
    pub(super) fn verify(&self, id: FileId) -> Result<VerifiedFile, StoreError> {
        let (path, file) = (self.path.clone(), Arc::clone(&self.file));
        match &self.hasher {
            Some(hasher) => VerifiedFile::compare(path, file, id, hasher.clone().finalize().into()),
            None => VerifiedFile::check_open(path, file, id),
        }
    }

    /// Whether the last write was before `time`.
    pub(super) fn is_older(&self, time: SystemTime) -> Result<bool, UploadError> {
        let written = self.file.metadata().and_then(|metadata| metadata.modified());
        let written = written.map_err(|error| UploadError::io("look at", &self.path, self.length, error))?;
        Ok(written < time)
    }

    /// Removes the file.
    pub(super) fn remove(mut self) -> Result<(), UploadError> {
        self.hasher = None;
        fs::remove_file(&self.path).map_err(|error| UploadError::io("remove", &self.path, self.length, error))
    }
}

impl Drop for Staged {
    /// Puts the digest away for the next chunk, before the lock goes.
    fn drop(&mut self) {
        if let Some(hasher) = self.hasher.take() {
            self.hashes.keep(&self.name, &self.file, hasher);
        }
    }
}

/// Locks a file just opened as `path`. `None` if it went into the store or was removed before the lock was ours: it must
/// not be written to.
fn lock(path: &Path, file: &File) -> Result<Option<Metadata>, TryLockError> {
    file.try_lock()?;
    let metadata = file.metadata().map_err(TryLockError::Error)?;
    let ours = is_same_file(path, &metadata).map_err(TryLockError::Error)?;
    Ok(ours.then_some(metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_left_between_opening_and_locking_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upload");
        let file = File::create(&path).unwrap();
        assert!(matches!(lock(&path, &file), Ok(Some(_))));
        file.unlock().unwrap();

        fs::rename(&path, directory.path().join("in the store")).unwrap();
        assert!(matches!(lock(&path, &file), Ok(None)));

        File::create(&path).unwrap();
        assert!(matches!(lock(&path, &file), Ok(None)), "another upload has the name now");
    }
}
