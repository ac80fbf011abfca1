//! `/api/enroll/`: a client waits here until its user has decided on a page. No token is needed: the user gives one.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use regex::Regex;
use tokio::time::Instant;
use usine_db::token::TokenSpec;
use usine_db::{EnrolmentManager, TokenManager};
use usine_protocol::enrolment::{Decision, ENROL, Enrolment, MAX_BODY, Outcome};

use crate::overload::CountedApart;
use crate::problem::{ApiError, ApiResult, Payload};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// A blank line this often keeps proxies and the client itself (30 seconds) from giving up.
const BLANK_LINE: Duration = Duration::from_secs(10);

/// Looks for the decision this often, in case another server has taken it.
const LOOK: Duration = Duration::from_secs(1);

/// Nobody waits for longer than this.
const PATIENCE: Duration = Duration::from_secs(3600);

static NONCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[A-Za-z0-9_-]{8,64}$").expect("a valid pattern"));
static CHALLENGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[A-Za-z0-9_]{4,10}(?: [A-Za-z0-9_]{4,10}){2,7}$").expect("a valid pattern"));

/// The routes.
pub fn routes() -> Routes {
    Routes::new().post(ENROL, Access::Everybody, enrol)
}

async fn enrol(State(state): State<AppState>, headers: HeaderMap, Payload(body): Payload) -> ApiResult<Response> {
    let enrolment = read(&headers, &body)?;
    let taken = || ApiError::bad_request("duplicate or invalid request received");
    let turn = state.enrolment_turns.clone().try_acquire_owned();
    let turn = turn.map_err(|_| ApiError::unavailable("too many clients wait for their users; try again later"))?;
    let manager = EnrolmentManager(&state.database);
    let row = manager.begin(&enrolment.nonce, serde_json::json!(enrolment), state.now()).await?.ok_or_else(taken)?;
    let waiting = Waiting { state, id: row.id };
    // The answer begins now and ends with the decision. What it holds goes with it, however it ends: the row, too.
    let lines = stream::unfold(Some((waiting, enrolment, turn, Instant::now())), |held| async move {
        let (waiting, enrolment, turn, begin) = held?;
        let line = match waiting.next_line(&enrolment, begin).await {
            Line::Blank => {
                return Some((Ok::<_, Infallible>(Bytes::from_static(b"\n")), Some((waiting, enrolment, turn, begin))));
            }
            Line::Last(decision) => serde_json::to_vec(&decision).unwrap_or_default(),
        };
        Some((Ok(Bytes::from(line)), None))
    });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((Extension(CountedApart), headers, Body::from_stream(lines)).into_response())
}

fn read(headers: &HeaderMap, body: &Bytes) -> ApiResult<Enrolment> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != "application/json") {
        return Err(ApiError::bad_request("only JSON data is accepted"));
    }
    if body.len() > MAX_BODY {
        return Err(ApiError::bad_request("JSON payload too big"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| ApiError::bad_request("payload is not valid JSON"))?;
    let invalid = || ApiError::bad_request("payload data is invalid");
    let enrolment: Enrolment = serde_json::from_value(value).map_err(|_| invalid())?;
    let printable = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    let valid = NONCE.is_match(&enrolment.nonce)
        && CHALLENGE.is_match(&enrolment.challenge)
        && printable(&enrolment.scope)
        && printable(&enrolment.hostname);
    if valid { Ok(enrolment) } else { Err(invalid()) }
}

enum Line {
    Blank,
    Last(Decision),
}

/// The row of a client that waits; it goes when the client does.
struct Waiting {
    state: AppState,
    id: i64,
}

impl Waiting {
    /// What to send next: after the decision the last line, until then blank ones.
    async fn next_line(&self, enrolment: &Enrolment, begin: Instant) -> Line {
        let until = Instant::now() + BLANK_LINE;
        let cancelled = || Line::Last(Decision { outcome: Outcome::Cancel, token: None });
        loop {
            let notified = self.state.enrolments.notified();
            match self.decision(enrolment).await {
                Ok(Some(decision)) => return Line::Last(decision),
                Ok(None) if begin.elapsed() > PATIENCE => return cancelled(),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(?error, "cannot read the decision on an enrolment");
                    return cancelled();
                }
            }
            tokio::select! {
                () = self.state.shutdown.cancelled() => return cancelled(),
                () = notified => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            if Instant::now() >= until {
                return Line::Blank;
            }
        }
    }

    /// What the user has decided, with the key of a new token.
    async fn decision(&self, enrolment: &Enrolment) -> ApiResult<Option<Decision>> {
        let row = EnrolmentManager(&self.state.database).get_or_none(&enrolment.nonce).await?;
        let cancelled = Decision { outcome: Outcome::Cancel, token: None };
        // Somebody has cleared it away.
        let Some(row) = row else { return Ok(Some(cancelled)) };
        match (row.outcome.as_deref(), row.user_id) {
            (None, _) => Ok(None),
            (Some("confirm"), Some(user)) => {
                let comment = format!("obtained via 'debusine setup' on {}", enrolment.hostname);
                let comment: String = comment.chars().take(100).collect();
                let spec = TokenSpec { enabled: true, comment, created_by_id: Some(user), ..TokenSpec::of_user(user) };
                let made =
                    TokenManager(&self.state.database).create(spec, &*self.state.entropy, self.state.now()).await?;
                Ok(Some(Decision { outcome: Outcome::Confirm, token: Some(made.key.reveal().to_owned()) }))
            }
            _ => Ok(Some(cancelled)),
        }
    }
}

impl Drop for Waiting {
    /// The client has its answer, or has gone away.
    fn drop(&mut self) {
        let (state, id) = (self.state.clone(), self.id);
        tokio::spawn(async move {
            if let Err(error) = EnrolmentManager(&state.database).end(id).await {
                tracing::error!(%error, "cannot end an enrolment");
            }
        });
    }
}
