//! The scheduler: gives free workers the first work request of the queue that they can run.
//!
//! It is woken by events (something became pending, a worker became free) and looks by itself every 15 seconds. What it
//! costs depends on the number of distinct requirement sets and of free workers, not on the length of the queue.

pub mod reason;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use usine_db::{QueueManager, WorkRequest, WorkRequestManager, Worker, WorkerManager, WorkspaceManager};
use usine_model::matching::{Profile, RequirementSet};
use usine_model::tags::Tags;
use usine_tasks::old_worker;

use crate::requirements::{RequirementError, resolve};
use crate::state::AppState;

/// Looks this often even when nothing wakes it.
const TICK: Duration = Duration::from_secs(15);

/// A worker that is reserved for some source packages, or too old for some data, looks at this many work requests of a run,
/// not at the whole queue.
const MAX_LOOKED_AT: usize = 200;

/// This many of the newest requirement sets are read with each run, because PostgreSQL hands out their numbers before the
/// commit.
const OVERLAP: i64 = 100;

/// Schedules for as long as the server runs.
pub async fn run(state: AppState) {
    let mut sets = RequirementSets::default();
    loop {
        if let Err(error) = schedule(&state, &mut sets).await {
            tracing::error!(%error, "the scheduler failed; it tries again");
        }
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = state.scheduler.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// All requirement sets there are: they never change, so that each is read once.
#[derive(Default)]
pub struct RequirementSets {
    known: BTreeMap<i64, RequirementSet>,
}

impl RequirementSets {
    async fn refresh(&mut self, state: &AppState) -> usine_db::Result<()> {
        // A number may become visible after a higher one: the newest ones are looked at once more.
        let newest = self.known.last_key_value().map_or(0, |(id, _)| *id);
        self.known.extend(QueueManager(&state.database).requirement_sets(newest - OVERLAP).await?);
        Ok(())
    }

    fn fitting(&self, profile: &Profile) -> Vec<i64> {
        self.known.iter().filter(|(_, set)| profile.fits_set(set)).map(|(id, _)| *id).collect()
    }
}

/// One run: every free worker gets as many work requests as it has room for. Returns how many were assigned.
pub async fn schedule(state: &AppState, sets: &mut RequirementSets) -> usine_db::Result<usize> {
    sets.refresh(state).await?;
    WorkRequestManager(&state.database).start_waits(state.now()).await?;
    let free = WorkerManager(&state.database).waiting_for_work_request().all(state.database.reader()).await?;
    let mut assigned = 0;
    for worker in free.iter().filter(|worker| worker.has_fresh_metadata(state.now())) {
        match fill(state, worker, sets).await {
            Ok(count) => assigned += count,
            // One worker's trouble is not the others'.
            Err(error) => tracing::error!(worker = worker.name, %error, "cannot give work to this worker"),
        }
    }
    Ok(assigned)
}

/// Gives one worker as many work requests as it has room for.
async fn fill(state: &AppState, worker: &Worker, sets: &RequirementSets) -> usine_db::Result<usize> {
    let profile = worker.profile()?;
    let fitting = sets.fitting(&profile);
    let mut assigned = 0;
    for _ in 0..worker.concurrency {
        if !assign_one(state, worker, &profile, &fitting).await? {
            break;
        }
        assigned += 1;
    }
    Ok(assigned)
}

/// Gives the worker the first work request it can run, passing by those that turn out to be broken.
async fn assign_one(state: &AppState, worker: &Worker, profile: &Profile, sets: &[i64]) -> usine_db::Result<bool> {
    let mut passed_by = Vec::new();
    while passed_by.len() < MAX_LOOKED_AT {
        let Some(mut row) = QueueManager(&state.database).head(sets, &passed_by).await? else { return Ok(false) };
        if profile.wants_source_package() && !profile.fits_source_package(&provided(&row)) {
            passed_by.push(row.id);
            continue;
        }
        // All that takes time comes before the one statement that changes something.
        let dynamic = match dynamic_data(state, &row).await {
            Ok(dynamic) => dynamic,
            Err(RequirementError::Database(error)) => return Err(error),
            Err(RequirementError::Data(error)) => {
                let message = format!("Failed to compute dynamic data: {error}");
                WorkRequestManager(&state.database)
                    .fail_pending(row.id, "dynamic-data-failed", &message, state.now())
                    .await?;
                passed_by.push(row.id);
                continue;
            }
        };
        if worker.is_old()? && !old_worker::can_be_told(&row.task_name, row.used_task_data(), dynamic.as_ref()) {
            passed_by.push(row.id);
            continue;
        }
        if row.assign_worker(&state.database, worker, dynamic, state.now()).await? {
            tracing::info!(work_request = row.id, worker = worker.name, "assigned");
            return Ok(true);
        }
        // Other metadata are the next run's: their event has woken the scheduler.
        let current = WorkerManager(&state.database).get(worker.id).await?;
        if !current.has_metadata_of(worker) || current.is_at_capacity(&state.database).await? {
            return Ok(false);
        }
        // Somebody else took it, or it was aborted: the next one.
        passed_by.push(row.id);
    }
    Ok(false)
}

fn provided(row: &WorkRequest) -> Tags {
    serde_json::from_value(row.scheduler_tags_provided.clone()).unwrap_or_default()
}

/// What the server adds to the task data for the worker.
async fn dynamic_data(state: &AppState, row: &WorkRequest) -> Result<Option<Value>, RequirementError> {
    let Some(task) = usine_tasks::find(*row.task_type, &row.task_name) else { return Ok(None) };
    let (workspace, _) = WorkspaceManager(&state.database).get(row.workspace_id).await?;
    let resolved = resolve(&state.database, task, row.used_task_data(), &workspace, row.created_by_id).await?;
    Ok(Some(Value::Object(task.dynamic_data(row.used_task_data(), &resolved, &state.facts())?)))
}
