//! Why a pending work request is not running, told by the same rules that schedule.

use std::collections::HashMap;

use usine_db::{QueueManager, WorkRequest, WorkRequestManager, WorkerManager};
use usine_model::fair_share::{FairShare, ShareLimit};
use usine_model::matching::{Misfit, PendingReason, RequirementSet, Verdict, WorkerVerdict, explain};
use usine_model::tags::Tags;
use usine_model::worker::WorkerType;
use usine_tasks::old_worker;

use super::{occupies, owner_of};
use crate::requirements::RequirementError;
use crate::state::AppState;

/// Asks every worker why it does not run this work request now.
pub async fn explain_pending(state: &AppState, row: &WorkRequest) -> usine_db::Result<PendingReason> {
    let tags = |value: &serde_json::Value| serde_json::from_value::<Tags>(value.clone()).unwrap_or_default();
    let (required, provided) = (tags(&row.scheduler_tags_required), tags(&row.scheduler_tags_provided));
    let set = RequirementSet::new(&row.task_name, &required, &provided);
    let mut held: HashMap<i64, Vec<i64>> = HashMap::new();
    for live in WorkRequestManager(&state.database).live().all(state.database.reader()).await? {
        if let Some(worker) = live.worker_id {
            held.entry(worker).or_default().push(live.id);
        }
    }
    let mut verdicts = Vec::new();
    let mut competing = Vec::new();
    let sets = QueueManager(&state.database).requirement_sets(0).await?;
    for (worker, token) in WorkerManager(&state.database).list().await? {
        let profile = worker.profile()?;
        let mut misfits = profile.misfits(&set, &provided);
        if worker.is_old()? && !is_told_to_old_workers(state, row).await? {
            misfits.push(Misfit::TooOld);
        }
        let work_requests = held.remove(&worker.id).unwrap_or_default();
        let verdict = if row.worker_id == Some(worker.id) {
            Verdict::Assigned
        } else if !worker.connected() && worker.dynamic_metadata_updated_at.is_none() {
            // It has never said what it can do.
            Verdict::Disconnected
        } else if !misfits.is_empty() {
            Verdict::DoesNotFit { misfits }
        } else if *worker.worker_type != WorkerType::Celery && !token.is_some_and(|token| token.enabled) {
            Verdict::Disabled
        } else if !worker.connected() {
            Verdict::Disconnected
        } else if !worker.has_fresh_metadata(state.now()) {
            Verdict::StaleMetadata
        } else if work_requests.len() >= worker.concurrency.unsigned_abs() as usize {
            Verdict::Busy { work_requests }
        } else {
            Verdict::Free
        };
        if !matches!(verdict, Verdict::DoesNotFit { .. }) {
            competing.extend(sets.iter().filter(|(_, set)| profile.fits_set(set)).map(|(id, _)| *id));
        }
        verdicts.push(WorkerVerdict { worker: worker.name, verdict });
    }
    competing.sort_unstable();
    competing.dedup();
    let ahead = QueueManager(&state.database).count_ahead(row, &competing).await?;
    Ok(explain(ahead, limit(state, row).await?, verdicts))
}

/// The limit that the owners of the work request have reached, in words.
async fn limit(state: &AppState, row: &WorkRequest) -> usine_db::Result<Option<String>> {
    let queue = QueueManager(&state.database);
    let mut shares = FairShare::default();
    let (users, workspaces) = queue.shares().await?;
    shares.set_shares(users, workspaces);
    shares.advance(state.now(), queue.occupied().await?.iter().map(occupies));
    Ok(shares.limit(owner_of(row.workspace_id, row.created_by_id)).map(|limit| match limit {
        ShareLimit::User(max) => {
            format!("its user has {max} work requests on workers, and may not have more at a time")
        }
        ShareLimit::Workspace(max) => {
            format!("its workspace has {max} work requests on workers, and may not have more at a time")
        }
    }))
}

/// Whether a worker before 0.13 has words for the work request.
async fn is_told_to_old_workers(state: &AppState, row: &WorkRequest) -> usine_db::Result<bool> {
    let known = state.memory.now(&state.database).await?;
    match super::dynamic_data(state, &known, &row.into()).await {
        Ok(dynamic) => Ok(old_worker::can_be_told(&row.task_name, row.used_task_data(), dynamic.as_ref())),
        Err(RequirementError::Database(error)) => Err(error),
        // It ends with that error when it is its turn, whoever is there.
        Err(RequirementError::Data(_)) => Ok(true),
    }
}
