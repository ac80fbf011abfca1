//! News from other processes: an administrator's command, or another server on the same database, writes events that
//! this process does not publish by itself. On PostgreSQL other servers call when they have some; and everybody looks every
//! second.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use usine_db::coordination::Ear;
use usine_db::{Engine, EventManager};

use crate::state::AppState;

/// Looks this often.
const POLL: Duration = Duration::from_secs(1);

/// Events read at once.
const BATCH: u64 = 1000;

/// PostgreSQL hands out numbers before the commit, so that a lower one may become visible after a higher one. What has
/// become visible late is looked for among the numbers of so many seconds.
const LATE: Duration = Duration::from_secs(10);

/// Passes foreign events on for as long as the server runs.
pub async fn watch(state: AppState) {
    let mut tick = interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ear = None;
    let mut reader: Option<Reader> = None;
    loop {
        let polls = tokio::select! {
            () = state.shutdown.cancelled() => return,
            _ = tick.tick() => true,
            () = hear(&mut ear) => false,
        };
        let read = async {
            match &mut reader {
                Some(reader) => reader.read(&state, polls).await?,
                None => reader = Some(Reader::starting_at(EventManager(&state.database).newest().await?)),
            }
            if ear.is_none() && state.database.backend() == Engine::Postgres {
                ear = Some(Ear::open(&state.database).await?);
            }
            Ok::<_, usine_db::Error>(())
        };
        if let Err(error) = read.await {
            tracing::warn!(%error, "cannot read events of other processes; it tries again");
        }
    }
}

/// Waits for another server to call. One that cannot be heard any more is listened to anew at the next poll.
async fn hear(ear: &mut Option<Ear>) {
    if let Some(open) = ear {
        match open.hear().await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, "other servers cannot be heard; it looks every second");
                *ear = None;
            }
        }
    }
    std::future::pending().await
}

/// How far this process has read.
struct Reader {
    /// All above is new.
    newest: i64,
    /// What was the newest at the polls of late, the oldest first.
    polls: VecDeque<(Instant, i64)>,
    /// What was passed on of the numbers that are looked at again.
    seen: BTreeSet<i64>,
}

impl Reader {
    fn starting_at(newest: i64) -> Self {
        Self { newest, polls: VecDeque::from([(Instant::now(), newest)]), seen: BTreeSet::new() }
    }

    async fn read(&mut self, state: &AppState, polls: bool) -> usine_db::Result<()> {
        let manager = EventManager(&state.database);
        // Before the reading: own events count as read, too, and are not looked through again.
        let newest = if polls { manager.newest().await? } else { 0 };
        loop {
            let events = manager.foreign(self.newest, BATCH).await?;
            let whole = events.len() as u64 == BATCH;
            self.newest = events.last().map_or(self.newest, |event| event.id);
            self.publish(state, events);
            if !whole {
                break;
            }
        }
        self.newest = self.newest.max(newest);
        if polls {
            self.look_back(state).await?;
        }
        Ok(())
    }

    async fn look_back(&mut self, state: &AppState) -> usine_db::Result<()> {
        let manager = EventManager(&state.database);
        self.polls.push_back((Instant::now(), self.newest));
        while self.polls.get(1).is_some_and(|(at, _)| at.elapsed() > LATE) {
            self.polls.pop_front();
        }
        let from = self.polls.front().map_or(self.newest, |(_, newest)| *newest);
        self.seen = self.seen.split_off(&from);
        // SQLite's numbers are in order.
        if state.database.backend() == Engine::Postgres {
            let ids = manager.foreign_ids(from, self.newest).await?;
            let late: Vec<i64> = ids.into_iter().filter(|id| !self.seen.contains(id)).collect();
            for batch in late.chunks(BATCH as usize) {
                let events = manager.with_ids(batch).await?;
                self.publish(state, events);
            }
        }
        Ok(())
    }

    fn publish(&mut self, state: &AppState, events: Vec<usine_db::news::Event>) {
        self.seen.extend(events.iter().map(|event| event.id));
        state.database.republish(events);
    }
}
