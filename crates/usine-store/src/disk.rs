//! Small moves on the file system that stores and staging share: open safely, hash, make durable, leave the async threads.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

/// Bytes read, written and hashed at a time: large enough for the disk, small enough for many transfers at once.
pub(crate) const BUFFER: usize = 256 * 1024;

/// Runs file system work on the threads meant for it. The work goes on to its end even if nobody waits any more.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// The disk, the quota or the process's file size limit is exhausted (ENOSPC, EDQUOT, EFBIG in write(2)).
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Options that never follow a symbolic link in the last component and never wait on a FIFO.
pub(crate) fn no_follow() -> fs::OpenOptions {
    let mut options = File::options();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

/// Makes `path` and its missing parents.
pub(crate) fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes the names in a directory survive a power cut (fsync(2) of a file does not cover its name).
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether `path` still names the very file that is open.
pub(crate) fn is_same_file(path: &Path, open: &Metadata) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == open.dev() && named.ino() == open.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads from start to end, wherever the file's own position is, hands each piece to `each`, and returns the SHA-256 and
/// the number of bytes seen.
pub(crate) fn digest(file: &File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<([u8; 32], u64)> {
    let mut buffer = vec![0; BUFFER];
    let mut hasher = Sha256::new();
    let mut size = 0;
    loop {
        let count = match file.read_at(&mut buffer, size) {
            Ok(0) => return Ok((hasher.finalize().into(), size)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        each(&buffer[..count])?;
        size += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_full_device_is_told_from_other_failures() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        assert!(is_no_space(&full.write_all(b"x").unwrap_err()));
        assert!(!is_no_space(&File::open("/nonexistent").unwrap_err()));
    }
}
