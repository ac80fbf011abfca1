//! `/-/login/` and `/-/logout/`.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use usine_db::{SessionManager, UserManager};

use super::{PageUser, cookies, csrf, page, redirect};
use crate::paths::Base;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Longest name and password that are looked at, in bytes.
const MAX_INPUT: usize = 1024;

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/login/", Access::Everybody, show).post("/-/login/", Access::Everybody, log_in).post(
        "/-/logout/",
        Access::Login,
        log_out,
    )
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    secret: &'a str,
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
    #[serde(default, rename = "csrfmiddlewaretoken")]
    secret: String,
}

async fn show(
    State(state): State<AppState>,
    base: Base,
    headers: HeaderMap,
    Query(query): Query<Next>,
) -> ApiResult<Response> {
    form(&state, &base, &headers, (StatusCode::OK, None), (&query.next, ""))
}

fn form(
    state: &AppState,
    base: &Base,
    headers: &HeaderMap,
    (status, error): (StatusCode, Option<&str>),
    (next, username): (&str, &str),
) -> ApiResult<Response> {
    let (secret, cookie) = csrf::secret(headers, &*state.entropy, base.is_secure());
    let mut response = page(status, &LoginPage { secret: &secret, next, username, error })?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

async fn log_in(
    State(state): State<AppState>,
    base: Base,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> ApiResult<Response> {
    csrf::check(&headers, &login.secret)?;
    let again = |status, error| form(&state, &base, &headers, (status, Some(error)), (&login.next, &login.username));
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
    let turn = state.logins.turns.acquire().await.map_err(|error| ApiError::Internal(Box::new(error)))?;
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

#[derive(Deserialize)]
struct Secret {
    #[serde(default, rename = "csrfmiddlewaretoken")]
    secret: String,
}

async fn log_out(
    State(state): State<AppState>,
    _: PageUser,
    base: Base,
    headers: HeaderMap,
    Form(form): Form<Secret>,
) -> ApiResult<Response> {
    csrf::check(&headers, &form.secret)?;
    if let Some(key) = cookies::session(&headers) {
        SessionManager(&state.database).end(&key).await?;
    }
    let cookie = cookies::set_session(None, base.is_secure());
    Ok(([(header::SET_COOKIE, cookie)], redirect("/-/login/")).into_response())
}

/// Where to go after the login: only to a page of ours. `//host` and `/\host` are others' to browsers.
fn own_path(next: &str) -> &str {
    let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\n', '\r', '\t']);
    if ours { next } else { "/-/login/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(own_path("/-/enroll/confirm/x/"), "/-/enroll/confirm/x/");
        for bad in ["", "//evil.example.org/", "/\\evil.example.org", "https://evil.example.org/", "evil", "/a\nb"] {
            assert_eq!(own_path(bad), "/-/login/", "{bad}");
        }
    }
}
