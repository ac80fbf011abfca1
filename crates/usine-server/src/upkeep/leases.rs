//! Leases: a worker that falls silent loses its work, so that others can do it.

use chrono::TimeDelta;
use usine_db::work_request::Loss;
use usine_db::{WorkRequestManager, WorkerManager};
use usine_model::worker::WorkerType;

use crate::state::AppState;

/// Takes the work of every worker that has not been connected for the length of a lease. After a start of the server the
/// workers have one lease to come back.
pub(super) async fn expire(state: &AppState) -> usine_db::Result<()> {
    let manager = WorkRequestManager(&state.database);
    let live = manager.live().all(state.database.reader()).await?;
    let mut workers: Vec<i64> = live.iter().filter_map(|row| row.worker_id).collect();
    workers.dedup();
    for id in workers.into_iter().filter(|id| !state.hub.is_connected(*id)) {
        let last_seen = state.hub.last_seen(id).unwrap_or(state.started_at).max(state.started_at);
        let silent = state.now() - last_seen;
        if silent < TimeDelta::seconds(i64::from(state.config.lease)) {
            continue;
        }
        let worker = WorkerManager(&state.database).get(id).await?;
        if matches!(*worker.worker_type, WorkerType::Celery | WorkerType::Scheduler) {
            continue;
        }
        let lost = manager.lose_worker(&worker, Loss { silent_for: silent.num_seconds() }, state.now()).await?;
        if !lost.is_empty() {
            tracing::warn!(worker = worker.name, work_requests = ?lost, "silent for {} s: its work is taken from it", silent.num_seconds());
        }
    }
    Ok(())
}
