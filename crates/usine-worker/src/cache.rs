//! Environments kept on disk: content-addressed, shared by all workers of the machine, bounded, least recently used out first.
//!
//! `<cache>/<sha256>/` holds one file under its own name, and `.used`, whose modification time is the last use. The
//! directory is also the lock: shared while a task uses the file, exclusive while it is fetched or removed.

use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use usine_client::{Error, FileFacts, file_facts};

/// When the file was used last.
const USED: &str = ".used";

/// How often to look whether another process has let go of a lock.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// A cache in one directory.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    limit: u64,
}

/// A file of the cache; it stays as long as this does.
#[derive(Debug)]
pub struct Cached {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file name that is no plain name.
    #[error("Image has an invalid filename: {0:?}")]
    InvalidName(String),
    /// A hash that is none.
    #[error("{0:?} is not a SHA-256")]
    InvalidHash(String),
    /// The disk.
    #[error("cache {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] Error),
}

impl CacheError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

impl Cache {
    /// A cache that holds at most `limit` bytes, apart from what is in use.
    pub fn open(directory: impl Into<PathBuf>, limit: u64) -> Result<Self, CacheError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(CacheError::io(&directory))?;
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).map_err(CacheError::io(&directory))?;
        Ok(Self { directory, limit })
    }

    /// The file with these facts under the name `name`; `fetch` brings it to a path if it is not there or damaged.
    ///
    /// Its hash is computed each time: a damaged file is thrown away and fetched again.
    pub async fn get<F: Future<Output = Result<(), Error>>>(
        &self,
        name: &str,
        facts: &FileFacts,
        now: DateTime<Utc>,
        fetch: impl Fn(PathBuf) -> F,
    ) -> Result<Cached, CacheError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(CacheError::InvalidName(name.to_owned()));
        }
        let sha256 = facts.sha256.to_ascii_lowercase();
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CacheError::InvalidHash(facts.sha256.clone()));
        }
        let directory = self.directory.join(sha256);
        let path = directory.join(name);
        loop {
            let lock = self.lock(&directory, FlockOperation::NonBlockingLockShared).await?;
            if self.is_intact(&path, facts).await {
                touch(&directory, now)?;
                return Ok(Cached { path, _lock: lock });
            }
            drop(lock);
            let _lock = self.lock(&directory, FlockOperation::NonBlockingLockExclusive).await?;
            // Another process may have fetched it while we waited.
            if !self.is_intact(&path, facts).await {
                self.empty(&directory)?;
                self.make_room(facts.size)?;
                fetch(path.clone()).await?;
                fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(CacheError::io(&path))?;
                touch(&directory, now)?;
            }
        }
    }

    async fn is_intact(&self, path: &Path, facts: &FileFacts) -> bool {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == facts.size => {}
            Ok(_) => return false,
            Err(_) => return false,
        }
        let found = file_facts(path).await;
        let intact = found.is_ok_and(|found| found.sha256 == facts.sha256.to_ascii_lowercase());
        if !intact {
            tracing::warn!(path = %path.display(), "a file in the cache is damaged; it is fetched again");
        }
        intact
    }

    /// Opens the directory of an object and locks it, waiting as long as it takes.
    async fn lock(&self, directory: &Path, operation: FlockOperation) -> Result<File, CacheError> {
        loop {
            match fs::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(CacheError::io(directory)(error));
                }
                _ => {
                    fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(CacheError::io(directory))?
                }
            }
            let file = File::open(directory).map_err(CacheError::io(directory))?;
            match flock(&file, operation) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) => tokio::time::sleep(LOCK_POLL).await,
                Err(error) => return Err(CacheError::io(directory)(error.into())),
            }
        }
    }

    /// Removes all files of an object; its directory stays, because it is the lock.
    fn empty(&self, directory: &Path) -> Result<(), CacheError> {
        for entry in fs::read_dir(directory).map_err(CacheError::io(directory))? {
            let path = entry.map_err(CacheError::io(directory))?.path();
            fs::remove_file(&path).map_err(CacheError::io(&path))?;
        }
        Ok(())
    }

    /// Removes what was not used for longest, until `incoming` more bytes fit or all that is left is in use.
    fn make_room(&self, incoming: u64) -> Result<(), CacheError> {
        let mut objects = Vec::new();
        let mut total = incoming;
        for entry in fs::read_dir(&self.directory).map_err(CacheError::io(&self.directory))? {
            let directory = entry.map_err(CacheError::io(&self.directory))?.path();
            let Ok(size) = size_of(&directory) else { continue };
            let used =
                fs::metadata(directory.join(USED)).and_then(|used| used.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            total += size;
            objects.push((used, size, directory));
        }
        objects.sort();
        for (_, size, directory) in objects {
            if total <= self.limit {
                break;
            }
            let lock = File::open(&directory).map_err(CacheError::io(&directory))?;
            if size > 0 && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                tracing::info!(object = %directory.display(), size, "removed from the cache to make room");
                self.empty(&directory)?;
                total -= size;
            }
        }
        Ok(())
    }
}

