//! The file store in a local directory.
//!
//! Layout: `<base>/<h[0:2]>/<h[2:4]>/<h[4:6]>/<h>-<size>` with `h` the SHA-256 in hexadecimal. A file comes under its
//! final name by one rename after its bytes are on the disk, so that a name in place always means a whole file.

mod listing;
mod removal;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream;

use crate::disk::{BUFFER, blocking, digest, is_same_file, make_directories, no_follow, sync_directory};
use crate::{ByteStream, FileId, FileStore, Listing, Put, SetAside, StoreError, VerifiedFile};
use removal::OUTGOING;

/// Where copies grow before they are whole. Not two hexadecimal digits, so never part of the layout.
const INCOMING: &str = "incoming";
/// Files are never written again; the group may read them (backups, a web server that sends files itself).
const FILE_MODE: u32 = 0o440;
/// Nobody outside the group may look for names: artifacts of private workspaces are in here, too.
const DIRECTORY_MODE: u32 = 0o750;

/// A [`FileStore`] in a directory of this machine.
#[derive(Debug, Clone)]
pub struct LocalStore {
    base: PathBuf,
}

impl LocalStore {
    /// Opens the store in `base`, and makes the directory if it is missing.
    pub async fn open(base: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let base = base.into();
        let own = [base.join(INCOMING), base.join(OUTGOING)];
        blocking(move || own.iter().try_for_each(|directory| make_directories(directory, DIRECTORY_MODE)))
            .await
            .flatten()
            .map_err(|error| StoreError::io("make the directories of the file store in", &base, error))?;
        Ok(Self { base })
    }

    fn path_of(&self, id: FileId) -> PathBuf {
        let hex = id.sha256_hex();
        self.base.join(&hex[0..2]).join(&hex[2..4]).join(&hex[4..6]).join(id.to_string())
    }

    fn put_blocking(&self, source: &VerifiedFile) -> Result<Put, StoreError> {
        let (id, from) = (source.id(), source.path());
        let target = self.path_of(id);
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::io(action, path, error)
        };

        let metadata = source.file().metadata().map_err(failed("look at", from))?;
        if !is_same_file(from, &metadata).map_err(failed("look at", from))? {
            return Err(StoreError::NotThatFile { path: from.to_owned() });
        }

        if self.has(id)? {
            // Somebody else may have put it there a moment ago: it counts when it would survive a power cut.
            self.sync_names(&target)?;
            fs::remove_file(from).map_err(failed("remove", from))?;
            return Ok(Put::AlreadyThere);
        }

        let moved = self.with_directory(&target, || {
            // Whoever has another name for the file could still change it: such a file is copied, not moved.
            let moved = metadata.nlink() == 1 && self.move_in(source, &target)?;
            if !moved {
                self.copy_in(source, &target)?;
            }
            Ok(moved)
        })?;
        self.sync_names(&target)?;
        if !moved {
            fs::remove_file(from).map_err(failed("remove", from))?;
        }
        Ok(Put::Added)
    }

    /// Renames the file into place; false if it is on another file system.
    fn move_in(&self, source: &VerifiedFile, target: &Path) -> Result<bool, StoreError> {
        let from = source.path();
        source.file().sync_all().map_err(|error| StoreError::io("write to disk", from, error))?;
        match fs::rename(from, target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
            Err(error) => return Err(StoreError::io("move into the store as", target, error)),
        }
        // Only now: if the rename fails, an upload must still be able to write to its file.
        seal(source.file()).map_err(|error| StoreError::io("set the permissions of", target, error))?;
        Ok(true)
    }

    /// Copies the file to the store's file system, then renames the copy into place.
    fn copy_in(&self, source: &VerifiedFile, target: &Path) -> Result<(), StoreError> {
        let incoming = self.base.join(INCOMING);
        let failed = |error| StoreError::io("copy into", &incoming, error);
        // Removed when dropped, whatever goes wrong below; what a crash leaves is swept.
        let copy = tempfile::Builder::new().prefix("put-").tempfile_in(&incoming).map_err(failed)?;
        let mut offset = 0;
        let (sha256, size) = digest(source.file(), |piece| {
            copy.as_file().write_all_at(piece, offset)?;
            offset += piece.len() as u64;
            Ok(())
        })
        .map_err(failed)?;
        if (FileId { sha256, size }) != source.id() {
            return Err(StoreError::NotThatFile { path: source.path().to_owned() });
        }
        seal(copy.as_file()).map_err(failed)?;
        copy.persist(target).map_err(|error| StoreError::io("move into the store as", target, error.error))?;
        Ok(())
    }

    /// Makes the name of a file and those of the directories above it durable. All of them, each time: another put may
    /// have made a directory a moment ago and not have come to this point.
    fn sync_names(&self, target: &Path) -> Result<(), StoreError> {
        for directory in target.ancestors().skip(1).take_while(|path| path.starts_with(&self.base)) {
            sync_directory(directory).map_err(|error| StoreError::io("write to disk", directory, error))?;
        }
        Ok(())
    }

    fn has(&self, id: FileId) -> Result<bool, StoreError> {
        let path = self.path_of(id);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == id.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("look at", path, error)),
        }
    }

    fn open_blocking(&self, id: FileId, range: &Range<u64>) -> Result<File, StoreError> {
        if range.start > range.end || range.end > id.size {
            return Err(StoreError::RangeOutside { id, range: range.clone() });
        }
        let path = self.path_of(id);
        let file = match self.open_any(id)? {
            Some(file) => file,
            None => return Err(StoreError::NotFound { id }),
        };
        let found = file.metadata().map_err(|error| StoreError::io("look at", &path, error))?.len();
        if found != id.size {
            return Err(StoreError::Damaged { path, expected: id.size, found });
        }
        Ok(file)
    }

    /// Opens the file, also while it is aside for a moment. The second look is for one that was put back meanwhile.
    fn open_any(&self, id: FileId) -> Result<Option<File>, StoreError> {
        let in_place = || {
            let path = self.path_of(id);
            match no_follow().read(true).open(&path) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(StoreError::io("open", path, error)),
            }
        };
        if let Some(file) = in_place()? {
            return Ok(Some(file));
        }
        match self.open_aside(id)? {
            Some(file) => Ok(Some(file)),
            None => in_place(),
        }
    }

    fn contains_blocking(&self, id: FileId) -> Result<bool, StoreError> {
        if self.has(id)? {
            return Ok(true);
        }
        match self.open_any(id)? {
            None => Ok(false),
            Some(file) => {
                let metadata = file.metadata();
                let metadata = metadata.map_err(|error| StoreError::io("look at", self.path_of(id), error))?;
                Ok(metadata.is_file() && metadata.len() == id.size)
            }
        }
    }

    /// Runs one operation on the threads for file system work.
    fn run<T: Send + 'static>(
        &self,
        id: FileId,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.run_at(self.path_of(id), work)
    }

    /// The same for what is about the whole store.
    fn run_on_all<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.run_at(self.base.clone(), work)
    }

    fn run_at<T: Send + 'static>(
        &self,
        path: PathBuf,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            blocking(move || work(&store)).await.unwrap_or_else(|error| Err(StoreError::io("work on", path, error)))
        })
    }
}

