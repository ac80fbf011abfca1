//! Walking through a local store: which files it has, and which directories nobody needs.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::LocalStore;
use crate::{Listing, StoreError, StoredFile};

/// Levels of directories above a file.
const LEVELS: u32 = 3;

impl LocalStore {
    pub(super) fn list_blocking(&self, first_byte: u8) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let top = self.base.join(hex::encode([first_byte]));
        list_below(&top, LEVELS - 1, &mut |path, name, metadata| {
            let id = name.parse().ok().filter(|&id| metadata.is_file() && self.path_of(id) == path);
            match id {
                Some(id) => {
                    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    listing.files.push(StoredFile { id, size: metadata.len(), modified });
                }
                None => listing.strange.push(path.to_owned()),
            }
        })?;
        listing.files.sort_by_key(|file| file.id);
        listing.strange.sort();
        Ok(listing)
    }

    pub(super) fn prune_blocking(&self, older_than: SystemTime) -> Result<usize, StoreError> {
        let mut pruned = 0;
        for first_byte in 0..=u8::MAX {
            prune_below(&self.base.join(hex::encode([first_byte])), LEVELS - 1, older_than, &mut pruned)?;
        }
        Ok(pruned)
    }
}

/// Calls `found` for everything that lies `levels` directories deeper, and for what is no directory above it.
fn list_below(
    directory: &Path,
    levels: u32,
    found: &mut impl FnMut(&Path, &str, &fs::Metadata),
) -> Result<(), StoreError> {
    for entry in entries(directory)? {
        let path = entry.path();
        // What goes away while we look is not there.
        let Some(metadata) = there(entry.metadata(), &path)? else { continue };
        if levels > 0 && metadata.is_dir() {
            list_below(&path, levels - 1, found)?;
        } else {
            found(&path, &entry.file_name().to_string_lossy(), &metadata);
        }
    }
    Ok(())
}

/// Removes the directories below, and this one, that are empty and have not changed since `older_than`.
fn prune_below(directory: &Path, levels: u32, older_than: SystemTime, pruned: &mut usize) -> Result<(), StoreError> {
    let Some(metadata) = there(fs::symlink_metadata(directory), directory)? else { return Ok(()) };
    // Before the ones below are removed, which changes this one.
    let old = there(metadata.modified(), directory)?.is_some_and(|modified| modified < older_than);
    if !metadata.is_dir() {
        return Ok(());
    }
    if levels > 0 {
        for entry in entries(directory)? {
            prune_below(&entry.path(), levels - 1, older_than, pruned)?;
        }
    }
    if old {
        match fs::remove_dir(directory) {
            Ok(()) => *pruned += 1,
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {}
            Err(error) => return Err(StoreError::io("remove the directory", directory, error)),
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    let failed = |error| StoreError::io("list", directory, error);
    match there(fs::read_dir(directory), directory)? {
        Some(entries) => entries.collect::<io::Result<_>>().map_err(failed),
        None => Ok(Vec::new()),
    }
}

/// `None` for what is not there.
fn there<T>(outcome: io::Result<T>, path: &Path) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path, error)),
    }
}
