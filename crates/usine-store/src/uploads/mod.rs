//! The staging area of resumable uploads: files that grow chunk by chunk until they are whole and go into a store.
//!
//! The bytes in a staged file are the only record of how far an upload is, so a broken connection, a cancelled request
//! or a crash needs no repair. They are not forced to the disk chunk by chunk: what a power cut damages is found when
//! the whole file is hashed.

mod error;
mod hashes;
mod name;
mod staged;

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{Stream, StreamExt};

pub use error::UploadError;
pub use name::{UploadName, UploadNameError};

use crate::disk::{BUFFER, blocking, make_directories};
use crate::{FileId, FileStore, Put, StoreError};
use hashes::Hashes;
use staged::Staged;

const DIRECTORY_MODE: u32 = 0o700;

/// The staging area. Clones share it. It should lie on the file system of the store: a finished file is then moved by a
/// rename; elsewhere it is copied.
#[derive(Debug, Clone)]
pub struct Uploads {
    directory: PathBuf,
    hashes: Arc<Hashes>,
}

/// What a request says about the chunk in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Where the body starts in the file, in bytes.
    pub offset: u64,
    /// Bytes the body must have, if the request gives a range.
    pub expected_length: Option<u64>,
    /// Size of the whole file in bytes.
    pub declared_size: u64,
}

impl Chunk {
    /// Refuses what cannot be right whatever the body brings.
    fn check(&self) -> Result<(), UploadError> {
        let reaches = self.offset.saturating_add(self.expected_length.unwrap_or(0));
        if reaches > self.declared_size {
            return Err(UploadError::BeyondSize { declared_size: self.declared_size, reaches });
        }
        Ok(())
    }

    /// Refuses a body that has `length` bytes so far.
    fn check_length(&self, length: u64) -> Result<(), UploadError> {
        if let Some(expected) = self.expected_length.filter(|&expected| length > expected) {
            return Err(UploadError::LengthMismatch { expected, received: length });
        }
        Chunk { expected_length: Some(length), ..*self }.check()
    }

    /// Refuses a body that ended after `length` bytes.
    fn check_end(&self, length: u64) -> Result<(), UploadError> {
        match self.expected_length {
            Some(expected) if length != expected => Err(UploadError::LengthMismatch { expected, received: length }),
            _ => Ok(()),
        }
    }

    /// Gathers pieces of the body up to the buffer's size, so that small ones do not each cost a write. `arrived` counts
    /// the bytes of the body taken so far.
    async fn gather<E>(
        &self,
        mut body: Pin<&mut impl Stream<Item = Result<Bytes, E>>>,
        arrived: &mut u64,
    ) -> (Vec<Bytes>, Next)
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut pieces = Vec::new();
        let full = *arrived + BUFFER as u64;
        while *arrived < full {
            let piece = match body.next().await {
                None => return (pieces, Next::End),
                Some(Err(error)) => return (pieces, Next::Broken(error.into())),
                Some(Ok(piece)) => piece,
            };
            let length = *arrived + piece.len() as u64;
            if let Err(error) = self.check_length(length) {
                return (pieces, Next::Refused(error));
            }
            *arrived = length;
            if !piece.is_empty() {
                pieces.push(piece);
            }
        }
        (pieces, Next::More)
    }
}

/// What comes after the gathered pieces of a body.
enum Next {
    More,
    End,
    Refused(UploadError),
    Broken(Box<dyn Error + Send + Sync>),
}

