//! WebSockets: the channels of workers, and those of everybody who follows logs and completions.
//!
//! [`Hub`] knows who is connected here. [`dispatch`] turns events (after their commit) into notices: a notice is a hint,
//! whoever gets one asks the server; a lost one is made up for by [`remind`].

mod completed;
mod logs;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use usine_db::WorkRequestManager;
use usine_db::entity::event;
use usine_model::event::EventKind;
use usine_model::work_request::Statuses;
use usine_protocol::channel::{Notice, ServerMessage};

use crate::routes::Routes;
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .channel("/api/ws/1.0/worker/connect/", worker::connect)
        .channel("/api/ws/1.0/work-request/on-completed/", completed::connect)
        .channel("/api/ws/1.0/work-request/{id}/logs/", logs::connect)
}

/// Messages that wait for a slow worker before further ones are dropped ([`remind`] makes up for them).
const QUEUE: usize = 64;

/// Which workers are connected to this server, and since when the others are silent.
#[derive(Default)]
pub struct Hub {
    workers: Mutex<HashMap<i64, Presence>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Presence {
    connections: Vec<(u64, mpsc::Sender<ServerMessage>)>,
    last_seen: Option<DateTime<Utc>>,
}

impl Hub {
    /// A worker has connected: its number for [`Hub::leave`], and what to send it.
    fn join(&self, worker: i64) -> (u64, mpsc::Receiver<ServerMessage>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.lock().entry(worker).or_default().connections.push((number, sender));
        (number, receiver)
    }

    /// A connection is gone; `heard` is when it last gave a sign of life. Whether it was the worker's last.
    fn leave(&self, worker: i64, number: u64, heard: DateTime<Utc>) -> bool {
        let mut workers = self.lock();
        let presence = workers.entry(worker).or_default();
        presence.connections.retain(|(other, _)| *other != number);
        presence.last_seen = presence.last_seen.max(Some(heard));
        presence.connections.is_empty()
    }

    /// Whether the worker has a connection here.
    pub fn is_connected(&self, worker: i64) -> bool {
        self.lock().get(&worker).is_some_and(|presence| !presence.connections.is_empty())
    }

    /// All workers that have a connection here.
    pub fn connected(&self) -> Vec<i64> {
        let workers = self.lock();
        workers.iter().filter(|(_, presence)| !presence.connections.is_empty()).map(|(id, _)| *id).collect()
    }

    /// When the worker's closed connections last gave a sign of life, if it had any.
    pub fn last_seen(&self, worker: i64) -> Option<DateTime<Utc>> {
        self.lock().get(&worker)?.last_seen
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        self.lock().values().map(|presence| presence.connections.len()).sum()
    }

    /// Tells a worker something, if it is connected here.
    fn send(&self, worker: i64, message: &ServerMessage) {
        for (_, sender) in self.lock().get(&worker).map(|presence| presence.connections.as_slice()).unwrap_or_default()
        {
            if sender.try_send(message.clone()).is_err() {
                tracing::warn!(worker, "a worker does not take its messages; this one is dropped");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Presence>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes events on for as long as the server runs: to the scheduler, and to the workers that they concern.
pub async fn dispatch(state: AppState) {
    let mut events = state.database.events();
    loop {
        let event = tokio::select! {
            () = state.shutdown.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => on_event(&state, &event),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "too many events at once: reading the database instead");
                state.scheduler.notify_one();
                if let Err(error) = remind(&state).await {
                    tracing::error!(%error, "cannot remind workers of their work");
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn on_event(state: &AppState, event: &event::Model) {
    if event.kind.wakes_scheduler() {
        state.scheduler.notify_one();
    }
    let (Some(worker), work_request) = (event.worker_id, event.work_request_id) else { return };
    match (*event.kind, work_request) {
        (EventKind::Assigned, _) => state.hub.send(worker, &ServerMessage::Notice(Notice::WorkRequestAvailable)),
        // A worker that reported this itself is through with it, and ignores the notice.
        (EventKind::Aborted | EventKind::DeAssigned | EventKind::Completed, Some(work_request_id)) => {
            let by_worker = *event.kind == EventKind::Completed && !is_error(event);
            if !by_worker {
                state.hub.send(worker, &ServerMessage::Notice(Notice::WorkRequestAborted { work_request_id }));
            }
            state.live_logs.close(work_request_id);
        }
        _ => {}
    }
}

fn is_error(event: &event::Model) -> bool {
    event.detail.as_ref().is_some_and(|detail| detail["result"] == "error")
}

/// Tells every connected worker that has an assigned work request it has not fetched, once more.
pub async fn remind(state: &AppState) -> usine_db::Result<()> {
    let live = WorkRequestManager(&state.database).live().all(state.database.reader()).await?;
    for row in live.iter().filter(|row| *row.status == Statuses::Pending) {
        if let Some(worker) = row.worker_id {
            state.hub.send(worker, &ServerMessage::Notice(Notice::WorkRequestAvailable));
        }
    }
    Ok(())
}
