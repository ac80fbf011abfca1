//! The file store in a bucket of an S3-compatible service, for several servers that share it.
//!
//! Objects can neither be renamed nor changed in one step with others. So each copy of a content has a name of its own, which
//! is never used twice, and lives only forwards: it is there, it is set aside, it is gone. [`keys`] says where, [`removal`]
//! how it goes, [`write`] how it comes. Two servers that bring the same content at the same moment make two copies; that costs
//! space, and both go together.
//!
//! A read looks up the name first; the names used lately are remembered. The service must list at once what has been written,
//! as all known ones do.

mod keys;
mod read;
mod removal;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};

use crate::{ByteStream, FileId, FileStore, Listing, Put, SetAside, StoreError, StoredFile, VerifiedFile};
use keys::Keys;

/// A request is tried again for so long before the caller hears of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names of copies that are remembered. When there are more, all are forgotten.
const REMEMBERED: usize = 10_000;

/// Makes names that nobody has made before.
pub type Random = Arc<dyn Fn() -> [u8; 32] + Send + Sync>;

/// Where the bucket is, and who we are.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// Address of the service, such as `https://s3.example.org`; the bucket is a directory of it, not part of its name.
    pub endpoint: String,
    /// Name of the bucket. It must exist.
    pub bucket: String,
    /// Region, as the signature of requests wants it.
    pub region: String,
    /// What comes before the names of all objects; may be empty.
    pub prefix: String,
    /// Who we are.
    pub access_key: String,
    /// What proves it.
    pub secret_key: String,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the keys.
        write!(f, "S3Settings({})", self.place())
    }
}

impl S3Settings {
    /// Which store it is, for people and for comparison: two with the same place have the same files.
    pub fn place(&self) -> String {
        let Self { endpoint, bucket, prefix, .. } = self;
        format!("{}/{bucket}/{prefix}", endpoint.trim_end_matches('/'))
    }
}

/// A [`FileStore`] in a bucket.
#[derive(Clone)]
pub struct S3Store {
    client: Arc<AmazonS3>,
    keys: Keys,
    place: Arc<str>,
    random: Random,
    names: Arc<Mutex<HashMap<FileId, Path>>>,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({})", self.place)
    }
}

/// One copy of a content.
#[derive(Debug, Clone)]
struct Copy {
    key: Path,
    name: String,
    size: u64,
    modified: SystemTime,
}

