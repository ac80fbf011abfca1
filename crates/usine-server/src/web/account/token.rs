//! `/-/user/{name}/token/…`: one's own tokens, made, changed, deleted. A key is shown once: it waits for its page in a cookie of the
//! browser that asked for it, for a minute, and is stored nowhere.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use chrono::TimeDelta;
use cookie::time::Duration;
use serde::Deserialize;
use usine_db::account::User;
use usine_db::paged::Paged;
use usine_db::token::{MAX_COMMENT, TokenSpec};
use usine_db::{ScopeManager, Token, TokenManager};
use usine_model::token::{TokenKey, hash_of};

use super::{oneself, user_address};
use crate::paths::Base;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;
use crate::web::cookies;
use crate::web::frame::{Filled, Frame, Guest, LoggedIn};
use crate::web::login::Nothing;
use crate::web::place::missing;
use crate::web::show::When;
use crate::web::tenancy::pieces::{Asked, Confirm, Field, Pager};

/// Name of the cookie with a new key.
const COOKIE: &str = "token-key";

/// How long a key waits for its page.
const WAIT: Duration = Duration::seconds(60);

/// How many tokens a page of the list has.
const ROWS: u64 = 50;

/// Longest life of a token that has an end, in days.
const MAX_DAYS: i64 = 3650;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/-/user/{name}/token/", Access::Login, list)
        .get("/-/user/{name}/token/create/", Access::Login, ask)
        .post("/-/user/{name}/token/create/", Access::Login, create)
        .get("/-/user/{name}/token/{id}/", Access::Login, show)
        .get("/-/user/{name}/token/{id}/edit/", Access::Login, edit)
        .post("/-/user/{name}/token/{id}/edit/", Access::Login, change)
        .get("/-/user/{name}/token/{id}/delete/", Access::Login, ask_to_delete)
        .post("/-/user/{name}/token/{id}/delete/", Access::Login, delete)
}

#[derive(Template)]
#[template(path = "account/tokens.html")]
struct TokensPage {
    frame: Frame,
    address: String,
    tokens: Paged<Row>,
    pager: Pager,
    configuration: String,
}

struct Row {
    token: Token,
    expired: bool,
    created: When,
    seen: Option<When>,
    expires: Option<When>,
}

#[derive(Template)]
#[template(path = "account/token_form.html")]
struct FormPage {
    frame: Frame,
    fields: Vec<Field>,
    button: &'static str,
    back: String,
}

#[derive(Template)]
#[template(path = "account/token.html")]
struct TokenPage {
    frame: Frame,
    row: Row,
    address: String,
    /// The key and the configuration with it, once.
    key: Option<(String, String)>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    comment: String,
    #[serde(default)]
    enabled: String,
    #[serde(default)]
    days: String,
}

/// `/-/user/NAME/token/`.
fn address(user: &User) -> String {
    format!("{}token/", user_address(&user.username))
}

/// A frame below the list.
fn frame(guest: &Guest, user: &User, title: impl Into<String>) -> Frame {
    guest.frame(title).below(&user.username, user_address(&user.username)).below("Tokens", address(user))
}

fn row(state: &AppState, token: Token) -> Row {
    let now = state.now();
    Row {
        expired: token.expire_at.is_some_and(|at| at < now),
        created: When::new(token.created_at, now),
        seen: When::maybe(token.last_seen_at, now),
        expires: When::maybe(token.expire_at, now),
        token,
    }
}

async fn list(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    base: Base,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let tokens = TokenManager(&state.database).of_user(user.id, asked.page(ROWS)).await?;
    let pager = Pager::of(&tokens);
    let guest = &logged_in.guest;
    let frame = guest.frame("Tokens").below(&user.username, user_address(&user.username));
    let configuration = configuration(&state, guest, &base, "the key, which is shown when the token is made").await?;
    let tokens = tokens.map(|token| row(&state, token));
    guest.show(&TokensPage { frame, address: address(&user), tokens, pager, configuration })
}

