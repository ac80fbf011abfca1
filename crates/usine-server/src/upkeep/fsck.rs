//! fsck: whether database and store agree, and putting right what can be put right without losing anything.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::Serialize;
use usine_db::artifact::{ArtifactManager, File, FileStore as StoreRow};
use usine_db::storage::{Content, StorageManager};
use usine_store::StoredFile;

use super::storage::{Storage, UpkeepError, content, file_id};
use super::vacuum::ABANDONED;

/// Something on which database and store do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    #[serde(flatten)]
    pub what: What,
    /// Whether it was put right.
    pub fixed: bool,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum What {
    /// The store has a file of which the database does not know, for longer than a day.
    UnknownFile {
        /// SHA-256 and size.
        file: String,
    },
    /// Something in the store is no file of a store at all. It is not touched.
    StrangeFile {
        /// Where.
        path: String,
    },
    /// The database says that the store has a file, and it has not, or not all its bytes.
    MissingFile {
        /// SHA-256 and size.
        file: String,
    },
    /// A file is complete in an artifact, and no store has it as far as the database knows.
    UnstoredFile {
        /// SHA-256 and size.
        file: String,
    },
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownFile { file } => write!(f, "file {file} is in the store and unknown to the database"),
            Self::StrangeFile { path } => write!(f, "{path} is no file of the store; look at it yourself"),
            Self::MissingFile { file } => write!(f, "file {file} should be in the store and is not there, or damaged"),
            Self::UnstoredFile { file } => write!(f, "file {file} is complete in an artifact and in no store"),
        }
    }
}

/// Compares the store with the database, and with `fix` puts right what it can:
///
/// - an unknown file is removed;
/// - of a missing file it is noted that the store does not have it, so that no new artifact counts on it. Artifacts keep
///   it: the next upload of the same content brings it back for all of them;
/// - of a file that is in no store, it is noted if it lies in this one all the same.
///
/// Nothing is locked for longer than a moment. What changes meanwhile is not taken for a fault.
pub async fn fsck(
    storage: &Storage<'_>,
    store: &StoreRow,
    now: DateTime<Utc>,
    fix: bool,
) -> Result<Vec<Finding>, UpkeepError> {
    let mut run = Run { storage, store, fix, findings: Vec::new() };
    for first_byte in 0..=u8::MAX {
        run.unknown_files(first_byte, (now - ABANDONED).into()).await?;
    }
    let lost = run.missing_files().await?;
    run.unstored_files(&lost).await?;
    Ok(run.findings)
}

struct Run<'a> {
    storage: &'a Storage<'a>,
    store: &'a StoreRow,
    fix: bool,
    findings: Vec<Finding>,
}

impl Run<'_> {
    fn manager(&self) -> StorageManager<'_> {
        StorageManager(self.storage.database)
    }

    async fn unknown_files(&mut self, first_byte: u8, before: SystemTime) -> Result<(), UpkeepError> {
        let listing = self.storage.store.list(first_byte).await?;
        for path in listing.strange {
            let path = path.display().to_string();
            self.findings.push(Finding { what: What::StrangeFile { path }, fixed: false });
        }
        let old = |file: &StoredFile| file.modified < before;
        let old: Vec<Content> = listing.files.into_iter().filter(old).map(|file| content(file.id)).collect();
        let known = self.manager().known(&old).await?;
        for unknown in old.into_iter().filter(|content| !known.contains(content)) {
            let id = file_id(&unknown);
            if self.fix {
                self.storage.remove(&[unknown]).await?;
            }
            self.findings.push(Finding { what: What::UnknownFile { file: id.to_string() }, fixed: self.fix });
        }
        Ok(())
    }

    /// Returns the ids of the files of which was noted that the store does not have them.
    async fn missing_files(&mut self) -> Result<Vec<i64>, UpkeepError> {
        let mut lost = Vec::new();
        let mut after = 0;
        loop {
            let rows = self.manager().stored(self.store.id, after).await?;
            let Some((last, _)) = rows.last() else { return Ok(lost) };
            after = last.id;
            for (row, file) in rows {
                let Some(id) = Content::of(&file).map(|content| file_id(&content)) else { continue };
                // Twice: an expiry may have removed file and row since they were read.
                if self.storage.store.contains(id).await?
                    || !ArtifactManager(self.storage.database).is_in_store(file.id).await?
                {
                    continue;
                }
                if self.fix {
                    self.manager().note_missing(&row).await?;
                    lost.push(file.id);
                    // An upload may have brought it just now.
                    if self.storage.store.contains(id).await? {
                        self.manager().note_stored(self.store.id, file.id).await?;
                        lost.pop();
                    }
                }
                self.findings.push(Finding { what: What::MissingFile { file: id.to_string() }, fixed: self.fix });
            }
        }
    }

    async fn unstored_files(&mut self, lost: &[i64]) -> Result<(), UpkeepError> {
        let mut after = 0;
        loop {
            let files = self.manager().unstored(after).await?;
            let Some(last) = files.last() else { return Ok(()) };
            after = last.id;
            for file in files.into_iter().filter(|file| !lost.contains(&file.id)) {
                self.unstored_file(&file).await?;
            }
        }
    }

    async fn unstored_file(&mut self, file: &File) -> Result<(), UpkeepError> {
        let Some(id) = Content::of(file).map(|content| file_id(&content)) else { return Ok(()) };
        let fixed = self.fix && self.storage.store.contains(id).await?;
        if fixed {
            match self.manager().note_stored(self.store.id, file.id).await {
                // It has expired meanwhile.
                Err(usine_db::Error::Integrity(_)) => return Ok(()),
                noted => noted?,
            }
        }
        self.findings.push(Finding { what: What::UnstoredFile { file: id.to_string() }, fixed });
        Ok(())
    }
}
