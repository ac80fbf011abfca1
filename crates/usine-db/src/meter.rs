//! How many queries a piece of work makes, and how long they take.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::DatabaseConnection;

tokio::task_local! {
    static METER: Arc<Counters>;
}

#[derive(Default)]
struct Counters {
    queries: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many statements were sent; those that begin and end transactions do not count.
    pub queries: u64,
    /// How long their answers took.
    pub time: Duration,
}

/// Does something, and counts what it asks of any database. What it spawns is not counted.
pub async fn metered<F: Future>(work: F) -> (F::Output, Usage) {
    let counters = Arc::new(Counters::default());
    let output = METER.scope(counters.clone(), work).await;
    let usage = Usage {
        queries: counters.queries.load(Ordering::Relaxed),
        time: Duration::from_nanos(counters.nanoseconds.load(Ordering::Relaxed)),
    };
    (output, usage)
}

/// Has the queries of a connection counted.
pub(crate) fn watch(connection: &mut DatabaseConnection) {
    connection.set_metric_callback(|info| {
        // Whoever is not measured does not count.
        let _ = METER.try_with(|counters| {
            counters.queries.fetch_add(1, Ordering::Relaxed);
            let nanoseconds = u64::try_from(info.elapsed.as_nanos()).unwrap_or(u64::MAX);
            counters.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        });
    });
}
