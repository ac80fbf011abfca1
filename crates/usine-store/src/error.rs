//! What can go wrong in a file store.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::FileId;
use crate::disk::is_no_space;

/// Why a file store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store does not have this file.
    #[error("file {id} is not in the store")]
    NotFound {
        /// The file asked for.
        id: FileId,
    },
    /// The content is not the one announced.
    #[error("Invalid file hash. Expected: {} Received: {}", hex::encode(.expected), hex::encode(.received))]
    HashMismatch {
        /// SHA-256 announced.
        expected: [u8; 32],
        /// SHA-256 of the content.
        received: [u8; 32],
    },
    /// The content is shorter or longer than announced.
    #[error("{} has {received} bytes where {expected} were announced", path.display())]
    SizeMismatch {
        /// The file offered.
        path: PathBuf,
        /// Bytes announced.
        expected: u64,
        /// Bytes found.
        received: u64,
    },
    /// The stored file lost or gained bytes: the disk or a person damaged it. Put it again to repair it.
    #[error("stored file {} is damaged: it has {found} bytes instead of {expected}", path.display())]
    Damaged {
        /// The stored file.
        path: PathBuf,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The bytes asked for are not all inside the file.
    #[error("bytes {}..{} are not inside file {id}", range.start, range.end)]
    RangeOutside {
        /// The file asked for.
        id: FileId,
        /// The bytes asked for.
        range: Range<u64>,
    },
    /// Not a regular file, or no longer the file that was verified.
    #[error("{} is not the regular file it was expected to be; it was not taken", path.display())]
    NotThatFile {
        /// The file offered.
        path: PathBuf,
    },
    /// The disk, the quota or the file size limit is exhausted.
    #[error("no space left to write {}; free some or enlarge the store, then try again", path.display())]
    NoSpace {
        /// Where the bytes should have gone.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as in "cannot …".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Any other failure of a service in the network.
    #[error("cannot {action} {place}: {problem}")]
    Remote {
        /// What was tried, as in "cannot …".
        action: &'static str,
        /// On what.
        place: String,
        /// The service's answer, or that there was none, with all causes.
        problem: String,
    },
}

impl StoreError {
    /// Says what was tried on which path, and tells a full disk from other failures.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().to_owned();
        if is_no_space(&source) { Self::NoSpace { path, source } } else { Self::Io { action, path, source } }
    }
    /// The same for a service in the network.
    pub(crate) fn remote(action: &'static str, place: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::Remote { action, place: place.into(), problem: error.to_string() }
    }
}
