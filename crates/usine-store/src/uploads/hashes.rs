//! Digests of the uploads in progress, so that a large file need not be read again when its last chunk has come.
//!
//! They live in memory only: after a restart, or after somebody else touched the file, it is simply read again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::Sha256;

use crate::UploadName;

/// What a file looked like when its digest was put away; any write or truncation since then changes it (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The digests, by upload.
#[derive(Debug, Default)]
pub(super) struct Hashes(Mutex<HashMap<UploadName, (Stamp, Sha256)>>);

impl Hashes {
    /// Puts the digest of all bytes of `file` away until the next chunk.
    pub(super) fn keep(&self, name: &UploadName, file: &File, hasher: Sha256) {
        // Without a stamp there is nothing to compare later: the file will be read again.
        if let Ok(stamp) = Stamp::of(file) {
            self.map().insert(name.clone(), (stamp, hasher));
        }
    }

    /// Takes the digest back if the file is as it was.
    pub(super) fn take(&self, name: &UploadName, file: &File) -> Option<Sha256> {
        let (kept, hasher) = self.map().remove(name)?;
        (Stamp::of(file).ok()? == kept).then_some(hasher)
    }

    /// Forgets an upload that has ended.
    pub(super) fn forget(&self, name: &UploadName) {
        self.map().remove(name);
    }

    /// Forgets all uploads but these.
    pub(super) fn retain(&self, staged: &HashSet<UploadName>) {
        self.map().retain(|name, _| staged.contains(name));
    }

    fn map(&self) -> MutexGuard<'_, HashMap<UploadName, (Stamp, Sha256)>> {
        // Every change of the map is one call, so a panic elsewhere cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
