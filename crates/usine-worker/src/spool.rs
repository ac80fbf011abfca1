//! What tasks made, on disk until the server has it: one directory per work request, with a manifest and the files.
//!
//! The manifest is written (and synced) before anything is sent and after each step that must not be done twice.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use usine_model::artifact::{ArtifactCategory, ArtifactPath, RelationType};
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_tasks::{ArtifactRef, Outcome};

const MANIFEST: &str = "manifest.json";
const FILES: &str = "files";

/// Format of the manifest.
const VERSION: u32 = 1;

/// The spool of one worker.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
}

/// Whose the outcome is.
#[derive(Clone)]
pub struct Origin {
    /// The work request.
    pub work_request: i64,
    /// Name of its scope.
    pub scope: String,
    /// Name of its workspace.
    pub workspace: String,
    /// Key of its token.
    pub token: String,
}

/// All that the server must get, and how much of it it has.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// The work request.
    pub work_request: i64,
    /// Name of its scope.
    pub scope: String,
    /// Name of its workspace.
    pub workspace: String,
    /// Key of its token; the manifest is readable by its owner only.
    pub token: String,
    /// Artifacts, in the order of creation.
    pub artifacts: Vec<SpooledArtifact>,
    /// Relations, in the order of creation.
    pub relations: Vec<SpooledRelation>,
    /// How many relations the server has.
    #[serde(default)]
    pub relations_done: usize,
    /// The result.
    pub result: Results,
    /// What else to report.
    pub output_data: OutputData,
}

/// An artifact of the manifest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpooledArtifact {
    /// Its category.
    pub category: ArtifactCategory,
    /// Its data.
    pub data: Value,
    /// Its files.
    pub files: BTreeMap<ArtifactPath, SpooledFile>,
    /// Its id once it is created.
    #[serde(default)]
    pub id: Option<i64>,
    /// Whether all its files are there.
    #[serde(default)]
    pub complete: bool,
}

/// A file of the spool.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpooledFile {
    /// Its name in the directory of files; several artifacts may share one.
    pub stored: String,
    /// Bytes.
    pub size: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// Its content type, if the task has decided it.
    pub content_type: Option<String>,
}

/// A relation of the manifest.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpooledRelation {
    /// What relates.
    pub artifact: End,
    /// To what.
    pub target: End,
    /// How.
    pub relation_type: RelationType,
}

/// One end of a relation.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// An index of the manifest's artifacts.
    Made(usize),
    /// An artifact on the server.
    Existing(i64),
}

impl From<ArtifactRef> for End {
    fn from(end: ArtifactRef) -> Self {
        match end {
            ArtifactRef::Made(index) => Self::Made(index),
            ArtifactRef::Existing(id) => Self::Existing(id),
        }
    }
}

/// Why an outcome cannot be spooled.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that the task may not hand over.
    #[error("{} cannot be taken into an artifact: {problem}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The task's own mistake.
    #[error("{0}")]
    Inconsistent(String),
}

impl SpoolError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

