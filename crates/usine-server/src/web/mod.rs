//! Pages for people. Today: log in and out, and let a client in (enrolment).
//!
//! Pages are made on the server and work without JavaScript. Every form carries the secret of its browser ([`csrf`]); nothing
//! changes by a GET.

pub mod cookies;
mod csrf;
mod enrolment;
mod limit;
pub mod log;
mod login;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use usine_db::account::User;

pub use limit::LoginLimit;
pub use log::LogPages;

use crate::auth::{Identity, Visitor};
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

const STYLE: &str = include_str!("../../templates/usine.css");

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .get("/-/static/usine.css", Access::Everybody, style)
        .merge(login::routes())
        .merge(enrolment::routes())
        .merge(log::routes())
}

async fn style() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, STYLE)
}

/// The user who has logged in, or nobody, on a page.
struct PageUser(Option<User>);

impl FromRequestParts<AppState> for PageUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        match Visitor::of(state, parts).await?.identity {
            Identity::Session(user) => Ok(Self(Some(*user))),
            _ => Ok(Self(None)),
        }
    }
}

/// Somebody who is nobody yet is sent to log in, and comes back.
fn to_login(path: &str) -> Response {
    let next = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
    redirect(&format!("/-/login/?next={next}"))
}

fn redirect(path: &str) -> Response {
    // What is no header value cannot come from our own paths.
    let location = HeaderValue::from_str(path).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// A page, which loads nothing from elsewhere, runs no script, and is shown in no frame.
fn page(status: StatusCode, template: &impl Template) -> ApiResult<Response> {
    let html = template.render().map_err(|error| ApiError::Internal(Box::new(error)))?;
    let mut response = (status, Html(html)).into_response();
    let policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
}
