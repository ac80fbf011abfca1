//! What the server remembers of logs that people look at: their indexes, the last used ones.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::index::{Extent, Index, Mark};
use super::source::{Key, LogSource};
use crate::overload::Lane;
use crate::problem::ApiResult;

/// Logs whose indexes are kept. That of 200 MB has some 50 kB.
const KEPT: usize = 128;

/// Streams of events that are open at once.
const STREAMS: usize = 256;

/// Requests that read logs at once: more would only wait for the disk and each other.
const READERS: usize = 4;

/// And that may wait for it.
const WAITING: usize = 24;

/// The indexes, and turns.
pub struct LogPages {
    indexes: Mutex<Indexes>,
    streams: Arc<Semaphore>,
    readers: Lane,
}

/// `None` before the first pass.
type Entry = Arc<tokio::sync::Mutex<Option<Index>>>;

#[derive(Default)]
struct Indexes {
    /// With the number of the last use.
    by_key: HashMap<Key, (Entry, u64)>,
    /// Counts uses, so that the one longest unused is known.
    uses: u64,
}

impl Default for LogPages {
    fn default() -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self { indexes: Mutex::default(), streams, readers: Lane::new(READERS, WAITING) }
    }
}

impl LogPages {
    /// How a log stands now, and the last known place at or before a line.
    pub(super) async fn locate(&self, source: &LogSource, line: u64) -> io::Result<(Extent, Mark)> {
        let entry = self.entry(source.key());
        // Who asks for the same log meanwhile waits for the one pass over it.
        let mut index = entry.lock().await;
        let index = index.get_or_insert_with(|| Index::new(source));
        let extent = index.update(source).await?;
        Ok((extent, index.before(line)))
    }

    /// The right to follow a log, if not too many do.
    pub(super) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        self.streams.clone().try_acquire_owned().ok()
    }

    /// Waits for the right to read.
    pub(super) async fn reader(&self) -> ApiResult<OwnedSemaphorePermit> {
        self.readers.turn().await
    }

    fn entry(&self, key: Key) -> Entry {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.uses += 1;
        let uses = indexes.uses;
        if !indexes.by_key.contains_key(&key)
            && indexes.by_key.len() >= KEPT
            && let Some(&oldest) = indexes.by_key.iter().min_by_key(|(_, (_, used))| used).map(|(key, _)| key)
        {
            indexes.by_key.remove(&oldest);
        }
        let entry = indexes.by_key.entry(key).or_default();
        entry.1 = uses;
        entry.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_index_goes() {
        let pages = LogPages::default();
        let first = pages.entry(Key::Live(0));
        for id in 1..KEPT as i64 {
            pages.entry(Key::Live(id));
        }
        assert!(Arc::ptr_eq(&first, &pages.entry(Key::Live(0))));
        pages.entry(Key::Live(1000));
        assert!(Arc::ptr_eq(&first, &pages.entry(Key::Live(0))), "it was used just now");
        let indexes = pages.indexes.lock().unwrap();
        assert!(indexes.by_key.len() == KEPT && !indexes.by_key.contains_key(&Key::Live(1)));
    }
}
