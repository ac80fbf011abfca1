//! Rests: what failed temporarily becomes pending again when its time has come.

use usine_db::WorkRequestManager;

use crate::state::AppState;

/// Ends every rest that has lasted long enough.
pub(super) async fn end(state: &AppState) -> usine_db::Result<()> {
    let manager = WorkRequestManager(&state.database);
    for row in manager.rested(state.now()).all(state.database.reader()).await? {
        match manager.end_rest(row.id, state.now()).await {
            Ok(true) => tracing::info!(work_request = row.id, "pending again after a temporary failure"),
            Ok(false) => {}
            // One work request's trouble is not the others'.
            Err(error) => tracing::error!(work_request = row.id, %error, "cannot end its rest"),
        }
    }
    Ok(())
}