impl Spool {
    /// Opens the spool, which nobody else may read, and removes entries that were never finished. Blocks.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, SpoolError> {
        let directory = directory.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(SpoolError::io(&directory))?;
        for entry in fs::read_dir(&directory).map_err(SpoolError::io(&directory))? {
            let path = entry.map_err(SpoolError::io(&directory))?.path();
            if path.is_dir() && !path.join(MANIFEST).exists() {
                fs::remove_dir_all(&path).map_err(SpoolError::io(&path))?;
            }
        }
        Ok(Self { directory })
    }

    /// Takes over an outcome: moves its files out of `root`, then writes the manifest. Blocks.
    ///
    /// # Errors
    /// If a file is not a regular file below `root` (a link could lead anywhere), or the disk fails. Nothing is kept then.
    pub fn store(&self, origin: &Origin, result: Results, outcome: Outcome, root: &Path) -> Result<Entry, SpoolError> {
        let directory = self.directory.join(origin.work_request.to_string());
        let stored = self.try_store(origin, result, outcome, root, &directory);
        if stored.is_err() {
            // What could not be stored wholly is of no use.
            let _ = fs::remove_dir_all(&directory);
        }
        stored
    }

    fn try_store(
        &self,
        origin: &Origin,
        result: Results,
        outcome: Outcome,
        root: &Path,
        directory: &Path,
    ) -> Result<Entry, SpoolError> {
        let made = outcome.artifacts.len();
        let exists = |end| !matches!(end, ArtifactRef::Made(index) if index >= made);
        if outcome.relations.iter().any(|relation| !exists(relation.artifact) || !exists(relation.target)) {
            return Err(SpoolError::Inconsistent(format!(
                "a relation names an artifact beyond the {made} that were made"
            )));
        }
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SpoolError::io(directory)(error)),
            _ => {}
        }
        let files = directory.join(FILES);
        DirBuilder::new().recursive(true).mode(0o700).create(&files).map_err(SpoolError::io(&files))?;
        let mut mover = Mover { root: open_directory(root)?, root_path: root, files, moved: BTreeMap::new() };

        let mut artifacts = Vec::with_capacity(made);
        for artifact in outcome.artifacts {
            let mut files = BTreeMap::new();
            for (path, file) in artifact.files {
                let mut spooled = mover.take(&file.path)?;
                spooled.content_type = file.content_type;
                files.insert(path, spooled);
            }
            artifacts.push(SpooledArtifact {
                category: artifact.category,
                data: artifact.data,
                files,
                id: None,
                complete: false,
            });
        }
        let relations = outcome.relations.into_iter().map(|relation| SpooledRelation {
            artifact: relation.artifact.into(),
            target: relation.target.into(),
            relation_type: relation.relation_type,
        });
        let manifest = Manifest {
            version: VERSION,
            work_request: origin.work_request,
            scope: origin.scope.clone(),
            workspace: origin.workspace.clone(),
            token: origin.token.clone(),
            artifacts,
            relations: relations.collect(),
            relations_done: 0,
            result,
            output_data: outcome.output_data,
        };
        sync_directory(&mover.files)?;
        let entry = Entry { directory: directory.to_owned(), manifest };
        entry.save()?;
        sync_directory(&self.directory)?;
        Ok(entry)
    }

    /// All entries, oldest work request first. One with a damaged manifest is set aside. Blocks.
    pub fn entries(&self) -> Result<Vec<Entry>, SpoolError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(SpoolError::io(&self.directory))? {
            let directory = entry.map_err(SpoolError::io(&self.directory))?.path();
            if directory.extension().is_some() || !directory.join(MANIFEST).exists() {
                continue;
            }
            match read_manifest(&directory.join(MANIFEST)) {
                Ok(manifest) => entries.push(Entry { directory, manifest }),
                Err(error) => {
                    let aside = directory.with_extension("broken");
                    tracing::error!(%error, kept_as = %aside.display(), "a damaged entry of the spool is set aside");
                    let _ = fs::remove_dir_all(&aside);
                    fs::rename(&directory, &aside).map_err(SpoolError::io(&directory))?;
                }
            }
        }
        entries.sort_by_key(|entry| entry.manifest.work_request);
        Ok(entries)
    }
}

/// One outcome in the spool.
pub struct Entry {
    directory: PathBuf,
    /// What must be delivered.
    pub manifest: Manifest,
}

impl Entry {
    /// Where a file is.
    pub fn path_of(&self, file: &SpooledFile) -> PathBuf {
        self.directory.join(FILES).join(&file.stored)
    }

