//! What must happen by the clock: leases, deadlines, ends of rests, reminders, sweeping up, and news from other processes.

mod deadlines;
mod foreign;
mod leases;
mod rests;

use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::channel::remind;
use crate::state::AppState;

pub use foreign::watch as watch_foreign_events;

/// Uploads that nobody continued for this long are thrown away.
const STALE_UPLOAD: Duration = Duration::from_secs(24 * 3600);

/// Sweeps this often.
const SWEEP: Duration = Duration::from_secs(3600);

/// Keeps house for as long as the server runs.
pub async fn run(state: AppState) {
    let mut tick = interval(Duration::from_secs(u64::from(state.config.upkeep_interval)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweep = interval(SWEEP);
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            _ = tick.tick() => look(&state).await,
            _ = sweep.tick() => {
                if let Err(error) = sweep_up(&state).await {
                    tracing::error!(%error, "cannot sweep up; it tries again");
                }
            }
        }
    }
}

/// One look at everything that the clock decides. What fails does not keep the rest from happening.
async fn look(state: &AppState) {
    let done =
        [leases::expire(state).await, deadlines::enforce(state).await, rests::end(state).await, remind(state).await];
    for done in done {
        if let Err(error) = done {
            tracing::error!(%error, "upkeep failed; it tries again");
        }
    }
}

async fn sweep_up(state: &AppState) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let now = SystemTime::from(state.now());
    state.live_logs.sweep(now, state.config.live_log_life).await?;
    for name in state.uploads.sweep(now - STALE_UPLOAD).await? {
        tracing::info!(%name, "an abandoned upload was thrown away");
    }
    Ok(())
}
