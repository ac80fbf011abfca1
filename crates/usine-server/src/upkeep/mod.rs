//! What must happen by the clock: leases, deadlines, ends of rests, reminders, expiry, vacuum, and news from other processes.

mod deadlines;
mod expire;
mod foreign;
mod fsck;
mod leases;
mod presence;
mod rests;
mod storage;
mod vacuum;

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};
use usine_db::LiveLogManager;

use crate::channel::remind;
use crate::state::AppState;

pub use expire::{Expired, expire};
pub use foreign::watch as watch_foreign_events;
pub use fsck::{Finding, What, fsck};
pub use presence::run as run_presence;
pub use storage::{Removed, Storage, UpkeepError};
pub use vacuum::{Logs, Vacuumed, vacuum};

/// Sweeps this often.
const SWEEP: Duration = Duration::from_secs(3600);

/// After a start, workers and followers come back first: expiry and vacuum wait so long, or their interval if that is shorter.
const CALM: Duration = Duration::from_secs(300);

/// Keeps house for as long as the server runs: the whole farm's if it leads, else only its own.
pub async fn run(state: AppState) {
    let mut tick = interval(Duration::from_secs(u64::from(state.config.upkeep_interval)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep = interval(SWEEP);
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            _ = tick.tick() => look(&state).await,
            _ = sweep.tick() => {
                let mut done = Vacuumed::default();
                let swept = vacuum::sweep_up(&state.storage(), &state.logs(), state.now(), &mut done).await;
                if let Err(error) = swept {
                    tracing::error!(%error, "cannot sweep up; it tries again");
                }
                if state.leadership.since().is_some() {
                    let old = state.now() - TimeDelta::seconds(i64::from(state.config.live_log_life));
                    if let Err(error) = LiveLogManager(&state.database).forget(old).await {
                        tracing::error!(%error, "cannot forget old live logs; it tries again");
                    }
                }
            }
        }
    }
}

/// Deletes what has expired, for as long as the server runs, whenever it leads. Administrators may do so at the same time: what
/// one has locked, the others leave to it.
pub async fn run_expiry(state: AppState) {
    let Some(mut tick) = calm_interval(state.config.expire_interval) else { return };
    while comes(&state, &mut tick).await {
        if state.leadership.since().is_none() {
            continue;
        }
        if let Err(error) = expire(&state.storage(), state.now(), false, &state.shutdown).await {
            tracing::error!(%error, "cannot delete what has expired; it tries again");
        }
    }
}

/// Vacuums, for as long as the server runs, whenever it leads.
pub async fn run_vacuum(state: AppState) {
    let Some(mut tick) = calm_interval(state.config.vacuum_interval) else { return };
    while comes(&state, &mut tick).await {
        if state.leadership.since().is_none() {
            continue;
        }
        if let Err(error) = vacuum(&state.storage(), &state.logs(), state.now(), false, &state.shutdown).await {
            tracing::error!(%error, "cannot vacuum; it tries again");
        }
    }
}

/// Every so many seconds, but not at once; `None` for 0, which is never.
fn calm_interval(seconds: u32) -> Option<Interval> {
    let pause = Some(Duration::from_secs(u64::from(seconds))).filter(|pause| !pause.is_zero())?;
    let mut tick = interval_at(Instant::now() + pause.min(CALM), pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(tick)
}

/// Waits for the next tick; false if the server stops before. What is done at a tick is not broken off by the stop, but told
/// of it, and comes to a good end.
async fn comes(state: &AppState, tick: &mut Interval) -> bool {
    tokio::select! {
        () = state.shutdown.cancelled() => false,
        _ = tick.tick() => true,
    }
}

/// One look at everything that the clock decides. What fails does not keep the rest from happening. Workers are reminded by
/// the server to which they are connected.
pub async fn look(state: &AppState) {
    let mut all = vec![remind(state).await];
    if state.leadership.since().is_some() {
        all.extend([leases::expire(state).await, deadlines::enforce(state).await, rests::end(state).await]);
    }
    for done in all {
        if let Err(error) = done {
            tracing::error!(%error, "upkeep failed; it tries again");
        }
    }
}