/// What a client needs to be told, in the format of its file.
async fn configuration(state: &AppState, guest: &Guest, base: &Base, key: &str) -> ApiResult<String> {
    let scopes = ScopeManager(&state.database).displayable(&guest.context).await?;
    let default = scopes.iter().find(|scope| scope.name == state.config.default_scope).or(scopes.first());
    let scope = default.map_or(state.config.default_scope.as_str(), |scope| &scope.name);
    let host = base.0.split_once("://").map_or(base.0.as_str(), |(_, host)| host);
    // The name is ours to choose; a port would not be nice in it.
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Ok(format!(
        "[General]\ndefault-server = {name}\n\n[server:{name}]\napi-url = {}/api\nscope = {scope}\ntoken = {key}\n",
        base.0
    ))
}

async fn ask(State(state): State<AppState>, logged_in: LoggedIn, Path(name): Path<String>) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let written = Written { comment: String::new(), enabled: "on".to_owned(), days: String::new() };
    form_to_create(&logged_in.guest, &user, &written, (None, None))
}

fn comment_field(written: &Written, error: Option<String>) -> Field {
    Field::line("comment", "Comment", &written.comment)
        .optional()
        .at_most(MAX_COMMENT)
        .hint("What it is for, so that you know it when it is no longer needed.")
        .wrong(error)
}

fn enabled_field(written: &Written) -> Field {
    Field::check("enabled", "Enabled", !written.enabled.is_empty()).hint("A token that is not enabled opens nothing.")
}

fn form_to_create(
    guest: &Guest,
    user: &User,
    written: &Written,
    (comment, days): (Option<String>, Option<String>),
) -> ApiResult<Response> {
    let status = if comment.is_some() || days.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let days =
        Field::number("days", "Expires after days", &written.days).hint("Nothing here: it never expires.").wrong(days);
    let fields = vec![comment_field(written, comment), enabled_field(written), days];
    let frame = frame(guest, user, "New token");
    guest.show_as(status, &FormPage { frame, fields, button: "Make the token", back: address(user) })
}

/// What is wrong with a comment.
fn wrong_comment(comment: &str) -> Option<String> {
    if comment.chars().count() > MAX_COMMENT {
        return Some(format!("At most {MAX_COMMENT} characters; these are {}.", comment.chars().count()));
    }
    comment.contains(char::is_control).then(|| "One line, without control characters.".to_owned())
}

/// After how many days a token expires; `None` is never.
fn life(days: &str) -> Result<Option<TimeDelta>, String> {
    match days.trim() {
        "" => Ok(None),
        days => match days.parse::<i64>() {
            Ok(days @ 1..=MAX_DAYS) => Ok(Some(TimeDelta::days(days))),
            _ => Err(format!("A whole number of days from 1 to {MAX_DAYS}, or nothing.")),
        },
    }
}

