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

use axum::extract::ws::WebSocketUpgrade;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use usine_db::entity::event;
use usine_db::{WorkRequestManager, WorkerManager};
use usine_model::event::EventKind;
use usine_model::work_request::Statuses;
use usine_protocol::channel::Notice;

use crate::routes::Routes;
use crate::state::AppState;

pub use worker::Session as WorkerSession;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .channel("/api/ws/1.0/worker/connect/", worker::connect)
        .channel("/api/ws/1.0/work-request/on-completed/", completed::connect)
        .channel("/api/ws/1.0/work-request/{id}/logs/", logs::connect)
}

/// News that wait for a slow worker. One that lets more come together is disconnected, and begins anew.
const QUEUE: usize = 64;

/// What a worker's connection is told.
#[derive(Debug, Clone, PartialEq)]
enum News {
    /// Something for the worker itself.
    Notice(Notice),
    /// Something happened to this work request of the worker, or perhaps to any.
    Changed(Option<i64>),
    /// The worker's token does not work any more.
    Disabled,
}

/// Longest message that is taken from followers, in bytes: they have nothing to say.
const MAX_WORD: usize = 64 << 10;

/// What a connection reads and writes at once, in bytes. Nearly all messages are shorter; the library's 128 KiB for each of
/// a thousand workers would be more than all the rest of the server.
const BUFFER: usize = 4 << 10;

/// A WebSocket that takes little memory while nothing is said, and messages of up to so many bytes.
fn small(upgrade: WebSocketUpgrade, max_message: usize) -> WebSocketUpgrade {
    upgrade.read_buffer_size(BUFFER).write_buffer_size(BUFFER).max_message_size(max_message).max_frame_size(max_message)
}

/// So many connections come or go at once.
const TURNS: usize = 16;

/// Which workers are connected to this server, and since when the others are silent.
pub struct Hub {
    workers: Mutex<HashMap<i64, Presence>>,
    next: AtomicU64,
    turns: Semaphore,
}

impl Default for Hub {
    fn default() -> Self {
        Self { workers: Mutex::default(), next: AtomicU64::new(0), turns: Semaphore::new(TURNS) }
    }
}

#[derive(Default)]
struct Presence {
    connections: Vec<(u64, mpsc::Sender<News>)>,
    last_seen: Option<DateTime<Utc>>,
}

impl Hub {
    /// What a connection asks of the database when it comes and goes. All workers do when a server starts and when it stops,
    /// and a query takes more memory than all else of a connection: they wait for a turn, and have the memory only then.
    async fn in_turn<T, F: Future<Output = T>>(&self, work: impl FnOnce() -> F) -> T {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        Box::pin(work()).await
    }

    /// A worker has connected: its number for [`Hub::leave`], and what to send it.
    fn join(&self, worker: i64) -> (u64, mpsc::Receiver<News>) {
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
    fn send(&self, worker: i64, news: News) {
        if let Some(presence) = self.lock().get_mut(&worker) {
            // Without its sender a connection ends: what a worker has missed it hears when it comes back.
            presence.connections.retain(|(_, sender)| {
                let taken = sender.try_send(news.clone()).is_ok();
                if !taken {
                    tracing::warn!(worker, "a worker does not take its messages; it is disconnected");
                }
                taken
            });
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
            Ok(event) => tell(&state, &event),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "too many events at once: reading the database instead");
                state.scheduler.notify_one();
                for told in [remind(&state).await, refuse_disabled(&state).await] {
                    if let Err(error) = told {
                        tracing::error!(%error, "cannot tell workers what they may have missed");
                    }
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Passes one event on: what [`dispatch`] does with each.
pub fn tell(state: &AppState, event: &event::Model) {
    if event.kind.wakes_scheduler() {
        state.scheduler.notify_one();
    }
    let (Some(worker), work_request) = (event.worker_id, event.work_request_id) else { return };
    if let Some(work_request) = work_request {
        state.hub.send(worker, News::Changed(Some(work_request)));
    }
    match (*event.kind, work_request) {
        (EventKind::WorkerDisabled, _) => state.hub.send(worker, News::Disabled),
        (EventKind::Assigned, _) => state.hub.send(worker, News::Notice(Notice::WorkRequestAvailable)),
        // A worker that reported this itself is through with it, and ignores the notice.
        (EventKind::Aborted | EventKind::DeAssigned | EventKind::Completed, Some(work_request_id)) => {
            let by_worker = *event.kind == EventKind::Completed && !is_error(event);
            if !by_worker {
                state.hub.send(worker, News::Notice(Notice::WorkRequestAborted { work_request_id }));
            }
            state.live_logs.close(work_request_id);
        }
        _ => {}
    }
}

fn is_error(event: &event::Model) -> bool {
    event.detail.as_ref().is_some_and(|detail| detail["result"] == "error")
}

/// Tells connected workers whose tokens do not work any more, and makes the others' logs be looked at anew.
async fn refuse_disabled(state: &AppState) -> usine_db::Result<()> {
    let disabled = WorkerManager(&state.database).disabled().await?;
    for worker in state.hub.connected() {
        let news = if disabled.contains(&worker) { News::Disabled } else { News::Changed(None) };
        state.hub.send(worker, news);
    }
    Ok(())
}

/// Tells every connected worker that has an assigned work request it has not fetched, once more.
pub async fn remind(state: &AppState) -> usine_db::Result<()> {
    let live = WorkRequestManager(&state.database).live().all(state.database.reader()).await?;
    for row in live.iter().filter(|row| *row.status == Statuses::Pending) {
        if let Some(worker) = row.worker_id {
            state.hub.send(worker, News::Notice(Notice::WorkRequestAvailable));
        }
    }
    Ok(())
}
