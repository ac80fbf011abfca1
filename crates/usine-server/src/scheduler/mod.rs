//! The scheduler: gives free workers the work requests whose turn it is.
//!
//! It is woken by events (something became pending, a worker became free) and looks by itself every 15 seconds. What it
//! costs depends on the number of lanes in which something waits, and of free workers, not on the length of the queue.
//! Whose turn it is among equals, [`usine_model::fair_share`] says.

mod fleet;
mod lanes;
pub mod reason;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::try_join;
use serde_json::Value;
use usine_db::scheduling::{Occupied, Wish};
use usine_db::work_request::Assignment;
use usine_db::{QueueManager, WorkRequestManager, Worker, WorkerManager};
use usine_model::fair_share::{ENTRY, FairShare, HALF_LIFE, Owner};
use usine_model::tags::Tags;
use usine_tasks::old_worker;

use crate::memory::Known;
use crate::requirements::{RequirementError, resolve};
use crate::state::AppState;

use fleet::{Candidate, Fitting, Fleet};
use lanes::{Lanes, Waiting};

/// Looks this often even when nothing wakes it.
const TICK: Duration = Duration::from_secs(15);

/// Most work requests that one run looks at in each lane: those for workers that are reserved for some source packages, or
/// too old for some data, may be behind others.
const MAX_LOOKED_AT: u64 = 200;

/// Most ends of work requests that are recalled after a start.
const MAX_RECALLED: u64 = 10_000;