impl S3Store {
    /// Opens the store, and asks for a part of it, so that a wrong key or name is noticed now. `random` names copies.
    ///
    /// # Errors
    /// [`StoreError::Remote`], with the service's own words.
    pub async fn open(settings: &S3Settings, random: Random) -> Result<Self, StoreError> {
        // Whoever was first has chosen; the library for HTTP wants one to be chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place: Arc<str> = settings.place().into();
        let failed = |action| {
            let place = place.to_string();
            move |error: object_store::Error| StoreError::remote(action, place, &error)
        };
        // No limit for a whole transfer, which may be large: one for each silence in it.
        let options = ClientOptions::new().with_timeout_disabled().with_read_timeout(PATIENCE);
        let client = AmazonS3Builder::new()
            .with_endpoint(settings.endpoint.trim_end_matches('/'))
            .with_allow_http(settings.endpoint.starts_with("http://"))
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(&settings.secret_key)
            .with_client_options(options.with_allow_http(settings.endpoint.starts_with("http://")))
            .with_retry(RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() })
            .build()
            .map_err(failed("use"))?;
        let store =
            Self { client: Arc::new(client), keys: Keys::new(&settings.prefix), place, random, names: Arc::default() };
        store.all_below(&store.keys.probe()).await?;
        Ok(store)
    }

    fn failed(&self, action: &'static str, key: &Path) -> impl FnOnce(object_store::Error) -> StoreError {
        let place = format!("{key} in {}", self.place);
        move |error| StoreError::remote(action, place, &error)
    }

    async fn all_below(&self, key: &Path) -> Result<Vec<ObjectMeta>, StoreError> {
        self.client.list(Some(key)).try_collect().await.map_err(self.failed("list", key))
    }

    /// All copies of a content, whole or damaged, aside or not.
    async fn copies(&self, id: FileId) -> Result<Vec<Copy>, StoreError> {
        let directory = self.keys.copies_of(id);
        let found = self.all_below(&directory).await?.into_iter();
        Ok(found.filter_map(|object| Some(copy(self.keys.copy(&object.location)?.1, object))).collect())
    }

    /// The copies of a content that count when it is put, and those that are damaged.
    async fn in_place(&self, id: FileId) -> Result<(Vec<Copy>, Vec<Copy>), StoreError> {
        // In this order: a copy that is found now and was not aside before has not been set aside when this call began, so
        // whoever decides about it will see the artifact for which it is looked for.
        let aside: HashSet<String> = self.marks(id).await?.into_iter().map(|mark| mark.copy).collect();
        let copies = self.copies(id).await?.into_iter().filter(|copy| !aside.contains(&copy.name));
        Ok(copies.partition(|copy| copy.size == id.size))
    }

    fn new_name(&self) -> String {
        keys::short(&(self.random)())
    }

    fn remembered(&self, id: FileId) -> Option<Path> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn remember(&self, id: FileId, key: Option<Path>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match key {
            Some(key) => {
                if names.len() >= REMEMBERED {
                    names.clear();
                }
                names.insert(id, key);
            }
            None => {
                names.remove(&id);
            }
        }
    }

    /// Removes an object; that it is gone already is fine.
    async fn delete(&self, key: &Path) -> Result<(), StoreError> {
        match self.client.delete(key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other.map_err(self.failed("remove", key)),
        }
    }

    async fn list_part(&self, first_byte: u8) -> Result<Listing, StoreError> {
        // Again in this order: what is set aside meanwhile is rather listed than not.
        let marks = self.all_below(&self.keys.marks_with(first_byte)).await?;
        let aside: HashSet<(FileId, String)> = marks
            .iter()
            .filter_map(|object| self.keys.mark(&object.location))
            .map(|(id, mark)| (id, mark.copy))
            .collect();
        let mut files: HashMap<FileId, StoredFile> = HashMap::new();
        let mut listing = Listing::default();
        for object in self.all_below(&self.keys.copies_with(first_byte)).await? {
            let Some((id, name)) = self.keys.copy(&object.location) else {
                listing.strange.push(PathBuf::from(object.location.to_string()));
                continue;
            };
            if aside.contains(&(id, name.clone())) {
                continue;
            }
            let Copy { size, modified, .. } = copy(name, object);
            let file = files.entry(id).or_insert(StoredFile { id, size, modified });
            file.modified = file.modified.max(modified);
            if size == id.size {
                file.size = size;
            }
        }
        listing.files = files.into_values().collect();
        listing.files.sort_by_key(|file| file.id);
        listing.strange.sort();
        Ok(listing)
    }
}

fn copy(name: String, object: ObjectMeta) -> Copy {
    Copy { key: object.location, name, size: object.size, modified: object.last_modified.into() }
}

impl FileStore for S3Store {
    fn put_verified(&self, file: VerifiedFile) -> BoxFuture<'_, Result<Put, StoreError>> {
        let store = self.clone();
        let key = self.keys.copies_of(file.id());
        // Goes on to its end even if nobody waits any more, as with a local store.
        let putting = tokio::spawn(async move { store.put_whole(&file).await });
        Box::pin(async move {
            putting.await.unwrap_or_else(|error| Err(StoreError::remote("write", key.to_string(), &error)))
        })
    }

    fn open_range(&self, id: FileId, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, StoreError>> {
        Box::pin(self.read(id, range))
    }

    fn contains(&self, id: FileId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.copies(id).await?.iter().any(|copy| copy.size == id.size)) })
    }

    fn set_aside(&self, id: FileId, random: [u8; 32]) -> BoxFuture<'_, Result<Option<SetAside>, StoreError>> {
        Box::pin(self.mark_all(id, random))
    }

    fn put_back(&self, aside: SetAside) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.bring_back(aside))
    }

    fn discard(&self, aside: SetAside) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.remove_marked(aside))
    }

    fn aside(&self) -> BoxFuture<'_, Result<Vec<SetAside>, StoreError>> {
        Box::pin(self.all_marked())
    }

    fn list(&self, first_byte: u8) -> BoxFuture<'_, Result<Listing, StoreError>> {
        Box::pin(self.list_part(first_byte))
    }

    /// There are no directories.
    fn prune(&self, _: SystemTime) -> BoxFuture<'_, Result<usize, StoreError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// What interrupted puts leave behind cannot be seen from here: the bucket's own rule for incomplete uploads removes it.
    fn sweep(&self, _: SystemTime) -> BoxFuture<'_, Result<usize, StoreError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn local_path(&self, _: FileId) -> Option<PathBuf> {
        None
    }
}