async fn create(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path(name): Path<String>,
    base: Base,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let guest = &logged_in.guest;
    let comment = written.comment.trim();
    let (wrong, life) = (wrong_comment(comment), life(&written.days));
    let life = match (wrong, life) {
        (None, Ok(life)) => life,
        (wrong, life) => return form_to_create(guest, &user, &written, (wrong, life.err())),
    };
    let now = state.now();
    let spec = TokenSpec {
        comment: comment.to_owned(),
        enabled: !written.enabled.is_empty(),
        expire_at: life.map(|life| now + life),
        created_by_id: Some(user.id),
        ..TokenSpec::of_user(user.id)
    };
    let made = TokenManager(&state.database).create(spec, &*state.entropy, now).await?;
    tracing::info!(username = user.username, token = made.token.id, "a token was made in a browser");
    let mut response = guest.go(&format!("{}{}/", address(&user), made.token.id), "The token is made.");
    let cookie = cookies::set_below(&address(&user), COOKIE, made.key.reveal(), WAIT, base.is_secure());
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// A token of one's own.
async fn own(state: &AppState, user: &User, id: &str) -> ApiResult<Token> {
    let id = id.parse().map_err(|_| missing())?;
    TokenManager(&state.database).of_user_or_none(user.id, id).await?.ok_or_else(missing)
}

async fn show(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path((name, id)): Path<(String, String)>,
    base: Base,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let token = own(&state, &user, &id).await?;
    let guest = &logged_in.guest;
    let key = cookies::get(&headers, COOKIE);
    let shown = key.as_ref().filter(|key| key.parse::<TokenKey>().is_ok() && hash_of(key).0 == token.hash);
    let key_and_file = match shown {
        None => None,
        Some(key) => Some((key.clone(), configuration(&state, guest, &base, key).await?)),
    };
    let frame = frame(guest, &user, format!("Token {}", token.id));
    let page = TokenPage { frame, row: row(&state, token), address: address(&user), key: key_and_file };
    let mut response = guest.show(&page)?;
    if key.is_some() {
        let cookie = cookies::set_below(&address(&user), COOKIE, "", Duration::ZERO, base.is_secure());
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn edit(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path((name, id)): Path<(String, String)>,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let token = own(&state, &user, &id).await?;
    let enabled = if token.enabled { "on" } else { "" };
    let written = Written { comment: token.comment, enabled: enabled.to_owned(), days: String::new() };
    form_to_change(&logged_in.guest, &user, token.id, &written, None)
}

fn form_to_change(
    guest: &Guest,
    user: &User,
    id: i64,
    written: &Written,
    wrong: Option<String>,
) -> ApiResult<Response> {
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let fields = vec![comment_field(written, wrong), enabled_field(written)];
    let frame = frame(guest, user, format!("Change token {id}"));
    guest.show_as(status, &FormPage { frame, fields, button: "Save", back: address(user) })
}

async fn change(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path((name, id)): Path<(String, String)>,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let token = own(&state, &user, &id).await?;
    let comment = written.comment.trim();
    if let Some(wrong) = wrong_comment(comment) {
        return form_to_change(&logged_in.guest, &user, token.id, &written, Some(wrong));
    }
    let enabled = !written.enabled.is_empty();
    TokenManager(&state.database).update(&token, comment, enabled, state.now()).await?;
    Ok(logged_in.guest.go(&address(&user), &format!("Token {} is saved.", token.id)))
}

async fn ask_to_delete(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path((name, id)): Path<(String, String)>,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let token = own(&state, &user, &id).await?;
    let guest = &logged_in.guest;
    let mut text = vec!["Programs that use this token cannot log in any more. It does not come back.".to_owned()];
    if !token.comment.is_empty() {
        text.push(format!("Its comment: {}", token.comment));
    }
    guest.show(&Confirm {
        frame: frame(guest, &user, format!("Delete token {}?", token.id)),
        text,
        heading: "",
        list: Vec::new(),
        button: "Delete",
        back: address(&user),
    })
}

async fn delete(
    State(state): State<AppState>,
    logged_in: LoggedIn,
    Path((name, id)): Path<(String, String)>,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let token = own(&state, &user, &id).await?;
    TokenManager(&state.database).delete(&token).await?;
    tracing::info!(username = user.username, token = token.id, "a token was deleted in a browser");
    Ok(logged_in.guest.go(&address(&user), &format!("Token {} is deleted.", token.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_whole_days() {
        assert_eq!(life(" "), Ok(None));
        assert_eq!(life(" 30 "), Ok(Some(TimeDelta::days(30))));
        for bad in ["0", "-1", "1.5", "3651", "x", "99999999999999999999"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn comments_are_one_short_line() {
        assert_eq!(wrong_comment(&"ä".repeat(100)), None);
        assert!(wrong_comment(&"a".repeat(101)).is_some_and(|why| why.contains("101")));
        assert!(wrong_comment("a\nb").is_some() && wrong_comment("a\0").is_some());
    }
}
