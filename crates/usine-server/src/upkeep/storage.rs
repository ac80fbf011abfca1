//! What upkeep of storage works with, in the server and in the administrator's commands alike; and how a content leaves
//! the store.

use std::collections::BTreeSet;

use usine_db::storage::Content;
use usine_db::{Database, StorageManager};
use usine_model::entropy::Entropy;
use usine_store::{FileId, FileStore, SetAside, StoreError, UploadError, Uploads};

/// Why upkeep of storage did not come to its end. What was done is done, and the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The database.
    #[error(transparent)]
    Database(#[from] usine_db::Error),
    /// The file store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The staging area.
    #[error(transparent)]
    Uploads(#[from] UploadError),
    /// The live logs.
    #[error("cannot sweep the live logs: {0}")]
    LiveLogs(std::io::Error),
    /// Submissions came faster than they could be read.
    #[error("work requests are submitted faster than expiry can read them; it goes on with the next run")]
    TooBusy,
}

/// Database and files.
#[derive(Clone, Copy)]
pub struct Storage<'a> {
    /// What is known.
    pub database: &'a Database,
    /// Complete files.
    pub store: &'a dyn FileStore,
    /// Files on their way.
    pub uploads: &'a Uploads,
    /// Tells copies from one another.
    pub entropy: &'a dyn Entropy,
}

/// Contents that have left the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, more: Self) {
        self.files += more.files;
        self.bytes += more.bytes;
    }
}

impl Storage<'_> {
    /// Takes those of these contents out of the store that no artifact has; see [`usine_db::storage`] for the order of
    /// things.
    pub async fn remove(&self, contents: &[Content]) -> Result<Removed, UpkeepError> {
        self.decide(contents, Vec::new()).await
    }

    /// Decides about what interrupted removals have left aside; see [`Self::remove`].
    pub async fn settle(&self) -> Result<Removed, UpkeepError> {
        let aside = self.store.aside().await?;
        let contents: Vec<Content> = aside.iter().map(|aside| content(aside.id)).collect();
        self.decide(&contents, aside).await
    }

    async fn decide(&self, contents: &[Content], mut aside: Vec<SetAside>) -> Result<Removed, UpkeepError> {
        for content in contents {
            aside.extend(self.store.set_aside(file_id(content), self.entropy.bytes32()).await?);
        }
        let stay = StorageManager(self.database).forget(contents).await?;
        let mut gone = BTreeSet::new();
        for copy in aside {
            let id = copy.id;
            if stay.contains(&content(id)) {
                self.store.put_back(copy).await?;
            } else {
                self.store.discard(copy).await?;
                gone.insert(id);
            }
        }
        let files = gone.len() as u64;
        Ok(Removed { files, bytes: gone.iter().map(|id| id.size).sum() })
    }
}

/// The store's name of a content.
pub(super) fn file_id(content: &Content) -> FileId {
    FileId::new(content.sha256, content.size)
}

/// The database's name of a file.
pub(super) fn content(id: FileId) -> Content {
    Content { sha256: id.sha256, size: id.size }
}
