//! Deadlines: a work request that runs or is silent for too long ends with an error, and its worker is told to stop.

use chrono::{DateTime, Utc};
use usine_db::{LiveLogManager, WorkRequestManager};

use crate::state::AppState;

/// Ends every running work request that has passed a limit.
pub(super) async fn enforce(state: &AppState) -> usine_db::Result<()> {
    let manager = WorkRequestManager(&state.database);
    let limited = manager.limited().all(state.database.reader()).await?;
    for row in limited {
        let Some(started_at) = row.started_at else { continue };
        // The log may come to another server.
        let here = state.live_logs.last_written(row.id).await.map(DateTime::<Utc>::from);
        let last_log = match row.deadline_silence {
            Some(_) if state.live_logs.is_shared() => {
                here.max(LiveLogManager(&state.database).last_written(row.id).await?)
            }
            _ => here,
        };
        if let Some(passed) = row.deadlines().passed(started_at, last_log, state.now())
            && manager.pass_deadline(row.id, passed, state.now()).await?
        {
            tracing::warn!(work_request = row.id, "{}", passed.message());
        }
    }
    Ok(())
}
