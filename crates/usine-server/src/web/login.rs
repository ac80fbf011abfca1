//! `/-/login/`, `/-/logout/` and `/-/theme/`.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use cookie::time::Duration;
use serde::Deserialize;
use usine_db::{SessionManager, UserManager};

use super::frame::{Filled, Frame, Guest, THEME, Theme};
use super::{cookies, is_own, redirect};
use crate::paths::Base;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Longest name and password that are looked at, in bytes.
const MAX_INPUT: usize = 1024;

/// How long the colours are kept.
const THEME_LIFE: Duration = Duration::days(3650);

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/-/login/", Access::Page, show)
        .post("/-/login/", Access::Page, log_in)
        .post("/-/logout/", Access::Login, log_out)
        .post("/-/theme/", Access::Page, choose_theme)
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame,
    next: &'a str,
    username: &'a str,
    error: Option<&'a str>,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

async fn show(guest: Guest, Query(query): Query<Next>) -> ApiResult<Response> {
    form(&guest, (StatusCode::OK, None), (&query.next, ""))
}

fn form(
    guest: &Guest,
    (status, error): (StatusCode, Option<&str>),
    (next, username): (&str, &str),
) -> ApiResult<Response> {
    let mut frame = guest.frame("Log in");
    // What is asked for at the top of the page is the same.
    next.clone_into(&mut frame.path);
    guest.show_as(status, &LoginPage { frame, next, username, error })
}

async fn log_in(
    State(state): State<AppState>,
    guest: Guest,
    base: Base,
    headers: HeaderMap,
    Filled(login): Filled<Login>,
) -> ApiResult<Response> {
    let again = |status, error| form(&guest, (status, Some(error)), (&login.next, &login.username));
    if login.username.len() > MAX_INPUT || login.password.len() > MAX_INPUT {
        return again(StatusCode::BAD_REQUEST, "The name or the password is too long.");
    }
    let now = state.now();
    if let Some(rest) = state.logins.wait(&login.username, now) {
        let mut response =
            again(StatusCode::TOO_MANY_REQUESTS, "Too many tries with this name. Try again in a quarter of an hour.")?;
        response.headers_mut().insert(header::RETRY_AFTER, rest.num_seconds().max(1).into());
        return Ok(response);
    }
    let turn = state.logins.turns.turn().await?;
    let user = UserManager(&state.database).authenticate(&login.username, &login.password, now).await?;
    drop(turn);
    state.logins.note(&login.username, user.is_some(), now);
    let Some(user) = user else {
        tracing::info!(username = login.username, "a login failed");
        return again(StatusCode::OK, "Please enter a correct name and password. Both are case-sensitive.");
    };
    // A new key with each login: one that somebody else has put into the browser is worth nothing.
    if let Some(old) = cookies::session(&headers) {
        SessionManager(&state.database).end(&old).await?;
    }
    let key = SessionManager(&state.database).begin(&user, &*state.entropy, now).await?;
    let cookie = cookies::set_session(Some(key.reveal()), base.is_secure());
    let mut response = redirect(own_path(&login.next));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// A form without fields of its own.
#[derive(Deserialize)]
pub(super) struct Nothing {}

async fn log_out(
    State(state): State<AppState>,
    guest: Guest,
    base: Base,
    headers: HeaderMap,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    if let Some(key) = cookies::session(&headers) {
        SessionManager(&state.database).end(&key).await?;
    }
    let mut response = guest.go("/-/login/", "You have logged out.");
    response.headers_mut().append(header::SET_COOKIE, cookies::set_session(None, base.is_secure()));
    Ok(response)
}

#[derive(Deserialize)]
struct Choice {
    theme: String,
    #[serde(default)]
    next: String,
}

async fn choose_theme(guest: Guest, Filled(choice): Filled<Choice>) -> ApiResult<Response> {
    let theme: Theme = choice.theme.parse().map_err(|_| ApiError::bad_request("Unknown colours"))?;
    let mut response = redirect(own_path(&choice.next));
    response.headers_mut().append(header::SET_COOKIE, guest.cookie(THEME, &theme.to_string(), THEME_LIFE));
    Ok(response)
}

/// Where to go afterwards: only to a page of ours.
fn own_path(next: &str) -> &str {
    if is_own(next) { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(own_path("/-/enroll/confirm/x/"), "/-/enroll/confirm/x/");
        for bad in ["", "//evil.example.org/", "/\\evil.example.org", "https://evil.example.org/", "evil", "/a\nb"] {
            assert_eq!(own_path(bad), "/", "{bad}");
        }
    }
}