impl FileStore for LocalStore {
    fn put_verified(&self, file: VerifiedFile) -> BoxFuture<'_, Result<Put, StoreError>> {
        self.run(file.id(), move |store| store.put_blocking(&file))
    }

    fn open_range(&self, id: FileId, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, StoreError>> {
        Box::pin(async move {
            let wanted = range.clone();
            let file = self.run(id, move |store| store.open_blocking(id, &wanted)).await?;
            Ok(read_range(Arc::new(file), range))
        })
    }

    fn contains(&self, id: FileId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.run(id, move |store| store.contains_blocking(id))
    }

    fn set_aside(&self, id: FileId, random: [u8; 32]) -> BoxFuture<'_, Result<Option<SetAside>, StoreError>> {
        self.run(id, move |store| store.set_aside_blocking(id, random))
    }

    fn put_back(&self, aside: SetAside) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(aside.id, move |store| store.put_back_blocking(&aside))
    }

    fn discard(&self, aside: SetAside) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(aside.id, move |store| store.discard_blocking(&aside))
    }

    fn aside(&self) -> BoxFuture<'_, Result<Vec<SetAside>, StoreError>> {
        self.run_on_all(Self::aside_blocking)
    }

    fn list(&self, first_byte: u8) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.run_on_all(move |store| store.list_blocking(first_byte))
    }

    fn prune(&self, older_than: SystemTime) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.run_on_all(move |store| store.prune_blocking(older_than))
    }

    fn sweep(&self, older_than: SystemTime) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.run_on_all(move |store| {
            let incoming = store.base.join(INCOMING);
            sweep_incoming(&incoming, older_than).map_err(|error| StoreError::io("sweep", incoming, error))
        })
    }

    fn local_path(&self, id: FileId) -> Option<PathBuf> {
        Some(self.path_of(id))
    }
}

/// Sets the permissions of a stored file for good, and writes data and permissions to the disk.
fn seal(file: &File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

fn read_range(file: Arc<File>, range: Range<u64>) -> ByteStream {
    Box::pin(stream::try_unfold(range, move |Range { start, end }| {
        let file = Arc::clone(&file);
        async move {
            let length = (end - start).min(BUFFER as u64) as usize;
            if length == 0 {
                return Ok(None);
            }
            let piece = blocking(move || -> io::Result<Bytes> {
                let mut piece = BytesMut::zeroed(length);
                file.read_exact_at(&mut piece, start)?;
                Ok(piece.freeze())
            })
            .await
            .flatten()?;
            Ok(Some((piece, start + length as u64..end)))
        }
    }))
}

fn sweep_incoming(incoming: &Path, older_than: SystemTime) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(incoming)? {
        let entry = entry?;
        let stale = match entry.metadata() {
            Ok(metadata) => metadata.is_file() && metadata.modified()? < older_than,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if stale {
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}
