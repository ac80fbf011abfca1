//! Removing files while others may be putting the same ones.
//!
//! A copy is first set aside by one rename. From then on a put of the same content finds nothing and brings its own copy.
//! Whoever was told "already there" before that has an artifact in the database, which the caller looks for now; if there
//! is one, the copy is put back, else it is discarded. What a crash leaves aside is found again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{DIRECTORY_MODE, LocalStore};
use crate::disk::{make_directories, no_follow};
use crate::{FileId, SetAside, StoreError};

/// Where copies wait that may have to go. Not two hexadecimal digits, so never part of the layout.
pub(super) const OUTGOING: &str = "outgoing";

impl LocalStore {
    pub(super) fn set_aside_blocking(&self, id: FileId, random: [u8; 32]) -> Result<Option<SetAside>, StoreError> {
        let aside = SetAside { id, mark: hex::encode(random) };
        let path = self.path_of(id);
        match fs::rename(&path, self.path_aside(&aside)) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("set aside", path, error)),
        }
    }

    pub(super) fn put_back_blocking(&self, aside: &SetAside) -> Result<(), StoreError> {
        let (path, target) = (self.path_aside(aside), self.path_of(aside.id));
        // A damaged copy must not take the place of a good one that has come meanwhile.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == aside.id.size => {}
            Ok(_) => return self.discard_blocking(aside),
            // Somebody else has put it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("look at", path, error)),
        }
        self.with_directory(&target, || match fs::rename(&path, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(()),
            Err(error) => Err(StoreError::io("put back into the store as", &target, error)),
            Ok(()) => self.sync_names(&target),
        })
    }

    pub(super) fn discard_blocking(&self, aside: &SetAside) -> Result<(), StoreError> {
        let path = self.path_aside(aside);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
            _ => Ok(()),
        }
    }

    pub(super) fn aside_blocking(&self) -> Result<Vec<SetAside>, StoreError> {
        let directory = self.base.join(OUTGOING);
        let failed = |error| StoreError::io("list", &directory, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            match name.to_str().and_then(parse) {
                Some(aside) => found.push(aside),
                None => {
                    let path = directory.join(name);
                    tracing::warn!(path = %path.display(), "a file that is no copy set aside lies there");
                }
            }
        }
        Ok(found)
    }

    /// Opens a copy of the file that is aside for a moment, if there is one.
    pub(super) fn open_aside(&self, id: FileId) -> Result<Option<File>, StoreError> {
        for aside in self.aside_blocking()?.into_iter().filter(|aside| aside.id == id) {
            let path = self.path_aside(&aside);
            match no_follow().read(true).open(&path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("open", path, error)),
            }
        }
        Ok(None)
    }

    /// Does something that needs the directory of `target`, which is made if it is missing. Again, if it was pruned away
    /// in between.
    pub(super) fn with_directory<T>(
        &self,
        target: &Path,
        mut work: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        const MAX_TRIES: u32 = 20;
        let Some(parent) = target.parent() else { return work() };
        let mut tries = 1;
        loop {
            // While the lower directories are made, the upper ones may be pruned as well.
            let made = make_directories(parent, DIRECTORY_MODE);
            match made.map_err(|error| StoreError::io("make the directory", parent, error)).and_then(|()| work()) {
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < MAX_TRIES => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn path_aside(&self, aside: &SetAside) -> PathBuf {
        self.base.join(OUTGOING).join(format!("{}.{}", aside.id, aside.mark))
    }
}

fn parse(name: &str) -> Option<SetAside> {
    let (id, mark) = name.split_once('.')?;
    let plain = !mark.is_empty() && mark.chars().all(|c| c.is_ascii_hexdigit());
    Some(SetAside { id: id.parse().ok().filter(|_| plain)?, mark: mark.to_owned() })
}
