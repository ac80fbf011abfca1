//! Checkpoints of SQLite (<https://www.sqlite.org/wal.html#ckpt>) beside what is written.
//!
//! A commit goes into a log, the WAL. From time to time its pages are copied into the database; if nobody else does it, a
//! commit has to (`wal_autocheckpoint`), and whatever waits for the writer waits for that, too. PostgreSQL has a process for
//! it.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend};
use tokio::time::sleep;

use crate::Database;

/// Pause between checkpoints, for a page that changes often to be copied once.
const PAUSE: Duration = Duration::from_millis(200);

impl Database {
    /// Copies what is committed into the database, soon after, for as long as this is polled.
    pub async fn checkpoint(&self) {
        if self.backend() != DbBackend::Sqlite {
            return;
        }
        loop {
            self.wait_for_commit().await;
            sleep(PAUSE).await;
            // PASSIVE waits for nobody: what somebody still reads is copied the next time.
            if let Err(error) = self.reader().execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await {
                tracing::warn!(%error, "cannot copy the log of the database into it; the next commits will have to");
            }
        }
    }
}