/// Schedules for as long as the server runs.
pub async fn run(state: AppState) {
    let mut scheduler = Scheduler::default();
    loop {
        match scheduler.schedule(&state).await {
            Ok(Outcome { more: true, .. }) if !state.shutdown.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the scheduler failed; it tries again"),
        }
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = state.scheduler.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// What the scheduler remembers from run to run. None of it has to be right: each assignment is checked when it is
/// written.
#[derive(Default)]
pub struct Scheduler {
    lanes: Lanes,
    fleet: Fleet,
    shares: FairShare,
    /// The generation of which the shares are known.
    generation: Option<i64>,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many work requests were assigned.
    pub assigned: usize,
    /// Whether another run may find more to do at once.
    pub more: bool,
}

impl Scheduler {
    /// One run: free workers get what they have room for, as far as the run looks.
    pub async fn schedule(&mut self, state: &AppState) -> usine_db::Result<Outcome> {
        let queue = QueueManager(&state.database);
        WorkRequestManager(&state.database).start_waits(state.now()).await?;
        let known = state.memory.now(&state.database).await?;
        self.look_at_shares(state, &known).await?;
        let workers = WorkerManager(&state.database);
        let (occupied, connected, open) =
            try_join!(queue.occupied(), workers.connected_ids(), self.lanes.open(&queue))?;
        self.shares.advance(state.now(), occupied.iter().map(occupies));
        let mut free = self.fleet.free(state, &known, &connected, &occupied).await?;
        if free.is_empty() {
            return Ok(Outcome::default());
        }
        let fitting = self.fleet.fitting(&self.lanes, &open, &free);
        let room: u64 = free.iter().map(|one| u64::from(one.room)).sum();
        let picky = free.iter().any(Candidate::is_picky);
        let each = if picky { MAX_LOOKED_AT } else { room.min(MAX_LOOKED_AT) };
        let heads = queue.heads(&fitting.any, each).await?;
        let mut waiting = Waiting::new(&self.lanes, heads, each);
        let mut outcome = Outcome::default();
        for candidate in free.extract_if(.., |one| one.is_picky()) {
            outcome.assigned +=
                self.assign_picky(state, &known, &candidate, fitting.of(&candidate), &mut waiting).await?;
        }
        let chosen = self.choose(&mut free, &fitting, &mut waiting);
        let (wanted, assigned) = (chosen.len(), self.assign(state, &known, chosen).await?);
        outcome.assigned += assigned;
        // Those that went to somebody else meanwhile left room for others; so did lanes of which only the first were seen.
        let room_left = free.iter().any(|one| one.room > 0) && waiting.is_cut();
        outcome.more = outcome.assigned > 0 && (room_left || assigned < wanted);
        Ok(outcome)
    }

    /// Reads weights and limits when they may have changed; the first time, what was used of late as well.
    async fn look_at_shares(&mut self, state: &AppState, known: &Known) -> usine_db::Result<()> {
        if self.generation == Some(known.generation()) {
            return Ok(());
        }
        let queue = QueueManager(&state.database);
        let (users, workspaces) = queue.shares().await?;
        self.shares.set_shares(users, workspaces);
        if self.generation.is_none() {
            let now = state.now();
            for served in queue.served(now - HALF_LIFE * 4, MAX_RECALLED).await? {
                let seconds = (served.completed_at - served.started_at).as_seconds_f64().max(ENTRY);
                let owner = owner_of(served.workspace_id, served.created_by_id);
                self.shares.recall(owner, seconds, now - served.completed_at);
            }
        }
        self.generation = Some(known.generation());
        Ok(())
    }

    /// Who gets what, of workers that take whatever fits: in rounds, so that each gets one before any gets two.
    fn choose(&mut self, free: &mut [Candidate], fitting: &Fitting, waiting: &mut Waiting) -> Vec<(Arc<Worker>, i64)> {
        let mut chosen = Vec::new();
        loop {
            let before = chosen.len();
            for candidate in free.iter_mut().filter(|one| one.room > 0) {
                let Some(head) = waiting.take_next(fitting.of(candidate), &self.shares) else { continue };
                self.shares.assign(head.owner);
                candidate.room -= 1;
                chosen.push((candidate.worker.clone(), head.id));
            }
            if chosen.len() == before {
                return chosen;
            }
        }
    }

    /// Writes the choices. Returns how many were assigned.
    async fn assign(
        &self,
        state: &AppState,
        known: &Known,
        chosen: Vec<(Arc<Worker>, i64)>,
    ) -> usine_db::Result<usize> {
        if chosen.is_empty() {
            return Ok(0);
        }
        let manager = WorkRequestManager(&state.database);
        let ids: Vec<i64> = chosen.iter().map(|(_, id)| *id).collect();
        let wishes = QueueManager(&state.database).wishes(&ids).await?;
        let mut wishes: HashMap<i64, Wish> = wishes.into_iter().map(|wish| (wish.id, wish)).collect();
        let mut assignments = Vec::with_capacity(chosen.len());
        for (worker, id) in chosen {
            // All that takes time comes before the one transaction that changes something.
            let Some(wish) = wishes.remove(&id) else { continue };
            if let Some(dynamic_task_data) = dynamic_data_or_end(state, known, &wish).await? {
                assignments.push(Assignment { work_request_id: id, worker, dynamic_task_data });
            }
        }
        let now = state.now();
        let done = join_all(assignments.into_iter().map(async |assignment| {
            let (id, worker) = (assignment.work_request_id, assignment.worker.clone());
            let assigned = manager.assign(assignment, now).await;
            match &assigned {
                Ok(true) => tracing::debug!(work_request = id, worker = worker.name, "assigned"),
                Ok(false) => {}
                // One worker's trouble is not the others'.
                Err(error) => tracing::error!(work_request = id, worker = worker.name, %error, "cannot assign"),
            }
            assigned.unwrap_or(false)
        }));
        Ok(done.await.into_iter().filter(|assigned| *assigned).count())
    }

    /// Gives work to a worker that does not take all that its lanes hold: each work request is looked at by itself.
    async fn assign_picky(
        &mut self,
        state: &AppState,
        known: &Known,
        candidate: &Candidate,
        lanes: &[i64],
        waiting: &mut Waiting,
    ) -> usine_db::Result<usize> {
        let manager = WorkRequestManager(&state.database);
        let (mut assigned, mut passed_by) = (0, Vec::new());
        while assigned < candidate.room as usize {
            let Some(head) = waiting.take_next(lanes, &self.shares) else { break };
            let Some(wish) = QueueManager(&state.database).wishes(&[head.id]).await?.pop() else { continue };
            if !candidate.profile.fits_source_package(&provided(&wish)) {
                passed_by.push(head);
                continue;
            }
            let Some(dynamic) = dynamic_data_or_end(state, known, &wish).await? else { continue };
            if candidate.old && !old_worker::can_be_told(&wish.task_name, &wish.task_data, dynamic.as_ref()) {
                passed_by.push(head);
                continue;
            }
            let worker = candidate.worker.clone();
            let assignment = Assignment { work_request_id: wish.id, worker, dynamic_task_data: dynamic };
            if manager.assign(assignment, state.now()).await? {
                self.shares.assign(head.owner);
                assigned += 1;
            }
        }
        // They are for others.
        waiting.put_back(passed_by);
        Ok(assigned)
    }
}

fn owner_of(workspace: i64, user: i64) -> Owner {
    Owner { user, workspace }
}

fn occupies(one: &Occupied) -> (Owner, i64) {
    (owner_of(one.workspace, one.user), 1)
}

fn provided(wish: &Wish) -> Tags {
    serde_json::from_value(wish.scheduler_tags_provided.clone()).unwrap_or_default()
}

/// What the server adds to the task data for the worker; `None` if that cannot be had: then the work request ends.
async fn dynamic_data_or_end(state: &AppState, known: &Known, wish: &Wish) -> usine_db::Result<Option<Option<Value>>> {
    match dynamic_data(state, known, wish).await {
        Ok(dynamic) => Ok(Some(dynamic)),
        Err(RequirementError::Database(error)) => Err(error),
        Err(RequirementError::Data(error)) => {
            let message = format!("Failed to compute dynamic data: {error}");
            let manager = WorkRequestManager(&state.database);
            manager.fail_pending(wish.id, "dynamic-data-failed", &message, state.now()).await?;
            Ok(None)
        }
    }
}

/// What the server adds to the task data for the worker.
async fn dynamic_data(state: &AppState, known: &Known, wish: &Wish) -> Result<Option<Value>, RequirementError> {
    let Some(task) = usine_tasks::find(*wish.task_type, &wish.task_name) else { return Ok(None) };
    let place = known.place(&state.database, wish.workspace_id).await?;
    let resolved = resolve(&state.database, task, &wish.task_data, &place.workspace, wish.created_by_id).await?;
    Ok(Some(Value::Object(task.dynamic_data(&wish.task_data, &resolved, &state.facts())?)))
}