impl Uploads {
    /// Opens the staging area in `directory`, and makes the directory if it is missing.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Self, UploadError> {
        let directory = directory.into();
        let path = directory.clone();
        blocking(move || make_directories(&path, DIRECTORY_MODE))
            .await
            .flatten()
            .map_err(|error| UploadError::io("make the directory", &directory, 0, error))?;
        Ok(Self { directory, hashes: Arc::default() })
    }

    /// Bytes stored of this upload, the offset of the next chunk; `None` if there is nothing, not even an empty file.
    pub async fn received(&self, name: &UploadName) -> Result<Option<u64>, UploadError> {
        let path = self.directory.join(name.as_str());
        match tokio::fs::symlink_metadata(&path).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(UploadError::io("look at", &path, 0, error)),
        }
    }

    /// Stores the body at the chunk's offset and returns the bytes of the file stored now.
    ///
    /// The offset may be anywhere up to the bytes received; what was stored after it is dropped when the first byte of
    /// the body is written. Memory is bounded by the buffer and the size of one piece of the body. Bytes stored before an
    /// error or a cancellation count as received; bytes beyond the range or the size are never stored.
    ///
    /// # Errors
    /// [`UploadError::Gap`], [`UploadError::BeyondSize`], [`UploadError::LengthMismatch`], [`UploadError::Body`],
    /// [`UploadError::Busy`], [`UploadError::NoSpace`], [`UploadError::Io`].
    pub async fn write_chunk<E>(
        &self,
        name: &UploadName,
        chunk: Chunk,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, UploadError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        chunk.check()?;
        let path = self.directory.join(name.as_str());
        let gap = |received| UploadError::Gap { received, offset: chunk.offset };
        let mut staged = self.lock(name, chunk.offset == 0).await?.ok_or_else(|| gap(0))?;
        if chunk.offset > staged.length() {
            return Err(gap(staged.length()));
        }

        let mut body = pin!(body);
        let mut arrived = 0;
        loop {
            let offset = chunk.offset + arrived;
            let (pieces, next) = chunk.gather(body.as_mut(), &mut arrived).await;
            if !pieces.is_empty() {
                staged = write(staged, offset, pieces, &path).await?;
            }
            let received = staged.length();
            match next {
                Next::More => {}
                Next::End => return chunk.check_end(arrived).map(|()| received),
                Next::Refused(error) => return Err(error),
                Next::Broken(source) => return Err(UploadError::Body { received, source }),
            }
        }
    }

    /// Checks the whole upload against `id` and moves it into the store. If the store fails, the upload stays and can be
    /// finished later.
    ///
    /// # Errors
    /// [`UploadError::HashMismatch`], after which the upload is gone; [`UploadError::Unknown`],
    /// [`UploadError::Incomplete`], [`UploadError::Busy`], [`UploadError::Store`], [`UploadError::Io`].
    pub async fn finish(&self, name: &UploadName, id: FileId, store: &dyn FileStore) -> Result<Put, UploadError> {
        let staged = self.lock(name, false).await?.ok_or_else(|| UploadError::Unknown { name: name.clone() })?;
        if staged.length() != id.size {
            return Err(UploadError::Incomplete { received: staged.length(), declared_size: id.size });
        }
        let file = self.run(move || verify(staged, id)).await?;
        let put = store.put_verified(file).await.map_err(UploadError::Store)?;
        self.hashes.forget(name);
        Ok(put)
    }

    /// Drops what has been received; false if there was nothing.
    ///
    /// # Errors
    /// [`UploadError::Busy`], [`UploadError::Io`].
    pub async fn discard(&self, name: &UploadName) -> Result<bool, UploadError> {
        match self.lock(name, false).await? {
            Some(staged) => self.run(move || staged.remove()).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes the uploads that nobody works on and that have not been written to since `older_than`; returns their names.
    pub async fn sweep(&self, older_than: SystemTime) -> Result<Vec<UploadName>, UploadError> {
        let uploads = self.clone();
        self.run(move || uploads.sweep_blocking(older_than)).await
    }

    fn sweep_blocking(&self, older_than: SystemTime) -> Result<Vec<UploadName>, UploadError> {
        let failed = |error| UploadError::io("sweep", &self.directory, 0, error);
        let mut removed = Vec::new();
        let mut kept = HashSet::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<UploadName>().ok()) else {
                tracing::warn!(path = %entry.path().display(), "a file that is no upload lies in the staging area");
                continue;
            };
            if is_stale(&entry, older_than).map_err(failed)? && self.remove_if_idle(&name, older_than)? {
                removed.push(name);
            } else {
                kept.insert(name);
            }
        }
        self.hashes.retain(&kept);
        Ok(removed)
    }

    fn remove_if_idle(&self, name: &UploadName, older_than: SystemTime) -> Result<bool, UploadError> {
        match Staged::open(&self.directory, name.clone(), false, Arc::clone(&self.hashes)) {
            // A chunk may have come and gone before we had the lock.
            Ok(Some(staged)) if staged.is_older(older_than)? => staged.remove().map(|()| true),
            Ok(_) | Err(UploadError::Busy { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn lock(&self, name: &UploadName, create: bool) -> Result<Option<Staged>, UploadError> {
        let (directory, name, hashes) = (self.directory.clone(), name.clone(), Arc::clone(&self.hashes));
        self.run(move || Staged::open(&directory, name, create, hashes)).await
    }

    /// Runs file system work on the threads meant for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
    ) -> Result<T, UploadError> {
        blocking(work).await.unwrap_or_else(|error| Err(UploadError::io("work in", &self.directory, 0, error)))
    }
}

/// Writes on a thread for file system work; the lock travels with the work, so a cancelled request keeps it until the
/// write has ended.
async fn write(mut staged: Staged, offset: u64, pieces: Vec<Bytes>, path: &Path) -> Result<Staged, UploadError> {
    let (staged, outcome) = blocking(move || {
        let outcome = staged.write(offset, &pieces);
        (staged, outcome)
    })
    .await
    .map_err(|error| UploadError::io("write to", path, offset, error))?;
    match outcome {
        Ok(()) => Ok(staged),
        Err(error) => Err(UploadError::io("write to", path, staged.length(), error)),
    }
}

/// Compares the content with `id`; a wrong one is removed, so that the client can start over.
fn verify(staged: Staged, id: FileId) -> Result<crate::VerifiedFile, UploadError> {
    match staged.verify(id) {
        Ok(file) => Ok(file),
        Err(StoreError::HashMismatch { expected, received }) => {
            staged.remove()?;
            Err(UploadError::HashMismatch { expected, received })
        }
        Err(error) => Err(UploadError::Store(error)),
    }
}

fn is_stale(entry: &fs::DirEntry, older_than: SystemTime) -> io::Result<bool> {
    match entry.metadata() {
        Ok(metadata) => Ok(metadata.is_file() && metadata.modified()? < older_than),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
