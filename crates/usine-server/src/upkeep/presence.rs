//! Which servers are there. Each says so every few seconds; the leader watches, and notes who is dead. Workers of a dead server
//! have one lease from the last sign of life of their server to come back elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use usine_db::{Engine, Server, ServerManager};

use crate::state::AppState;

/// A server says this often that it is there.
const BEAT: Duration = Duration::from_secs(2);

/// One that says nothing for this long is dead.
const DEAD: TimeDelta = TimeDelta::seconds(10);

/// A leader that has not looked for longer than this cannot say what happened meanwhile, and begins to watch anew.
const BLIND: Duration = Duration::from_secs(5);

/// Says that this server is there, for as long as it runs. With SQLite nobody would hear it.
pub async fn run(state: AppState) {
    if state.database.backend() != Engine::Postgres {
        return;
    }
    let mut watch = Watch::default();
    let mut tick = interval(BEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        if let Err(error) = beat(&state, &mut watch).await {
            tracing::warn!(%error, "cannot tell the other servers that this one is there");
        }
    }
    // Connections end with the server, too; whoever takes its place should not wait for that.
    if let Err(error) = ServerManager(&state.database).end(state.server.id, state.now()).await {
        tracing::warn!(%error, "cannot tell the other servers that this one ends");
    }
}

async fn beat(state: &AppState, watch: &mut Watch) -> usine_db::Result<()> {
    let manager = ServerManager(&state.database);
    // The time comes first: who connects from now on is not taken for gone.
    let since = state.now();
    manager.beat(&state.server, &state.hub.connected(), since).await?;
    let servers = manager.list().await?;
    let several = servers.iter().any(|server| server.id != state.server.id);
    state.database.set_one_of_several(several);
    if several {
        state.live_logs.share();
    }
    if state.leadership.since().is_none() {
        watch.seen.clear();
        return Ok(());
    }
    for (server, last_seen) in watch.dead(&servers, Instant::now(), state.now()) {
        if server.id != state.server.id && manager.bury(&server, last_seen).await? {
            tracing::warn!(server = server.name, %last_seen, "this server is dead; its workers may connect to others");
        }
    }
    manager.bring_home(state.now()).await?;
    Ok(())
}

/// What the leader has seen of the servers.
#[derive(Default)]
struct Watch {
    /// The last beat of each, as it says itself, and when it was first seen here: clocks may differ.
    seen: HashMap<i64, (DateTime<Utc>, DateTime<Utc>)>,
    looked: Option<Instant>,
}

impl Watch {
    /// Takes in what servers say now; gives those that have said nothing for too long, and when they last did.
    fn dead(&mut self, servers: &[Server], at: Instant, now: DateTime<Utc>) -> Vec<(Server, DateTime<Utc>)> {
        if self.looked.is_none_or(|looked| at - looked > BLIND) {
            self.seen.clear();
        }
        self.looked = Some(at);
        self.seen.retain(|id, _| servers.iter().any(|server| server.id == *id));
        let mut dead = Vec::new();
        for server in servers {
            let seen = self.seen.entry(server.id).or_insert((server.last_seen, now));
            if seen.0 != server.last_seen {
                *seen = (server.last_seen, now);
            } else if now - seen.1 > DEAD {
                dead.push((server.clone(), seen.1));
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_from_not_having_looked() {
        let begin = Instant::now();
        let noon: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let server = |beat| {
            // Its clock is an hour behind.
            let last_seen = noon + TimeDelta::seconds(beat - 3600);
            [Server { id: 7, name: "one".to_owned(), started_at: noon, last_seen }]
        };
        let mut watch = Watch::default();
        let mut look = |second: u64, beat: i64| {
            let now = noon + TimeDelta::seconds(second as i64);
            watch.dead(&server(beat), begin + Duration::from_secs(second), now).first().map(|(_, last_seen)| *last_seen)
        };
        for second in (0..=10).step_by(2) {
            assert_eq!(look(second, 0), None);
        }
        assert_eq!(look(12, 0), Some(noon));
        assert_eq!(look(14, 1), None, "it was only slow");
        // The database, or the leader itself, stood still.
        assert_eq!(look(100, 1), None);
        for second in (102..=110).step_by(2) {
            assert_eq!(look(second, 1), None, "{second}");
        }
        assert_eq!(look(112, 1), Some(noon + TimeDelta::seconds(100)));
    }
}