fn size_of(directory: &Path) -> io::Result<u64> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn touch(directory: &Path, now: DateTime<Utc>) -> Result<(), CacheError> {
    let path = directory.join(USED);
    let set = || File::create(&path)?.set_times(FileTimes::new().set_modified(now.into()));
    set().map_err(CacheError::io(&path))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;
    use sha2::{Digest, Sha256};

    use super::*;

    struct Bench {
        _root: tempfile::TempDir,
        cache: Cache,
        fetched: AtomicUsize,
    }

    impl Bench {
        fn new(limit: u64) -> Self {
            let root = tempfile::tempdir().unwrap();
            let cache = Cache::open(root.path().join("cache"), limit).unwrap();
            Self { _root: root, cache, fetched: AtomicUsize::new(0) }
        }

        /// Gets the object whose content is `text`, at a minute of the day.
        async fn get(&self, text: &'static str, minute: i64) -> Cached {
            let facts = FileFacts { size: text.len() as u64, sha256: hex::encode(Sha256::digest(text)) };
            let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
            let fetch = async |path: PathBuf| {
                self.fetched.fetch_add(1, Ordering::SeqCst);
                fs::write(path, text).unwrap();
                Ok(())
            };
            self.cache.get("image.tar", &facts, now, fetch).await.unwrap()
        }

        fn fetched(&self) -> usize {
            self.fetched.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_hit_costs_nothing_and_damage_is_found() {
        let bench = Bench::new(1000);
        let first = bench.get("aaaa", 1).await;
        assert_eq!(fs::read_to_string(&first.path).unwrap(), "aaaa");
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o644);
        let again = bench.get("aaaa", 2).await;
        assert_eq!((bench.fetched(), &again.path), (1, &first.path));
        drop((first, again));
        let path = bench.get("aaaa", 3).await.path;
        fs::write(&path, "aaab").unwrap();
        assert_eq!(fs::read_to_string(bench.get("aaaa", 4).await.path).unwrap(), "aaaa");
        assert_eq!(bench.fetched(), 2);
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first_but_not_while_it_is_used() {
        let bench = Bench::new(10);
        let a = bench.get("aaaa", 1).await.path;
        let b = bench.get("bbbb", 2).await.path;
        bench.get("aaaa", 3).await;
        let c = bench.get("cccc", 4).await.path;
        assert!(a.exists() && !b.exists() && c.exists());
        let used = bench.get("aaaa", 5).await;
        bench.get("cccc", 6).await;
        let d = bench.get("dddd", 7).await.path;
        assert!(used.path.exists() && !c.exists() && d.exists());
    }

    #[tokio::test]
    async fn two_at_once_fetch_once() {
        let bench = Bench::new(1000);
        let (one, two) = tokio::join!(bench.get("aaaa", 1), bench.get("aaaa", 1));
        assert_eq!(one.path, two.path);
        assert_eq!(bench.fetched(), 1);
    }

    #[tokio::test]
    async fn names_stay_in_their_directory() {
        let bench = Bench::new(1000);
        let facts = FileFacts { size: 1, sha256: "0".repeat(64) };
        for name in ["", ".used", "a/b", ".."] {
            let got = bench.cache.get(name, &facts, DateTime::UNIX_EPOCH, async |_| Ok(())).await;
            assert!(matches!(got, Err(CacheError::InvalidName(_))), "{name}");
        }
        let facts = FileFacts { size: 1, sha256: "../x".to_owned() };
        assert!(matches!(
            bench.cache.get("a", &facts, DateTime::UNIX_EPOCH, async |_| Ok(())).await,
            Err(CacheError::InvalidHash(_))
        ));
    }
}
