//! `/-/enroll/confirm/{nonce}/`: the user compares the words, and lets the client in or not.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use serde::Deserialize;
use usine_db::enrolment::ClientEnrolment;
use usine_db::{EnrolmentManager, ScopeManager};
use usine_model::permission::SCOPE_CAN_DISPLAY;
use usine_protocol::enrolment::{Enrolment, Outcome};

use super::{Message, PageUser, csrf, page, to_login};
use crate::paths::Base;
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
    secret: &'a str,
    username: &'a str,
    enrolment: &'a Enrolment,
    scope_exists: bool,
}

async fn show(
    State(state): State<AppState>,
    PageUser(user): PageUser,
    base: Base,
    uri: Uri,
    headers: HeaderMap,
    Path(nonce): Path<String>,
) -> ApiResult<Response> {
    let Some(user) = user else { return Ok(to_login(uri.path())) };
    let Some((_, enrolment)) = waiting(&state, &nonce).await? else { return nobody_waits() };
    let context = usine_db::PermissionManager(&state.database).context_of(&user).await?;
    let scope = ScopeManager(&state.database).get_scope_or_none(&enrolment.scope).await?;
    let scope_exists = scope.is_some_and(|scope| SCOPE_CAN_DISPLAY.allows(&context, &scope.facts()));
    let (secret, cookie) = csrf::secret(&headers, &*state.entropy, base.is_secure());
    let shown = EnrolmentPage { secret: &secret, username: &user.username, enrolment: &enrolment, scope_exists };
    let mut response = page(StatusCode::OK, &shown)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

#[derive(Deserialize)]
struct Answer {
    outcome: Outcome,
    #[serde(default, rename = "csrfmiddlewaretoken")]
    secret: String,
}

async fn decide(
    State(state): State<AppState>,
    PageUser(user): PageUser,
    uri: Uri,
    headers: HeaderMap,
    Path(nonce): Path<String>,
    Form(answer): Form<Answer>,
) -> ApiResult<Response> {
    csrf::check(&headers, &answer.secret)?;
    let Some(user) = user else { return Ok(to_login(uri.path())) };
    let Some((row, enrolment)) = waiting(&state, &nonce).await? else { return nobody_waits() };
    let confirm = answer.outcome == Outcome::Confirm;
    if !EnrolmentManager(&state.database).decide(row.id, confirm, &user).await? {
        return nobody_waits();
    }
    state.enrolments.notify_waiters();
    tracing::info!(username = user.username, hostname = enrolment.hostname, confirm, "an enrolment was decided");
    let text = if confirm {
        format!("The client on {} gets a token of yours, and goes on by itself.", enrolment.hostname)
    } else {
        format!("The client on {} gets no token.", enrolment.hostname)
    };
    page(StatusCode::OK, &Message { title: "Client enrolment", text: &text })
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

fn nobody_waits() -> ApiResult<Response> {
    let text =
        "No client waits here: it has ended, or the question was answered already. Start `debusine setup` again.";
    page(StatusCode::NOT_FOUND, &Message { title: "Client enrolment", text })
}