    /// Writes the manifest so that a crash leaves either the old or the new one.
    pub fn save(&self) -> Result<(), SpoolError> {
        let path = self.directory.join(MANIFEST);
        let temporary = self.directory.join(".manifest.new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            serde_json::to_writer(&mut file, &self.manifest)?;
            file.flush()?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(SpoolError::io(&path))?;
        sync_directory(&self.directory)
    }

    /// Forgets it: the server has all, or does not want it.
    pub fn remove(self) -> Result<(), SpoolError> {
        // Without its manifest the rest is rubbish, also after a crash.
        let manifest = self.directory.join(MANIFEST);
        fs::remove_file(&manifest).map_err(SpoolError::io(&manifest))?;
        fs::remove_dir_all(&self.directory).map_err(SpoolError::io(&self.directory))
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, SpoolError> {
    let file = File::open(path).map_err(SpoolError::io(path))?;
    let manifest: Manifest =
        serde_json::from_reader(io::BufReader::new(file)).map_err(|error| SpoolError::io(path)(error.into()))?;
    if manifest.version != VERSION {
        return Err(SpoolError::Inconsistent(format!(
            "{}: version {} is not {VERSION}",
            path.display(),
            manifest.version
        )));
    }
    Ok(manifest)
}

/// Moves files out of a directory that a task could write to, without following any link.
struct Mover<'a> {
    root: OwnedFd,
    root_path: &'a Path,
    files: PathBuf,
    moved: BTreeMap<PathBuf, SpooledFile>,
}

impl Mover<'_> {
    fn take(&mut self, path: &Path) -> Result<SpooledFile, SpoolError> {
        if let Some(spooled) = self.moved.get(path) {
            return Ok(spooled.clone());
        }
        let stored = self.moved.len().to_string();
        let target = self.files.join(&stored);
        self.move_file(path, &stored)?;
        let (size, sha256) = facts(&target).map_err(SpoolError::io(&target))?;
        let spooled = SpooledFile { stored, size, sha256, content_type: None };
        self.moved.insert(path.to_owned(), spooled.clone());
        Ok(spooled)
    }

    fn move_file(&self, path: &Path, stored: &str) -> Result<(), SpoolError> {
        let bad = |problem: String| SpoolError::BadFile { path: path.to_owned(), problem };
        let system = |error: rustix::io::Errno| bad(io::Error::from(error).to_string());
        let relative =
            path.strip_prefix(self.root_path).map_err(|_| bad("it is outside of the task's directory".to_owned()))?;
        let mut components = Vec::new();
        for component in relative.components() {
            match component {
                Component::Normal(name) => components.push(name),
                _ => return Err(bad("its path has '..' in it".to_owned())),
            }
        }
        let (name, parents) = components.split_last().ok_or_else(|| bad("it is the task's directory".to_owned()))?;
        let mut parent = self.root.try_clone().map_err(SpoolError::io(self.root_path))?;
        for directory in parents {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
            parent = openat(&parent, *directory, flags, Mode::empty()).map_err(system)?;
        }
        check_regular(parent.as_fd(), name).map_err(bad)?;
        let files = open_directory(&self.files)?;
        match renameat(&parent, *name, &files, stored) {
            Ok(()) => {}
            Err(rustix::io::Errno::XDEV | rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
                self.copy(parent.as_fd(), name, stored).map_err(|error| bad(error.to_string()))?;
                // It goes with its directory if not now.
                let _ = unlinkat(&parent, *name, AtFlags::empty());
            }
            Err(error) => return Err(system(error)),
        }
        // What was moved may be another file than the one looked at.
        check_regular(files.as_fd(), OsStr::new(stored)).map_err(bad)?;
        let target = self.files.join(stored);
        File::open(&target).and_then(|file| file.sync_all()).map_err(SpoolError::io(&target))
    }

    /// For a spool on another file system.
    fn copy(&self, parent: BorrowedFd<'_>, name: &OsStr, stored: &str) -> io::Result<()> {
        let source = openat(parent, name, OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        let mut source = File::from(source);
        if !source.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.files.join(stored))?;
        io::copy(&mut source, &mut target).map(drop)
    }
}

fn check_regular(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), String> {
    let stat =
        statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| io::Error::from(error).to_string())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(format!("it is not a regular file but a {other:?}")),
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, SpoolError> {
    Ok(File::open(path).map_err(SpoolError::io(path))?.into())
}

fn sync_directory(path: &Path) -> Result<(), SpoolError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(SpoolError::io(path))
}

