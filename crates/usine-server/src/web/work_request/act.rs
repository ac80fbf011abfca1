//! What one does with a work request where one looks at it: retry, abort, change its priority, approve, answer. Each is a form, and
//! the same function as the API's.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use usine_db::WorkRequest;
use usine_model::permission::{
    Predicate, WORK_REQUEST_CAN_ABORT, WORK_REQUEST_CAN_CONFIRM, WORK_REQUEST_CAN_RETRY, WORK_REQUEST_CAN_UNBLOCK,
    WORK_REQUEST_CAN_UPDATE,
};
use usine_protocol::work_request::{ConfirmWorkRequest, UnblockAction, UnblockWorkRequest};

use super::super::frame::{Filled, Guest, LoggedIn};
use super::super::login::Nothing;
use super::super::place::of_address;
use super::find;
use crate::api::work_request::{abort_as, confirm_as, prioritize_as, retry_as, unblock_as};
use crate::paths;
use crate::permissions::Place;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/{scope}/{workspace}/work-request/{id}/retry/", Access::Login, retry)
        .post("/{scope}/{workspace}/work-request/{id}/abort/", Access::Login, abort)
        .post("/{scope}/{workspace}/work-request/{id}/priority/", Access::Login, prioritize)
        .post("/{scope}/{workspace}/work-request/{id}/unblock/", Access::Login, unblock)
        .post("/{scope}/{workspace}/work-request/{id}/confirm/", Access::Login, confirm)
}

type Address = Path<(String, String, String)>;

/// The work request of an address, if whoever looks may do this with it.
async fn allowed(
    state: &AppState,
    guest: &Guest,
    (scope, workspace, id): &(String, String, String),
    predicate: &Predicate,
    verb: &str,
) -> ApiResult<(Place, WorkRequest)> {
    let place = of_address(state, guest, scope, workspace).await?;
    let row = find(state, guest, &place, id).await?;
    guest.check(predicate, &place.work_request(&row), &format!("{verb} this work request"))?;
    Ok((place, row))
}

fn page(place: &Place, row: &WorkRequest) -> String {
    paths::work_request(&place.scope.name, &place.workspace.name, row.id)
}

async fn retry(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(address): Address,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    let (place, row) = allowed(&state, &guest, &address, &WORK_REQUEST_CAN_RETRY, "retry").await?;
    let heir = retry_as(&state, &user, &row, &place).await?;
    let address = page(&place, &heir);
    Ok(guest.go(&address, &format!("#{} takes the place of #{}.", heir.id, row.id)))
}

async fn abort(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(address): Address,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    let (place, mut row) = allowed(&state, &guest, &address, &WORK_REQUEST_CAN_ABORT, "abort").await?;
    abort_as(&state, &user, &mut row).await?;
    Ok(guest.go(&page(&place, &row), "Aborted. If a worker ran it, it stops now."))
}

#[derive(Deserialize)]
struct Priority {
    adjustment: i32,
}

async fn prioritize(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(address): Address,
    Filled(Priority { adjustment }): Filled<Priority>,
) -> ApiResult<Response> {
    let (place, mut row) = allowed(&state, &guest, &address, &WORK_REQUEST_CAN_UPDATE, "change").await?;
    prioritize_as(&state, &user, &mut row, adjustment).await?;
    let address = page(&place, &row);
    Ok(guest.go(&address, &format!("The priority is {} now.", row.priority_effective())))
}

#[derive(Deserialize)]
struct Approval {
    #[serde(default)]
    notes: String,
    action: String,
}

async fn unblock(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(address): Address,
    Filled(approval): Filled<Approval>,
) -> ApiResult<Response> {
    let (place, mut row) = allowed(&state, &guest, &address, &WORK_REQUEST_CAN_UNBLOCK, "approve").await?;
    let (action, notice) = match approval.action.as_str() {
        "accept" => (Some(UnblockAction::Accept), "Accepted."),
        "reject" => (Some(UnblockAction::Reject), "Rejected."),
        "" => (None, "Noted."),
        _ => return Err(ApiError::bad_request("Choose accept, reject, or notes only")),
    };
    let notes = Some(approval.notes).filter(|notes| !notes.is_empty() || action.is_some());
    unblock_as(&state, &user, &mut row, &place, UnblockWorkRequest { notes, action }).await?;
    Ok(guest.go(&page(&place, &row), notice))
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    comment: String,
    action: String,
}

async fn confirm(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(address): Address,
    Filled(answer): Filled<Answer>,
) -> ApiResult<Response> {
    let (place, mut row) = allowed(&state, &guest, &address, &WORK_REQUEST_CAN_CONFIRM, "answer").await?;
    let confirm = match answer.action.as_str() {
        "confirm" => true,
        "deny" => false,
        _ => return Err(ApiError::bad_request("Choose confirm or deny")),
    };
    let comment = Some(answer.comment).filter(|comment| !comment.is_empty());
    confirm_as(&state, &user, &mut row, ConfirmWorkRequest { confirm, comment }).await?;
    Ok(guest.go(&page(&place, &row), if confirm { "Confirmed." } else { "Denied." }))
}
