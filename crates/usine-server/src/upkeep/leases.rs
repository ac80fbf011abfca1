//! Leases: a worker that falls silent loses its work, so that others can do it.

use chrono::TimeDelta;
use usine_db::work_request::Loss;
use usine_db::{WorkRequestManager, WorkerManager};
use usine_model::worker::WorkerType;

use crate::state::AppState;

/// Takes the work of every worker that has not been connected to any server for the length of a lease. After a start of the
/// server, and after it has taken over from another one, the workers have one lease to come back.
pub(super) async fn expire(state: &AppState) -> usine_db::Result<()> {
    let manager = WorkRequestManager(&state.database);
    let live = manager.live().all(state.database.reader()).await?;
    let mut workers: Vec<i64> = live.iter().filter_map(|row| row.worker_id).collect();
    workers.dedup();
    for id in workers {
        // One worker's trouble is not the others'.
        if let Err(error) = expire_one(state, id).await {
            tracing::error!(worker = id, %error, "cannot decide about a lease");
        }
    }
    Ok(())
}

async fn expire_one(state: &AppState, id: i64) -> usine_db::Result<()> {
    let Some(leads_since) = state.leadership.since() else { return Ok(()) };
    // The row is read before the connections are looked at: a worker that connects in between is noticed by the one or
    // by the other.
    let worker = WorkerManager(&state.database).get(id).await?;
    // Another server says that it is connected, and is alive, or will soon be found dead.
    let elsewhere = worker.connected() && worker.server_id.is_some_and(|server| server != state.server.id);
    if matches!(*worker.worker_type, WorkerType::Celery | WorkerType::Scheduler)
        || state.hub.is_connected(id)
        || elsewhere
    {
        return Ok(());
    }
    let grace = leads_since.max(state.started_at);
    let last_seen = state.hub.last_seen(id).max(worker.last_seen).map_or(grace, |seen| seen.max(grace));
    let silent = state.now() - last_seen;
    if silent < TimeDelta::seconds(i64::from(state.config.lease)) {
        return Ok(());
    }
    let loss = Loss { silent_for: silent.num_seconds() };
    let lost = WorkRequestManager(&state.database).lose_worker(&worker, loss, state.now()).await?;
    if !lost.is_empty() {
        let seconds = loss.silent_for;
        tracing::warn!(worker = worker.name, work_requests = ?lost, "silent for {seconds} s: its work is taken from it");
    }
    Ok(())
}