fn facts(path: &Path) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        let count = io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok((size, hex::encode(hasher.finalize())));
        }
        size += count as u64;
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use usine_tasks::{LocalFile, NewArtifact};

    use super::*;

    fn origin() -> Origin {
        Origin { work_request: 7, scope: "s".into(), workspace: "w".into(), token: "t".into() }
    }

    fn outcome(files: &[&Path]) -> Outcome {
        let file = |path: &&Path| {
            let name = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            (name, LocalFile { path: path.to_path_buf(), content_type: None })
        };
        let files = files.iter().map(file).collect();
        let artifact = NewArtifact { category: ArtifactCategory::Test, data: serde_json::json!({}), files };
        let artifacts = vec![artifact.clone(), artifact];
        Outcome { result: Some(Results::Success), output_data: OutputData::default(), artifacts, relations: Vec::new() }
    }

    fn spool() -> (tempfile::TempDir, Spool, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path().join("spool")).unwrap();
        let work = root.path().join("work");
        fs::create_dir_all(work.join("exec")).unwrap();
        (root, spool, work)
    }

    #[test]
    fn files_are_moved_once_and_remembered() {
        let (root, spool, work) = spool();
        let file = work.join("exec/a.deb");
        fs::write(&file, "content").unwrap();
        spool.store(&origin(), Results::Success, outcome(&[&file]), &work).unwrap();
        assert!(!file.exists());
        let entries = Spool::open(root.path().join("spool")).unwrap().entries().unwrap();
        let [entry] = entries.as_slice() else { panic!("one entry") };
        let spooled = &entry.manifest.artifacts[1].files[&"a.deb".parse::<ArtifactPath>().unwrap()];
        assert_eq!(fs::read_to_string(entry.path_of(spooled)).unwrap(), "content");
        assert_eq!((spooled.size, spooled.stored.as_str()), (7, "0"));
        let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("spool"), mode("spool/7/manifest.json")), (0o700, 0o600));
    }

    #[test]
    fn links_out_of_the_directory_are_refused() {
        let (root, spool, work) = spool();
        let secret = root.path().join("secret");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "secret").unwrap();
        symlink(secret.join("key"), work.join("link")).unwrap();
        symlink(&secret, work.join("directory")).unwrap();
        for path in [
            work.join("link"),
            work.join("directory/key"),
            work.join("../secret/key"),
            secret.join("key"),
            work.join("exec"),
        ] {
            let stored = spool.store(&origin(), Results::Success, outcome(&[&path]), &work);
            assert!(matches!(stored, Err(SpoolError::BadFile { .. })), "{}", path.display());
            assert!(spool.entries().unwrap().is_empty());
        }
        assert_eq!(fs::read_to_string(secret.join("key")).unwrap(), "secret");
    }

    #[test]
    fn unfinished_and_damaged_entries_do_not_stop_the_rest() {
        let (root, spool, work) = spool();
        let file = work.join("a");
        fs::write(&file, "").unwrap();
        spool.store(&origin(), Results::Success, outcome(&[&file]), &work).unwrap();
        let directory = root.path().join("spool");
        fs::create_dir_all(directory.join("3/files")).unwrap();
        fs::create_dir_all(directory.join("4")).unwrap();
        fs::write(directory.join("4/manifest.json"), "{\"version\":").unwrap();
        let spool = Spool::open(&directory).unwrap();
        for _ in 0..2 {
            let entries = spool.entries().unwrap();
            assert_eq!(entries.iter().map(|entry| entry.manifest.work_request).collect::<Vec<_>>(), [7]);
        }
        assert!(!directory.join("3").exists() && directory.join("4.broken").exists());
        spool.entries().unwrap().pop().unwrap().remove().unwrap();
        assert!(!directory.join("7").exists());
    }
}
