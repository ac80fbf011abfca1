//! One worker per state directory: a second one would end the tasks of the first and take over its spool.

use std::fs::{File, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::{WorkerError, workdir};

const LOCK: &str = "lock";

/// Holds the directory for as long as it lives; the kernel lets go of it when the process ends, however it ends (flock(2)).
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Makes the directory if there is none, and takes it. Does not wait.
    pub fn take(directory: &Path) -> Result<Self, WorkerError> {
        workdir::make_reachable(directory)?;
        let path = directory.join(LOCK);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(WorkerError::io(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(WorkerError::InUse(directory.to_owned())),
            Err(error) => Err(WorkerError::io(&path)(error.into())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would not do while a child between fork and exec has the file open, too. It can hardly fail, and then the
        // end of the process does it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let error = Lock::take(directory.path()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let expected = format!("another worker uses {}", directory.path().display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        drop(lock);
        Lock::take(directory.path()).unwrap();
    }
}
