//! `/-/enroll/confirm/{nonce}/`: the user compares the words, and lets the client in or not.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use usine_db::account::User;
use usine_db::enrolment::ClientEnrolment;
use usine_db::{EnrolmentManager, ScopeManager};
use usine_model::permission::SCOPE_CAN_DISPLAY;
use usine_protocol::enrolment::{Enrolment, Outcome};

use super::Message;
use super::frame::{Filled, Frame, Guest, LoggedIn};
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/enroll/confirm/{nonce}/", Access::Login, show).post(
        "/-/enroll/confirm/{nonce}/",
        Access::Login,
        decide,
    )
}

#[derive(Template)]
#[template(path = "enrolment.html")]
struct EnrolmentPage<'a> {
    frame: Frame,
    user: &'a User,
    enrolment: &'a Enrolment,
    scope_exists: bool,
}

const TITLE: &str = "Client enrolment";

async fn show(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(nonce): Path<String>,
) -> ApiResult<Response> {
    let Some((_, enrolment)) = waiting(&state, &nonce).await? else { return nobody_waits(&guest) };
    let scope = ScopeManager(&state.database).get_scope_or_none(&enrolment.scope).await?;
    let scope_exists = scope.is_some_and(|scope| guest.may(&SCOPE_CAN_DISPLAY, &scope.facts()));
    let frame = guest.frame("Let a client in?");
    guest.show(&EnrolmentPage { frame, user: &user, enrolment: &enrolment, scope_exists })
}

#[derive(Deserialize)]
struct Answer {
    outcome: Outcome,
}

async fn decide(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path(nonce): Path<String>,
    Filled(answer): Filled<Answer>,
) -> ApiResult<Response> {
    let Some((row, enrolment)) = waiting(&state, &nonce).await? else { return nobody_waits(&guest) };
    let confirm = answer.outcome == Outcome::Confirm;
    if !EnrolmentManager(&state.database).decide(row.id, confirm, &user).await? {
        return nobody_waits(&guest);
    }
    state.enrolments.notify_waiters();
    tracing::info!(username = user.username, hostname = enrolment.hostname, confirm, "an enrolment was decided");
    let text = if confirm {
        format!("The client on {} gets a token of yours, and goes on by itself.", enrolment.hostname)
    } else {
        format!("The client on {} gets no token.", enrolment.hostname)
    };
    guest.show(&Message { frame: guest.frame(TITLE), text: &text })
}

/// The enrolment that waits under this nonce.
async fn waiting(state: &AppState, nonce: &str) -> ApiResult<Option<(ClientEnrolment, Enrolment)>> {
    if nonce.len() > 64 || nonce.contains('\0') {
        return Ok(None);
    }
    let row = EnrolmentManager(&state.database).get_or_none(nonce).await?;
    let Some(row) = row.filter(|row| row.outcome.is_none()) else { return Ok(None) };
    let enrolment = serde_json::from_value(row.payload.clone()).map_err(|error| ApiError::Internal(Box::new(error)))?;
    Ok(Some((row, enrolment)))
}

fn nobody_waits(guest: &Guest) -> ApiResult<Response> {
    let text =
        "No client waits here: it has ended, or the question was answered already. Start `debusine setup` again.";
    guest.show_as(StatusCode::NOT_FOUND, &Message { frame: guest.frame(TITLE), text })
}
