//! What the stories about stores and uploads share.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod s3;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use usine_store::{
    Chunk, FileId, FileStore, LocalStore, S3Settings, S3Store, StoreError, UploadError, UploadName, Uploads,
};

/// A machine with a store and a staging area on one file system.
pub struct Machine {
    pub dir: tempfile::TempDir,
    pub store: Arc<dyn FileStore>,
    pub uploads: Uploads,
}

impl Machine {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::open(dir.path().join("store")).await.unwrap());
        let uploads = Uploads::open(dir.path().join("uploads")).await.unwrap();
        Self { dir, store, uploads }
    }

    /// The same with a store on S3.
    pub async fn with_s3(server: &s3::S3) -> Self {
        Self { store: Arc::new(open_s3(&s3_settings(server)).await.unwrap()), ..Self::new().await }
    }

    /// What the store says that it has.
    pub async fn contents(&self) -> Vec<FileId> {
        let mut ids = Vec::new();
        for first_byte in 0..=u8::MAX {
            let listing = self.store.list(first_byte).await.unwrap();
            assert!(listing.strange.is_empty(), "{:?}", listing.strange);
            assert!(listing.files.iter().all(|file| file.id.sha256[0] == first_byte && file.size == file.id.size));
            ids.extend(listing.files.iter().map(|file| file.id));
        }
        ids
    }

    /// A file somewhere outside the store.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn staged(&self, name: &UploadName) -> PathBuf {
        self.dir.path().join("uploads").join(name.as_str())
    }

    /// Files anywhere in the store, whole or not.
    pub fn files_in_store(&self) -> Vec<PathBuf> {
        files_below(&self.dir.path().join("store"))
    }

    pub async fn read(&self, id: FileId, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let pieces: Vec<Bytes> = self.store.open_range(id, range).await?.try_collect().await.unwrap();
        Ok(pieces.concat())
    }

    /// Sends one chunk whose range says the truth about its body.
    pub async fn send(&self, name: &UploadName, offset: u64, size: u64, body: &[u8]) -> Result<u64, UploadError> {
        self.uploads.write_chunk(name, chunk(offset, Some(body.len() as u64), size), pieces(body)).await
    }
}

pub fn s3_settings(server: &s3::S3) -> S3Settings {
    S3Settings {
        endpoint: server.endpoint(),
        bucket: s3::BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        prefix: "some/where".to_owned(),
        access_key: s3::ACCESS_KEY.to_owned(),
        secret_key: s3::SECRET_KEY.to_owned(),
    }
}

/// A store whose names are numbers.
pub async fn open_s3(settings: &S3Settings) -> Result<S3Store, StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let random = || {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        bytes
    };
    S3Store::open(settings, Arc::new(random)).await
}

pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

pub fn id_of(content: &[u8]) -> FileId {
    FileId::new(Sha256::digest(content).into(), content.len() as u64)
}

/// Bytes that look like nothing in particular, the same each time.
pub fn content(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub fn chunk(offset: u64, expected_length: Option<u64>, declared_size: u64) -> Chunk {
    Chunk { offset, expected_length, declared_size }
}

/// A body that comes in pieces, as from a socket.
pub fn pieces(body: &[u8]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + use<> {
    let pieces: Vec<_> = body.chunks(10_007).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

/// A body that breaks off.
pub fn broken(body: &[u8]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + use<> {
    let mut items: Vec<_> = body.chunks(10_007).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    items.push(Err(std::io::ErrorKind::ConnectionReset.into()));
    stream::iter(items)
}

pub fn name(text: &str) -> UploadName {
    text.parse().unwrap()
}

/// A fixed time; `age` gives a file a last write before or after it.
pub fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

pub fn written_at(path: &Path, time: SystemTime) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}
