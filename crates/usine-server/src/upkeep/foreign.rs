//! News from other processes: an administrator's command, or another server on the same database, writes events that
//! this process does not publish by itself. They are read every second.

use std::collections::BTreeSet;
use std::time::Duration;

use usine_db::Engine;
use usine_db::WorkRequestManager;

use crate::state::AppState;

/// Looks this often.
const POLL: Duration = Duration::from_secs(1);

/// Events read at once.
const BATCH: u64 = 1000;

/// PostgreSQL hands out numbers before the commit, so that a lower one may become visible after a higher one: this many
/// are looked at once more.
const OVERLAP: i64 = 200;

/// Passes foreign events on for as long as the server runs.
pub async fn watch(state: AppState) {
    let mut own = state.database.events();
    let mut seen = BTreeSet::new();
    let mut newest = loop {
        match WorkRequestManager(&state.database).last_event_id().await {
            Ok(id) => break id,
            Err(error) => tracing::error!(%error, "cannot read events; other processes are not heard yet"),
        }
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
    };
    let begin = newest;
    let overlap = if state.database.backend() == Engine::Postgres { OVERLAP } else { 0 };
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        let mut lagged = false;
        loop {
            use tokio::sync::broadcast::error::TryRecvError;
            match own.try_recv() {
                Ok(event) => {
                    seen.insert(event.id);
                }
                Err(TryRecvError::Lagged(_)) => lagged = true,
                Err(_) => break,
            }
        }
        if lagged {
            // What was missed has been published by whoever wrote it; only the scheduler must not sleep over it.
            state.scheduler.notify_one();
        }
        let after = (newest - overlap).max(begin);
        match WorkRequestManager(&state.database).events_after(after, BATCH).await {
            Ok(events) => {
                newest = events.last().map_or(newest, |event| event.id.max(newest));
                let foreign: Vec<_> = events.into_iter().filter(|event| seen.insert(event.id)).collect();
                state.database.republish(foreign);
                let old = newest - overlap - BATCH as i64;
                seen = seen.split_off(&old);
            }
            Err(error) => tracing::warn!(%error, "cannot read events"),
        }
    }
}
