//! Which server leads: it schedules and keeps house, the others only could. Nothing goes wrong if two do for a moment; every
//! change is guarded in its statement.
//!
//! On PostgreSQL the leader holds a lock of a session of its own. When it is gone, however it went, so is the lock, and
//! one of the others has it within a second. With SQLite there is one server, which leads.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::timeout;
use usine_db::Engine;
use usine_db::coordination::Candidate;

use crate::state::AppState;

/// A candidate tries this often, and the leader looks this often whether it still leads.
const LOOK: Duration = Duration::from_secs(1);

/// A database that does not answer for so long has lost the leader.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this server leads.
pub struct Leadership {
    since: watch::Sender<Option<DateTime<Utc>>>,
}

impl Leadership {
    /// With SQLite the only server leads from its start on; others have to see.
    pub fn begin(engine: Engine, started_at: DateTime<Utc>) -> Self {
        Self { since: watch::Sender::new((engine != Engine::Postgres).then_some(started_at)) }
    }

    /// Since when this server leads, if it does.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        *self.since.borrow()
    }
}

/// Leads whenever it can, for as long as the server runs.
pub async fn run(state: AppState) {
    if state.database.backend() != Engine::Postgres {
        return;
    }
    // Whoever finds no other leader at its start has led since then.
    let mut from_start = Some(state.started_at);
    loop {
        let term = async {
            let mut candidate = Candidate::connect(&state.database).await?;
            let outcome = serve(&state, &mut candidate, from_start.take()).await;
            // First: what is under way ends before another one begins.
            state.leadership.since.send_replace(None);
            candidate.resign().await;
            outcome
        };
        if let Err(error) = term.await {
            tracing::warn!(%error, "the database is out of reach; another server may lead now");
        }
        if pause(&state).await {
            return;
        }
    }
}

/// Waits until this server leads, then until it cannot be sure of that any more, or the server stops.
async fn serve(state: &AppState, candidate: &mut Candidate, mut since: Option<DateTime<Utc>>) -> usine_db::Result<()> {
    let late = || usine_db::Error::Invalid("no answer from the database".to_owned());
    while !timeout(PATIENCE, candidate.try_to_lead()).await.map_err(|_| late())?? {
        since = None;
        if pause(state).await {
            return Ok(());
        }
    }
    tracing::info!("this server leads");
    state.leadership.since.send_replace(Some(since.unwrap_or_else(|| state.now())));
    while !pause(state).await {
        timeout(PATIENCE, candidate.check()).await.map_err(|_| late())??;
    }
    Ok(())
}

/// True if the server stops.
async fn pause(state: &AppState) -> bool {
    tokio::select! {
        () = state.shutdown.cancelled() => true,
        () = tokio::time::sleep(LOOK) => false,
    }
}

/// Does something whenever and as long as this server leads. It is broken off when another one may lead; what it was
/// changing at that moment is not changed.
pub async fn while_leading<F: Future<Output = ()>>(state: AppState, work: impl Fn(AppState) -> F) {
    let mut since = state.leadership.since.subscribe();
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            // The sender lives as long as the state: an error cannot happen.
            _ = since.wait_for(Option::is_some) => {}
        }
        tokio::select! {
            // It ends by itself when the server stops.
            () = work(state.clone()) => return,
            _ = since.wait_for(Option::is_none) => {}
        }
    }
}
