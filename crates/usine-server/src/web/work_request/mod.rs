//! Work requests: lists of them, one of them, and what one does with them.

mod act;
mod compare;
pub(super) mod list;
mod one;
pub(super) mod rows;

use usine_db::{WorkRequest, WorkRequestManager};
use usine_model::permission::{WORK_REQUEST_CAN_DISPLAY, WORKSPACE_CAN_CREATE_WORK_REQUESTS};

use super::frame::Guest;
use super::place::missing;
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;

/// The routes.
pub(super) fn routes() -> Routes {
    Routes::new().merge(list::routes()).merge(one::routes()).merge(act::routes()).merge(compare::routes())
}

/// Whether somebody is to see how to submit: with a session, and allowed to.
pub(super) fn may_submit(guest: &Guest, place: &Place) -> bool {
    guest.user.is_some() && guest.may(&WORKSPACE_CAN_CREATE_WORK_REQUESTS, &place.workspace.facts(&place.scope))
}

/// The work request of this id, if it is in this place and may be seen.
pub(super) async fn find(state: &AppState, guest: &Guest, place: &Place, id: &str) -> ApiResult<WorkRequest> {
    let id = id.parse().map_err(|_| missing())?;
    let row = WorkRequestManager(&state.database).get_or_none(id).await?;
    let seen = |row: &WorkRequest| {
        row.workspace_id == place.workspace.id && guest.may(&WORK_REQUEST_CAN_DISPLAY, &place.work_request(row))
    };
    row.filter(seen).ok_or_else(missing)
}
