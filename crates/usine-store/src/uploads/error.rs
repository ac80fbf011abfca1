//! What can go wrong with a partial upload.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::is_no_space;
use crate::{StoreError, UploadName};

/// Why a partial upload could not be continued, finished or discarded.
///
/// Whatever the error of a chunk, [`Uploads::received`](crate::Uploads::received) tells afterwards how many bytes are
/// stored; the client goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The chunk starts after the bytes received so far.
    #[error(
        "Server had received {received} bytes of the file. New upload starts at {offset}. \
         Please continue from {received}"
    )]
    Gap {
        /// Bytes stored, where the next chunk may start at the latest.
        received: u64,
        /// Where the chunk starts.
        offset: u64,
    },
    /// The chunk starts or goes on beyond the size that the file was declared with.
    #[error("Data reaches byte {reaches} of a file of {declared_size} bytes")]
    BeyondSize {
        /// Size of the file in bytes, as declared when the artifact was created.
        declared_size: u64,
        /// Bytes the file would have at least.
        reaches: u64,
    },
    /// The chunk's body is shorter or longer than its range says.
    #[error("The range announces {expected} bytes, the body has {received}{}", if received > expected { " or more" } else { "" })]
    LengthMismatch {
        /// Bytes announced.
        expected: u64,
        /// Bytes of the body when it was given up.
        received: u64,
    },
    /// The body broke off.
    #[error("the connection broke when {received} bytes of the file were stored")]
    Body {
        /// Bytes of the file stored now.
        received: u64,
        /// What the connection said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another request is writing, finishing or discarding the same upload.
    #[error("another request is working on upload {name}; try again when it has ended")]
    Busy {
        /// The upload.
        name: UploadName,
    },
    /// Nothing of this upload is stored.
    #[error("nothing has been received of upload {name}")]
    Unknown {
        /// The upload.
        name: UploadName,
    },
    /// The upload cannot be finished: its length is not that of the file.
    #[error("{received} of {declared_size} bytes have been received; please continue from there")]
    Incomplete {
        /// Bytes stored.
        received: u64,
        /// Size of the file in bytes.
        declared_size: u64,
    },
    /// The whole content is not the one announced. The upload has been discarded: start again at byte 0.
    #[error("Invalid file hash. Expected: {} Received: {}", hex::encode(.expected), hex::encode(.received))]
    HashMismatch {
        /// SHA-256 announced.
        expected: [u8; 32],
        /// SHA-256 of what was received.
        received: [u8; 32],
    },
    /// The staging area is full. What was stored before is still there.
    #[error("no space left for uploads; {received} bytes of the file are stored, continue when there is room")]
    NoSpace {
        /// Bytes of the file stored now.
        received: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// The store did not take the finished file, which stays staged.
    #[error("the file is uploaded but could not be stored")]
    Store(#[source] StoreError),
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
}

impl UploadError {
    /// Says what was tried on which path, when `received` bytes were stored; tells a full disk from other failures.
    pub(super) fn io(action: &'static str, path: &Path, received: u64, source: io::Error) -> Self {
        if is_no_space(&source) {
            Self::NoSpace { received, source }
        } else {
            Self::Io { action, path: path.to_owned(), source }
        }
    }
}
