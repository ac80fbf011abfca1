//! Pages for people: what runs, what failed and why, what waits and why; and what one does about it.
//!
//! Pages are made on the server and can be read without JavaScript. Each is one file here and one template; [`frame`] is what all
//! of them share. Every form carries the secret of its browser ([`csrf`]); nothing changes by a GET. A page that shows what
//! changes is told of changes ([`live`]), fetches itself again and shows the difference.

mod account;
mod artifact;
mod assets;
pub mod cookies;
mod csrf;
mod enrolment;
pub(crate) mod errors;
mod frame;
mod home;
mod limit;
pub(crate) mod live;
pub mod log;
mod login;
mod package;
mod place;
mod queue;
mod results;
mod scope;
mod search;
mod show;
mod submit;
mod tenancy;
pub(crate) mod untrusted;
mod work_request;
mod worker;
mod workspace;

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use usine_db::meter::metered;

pub use limit::LoginLimit;
pub use live::Live;
pub use log::LogPages;
pub(crate) use results::untrusted as untrusted_results;

use crate::routes::Routes;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .merge(assets::routes())
        .merge(live::routes())
        .merge(login::routes())
        .merge(enrolment::routes())
        .merge(account::routes())
        .merge(tenancy::routes())
        .merge(home::routes())
        .merge(scope::routes())
        .merge(workspace::routes())
        .merge(work_request::routes())
        .merge(artifact::routes())
        .merge(package::routes())
        .merge(queue::routes())
        .merge(worker::routes())
        .merge(search::routes())
        .merge(submit::routes())
        .merge(log::routes())
}

/// Tells how long an answer took, and how many queries it made: `Server-Timing`, which browsers show to developers.
pub(crate) async fn timed(request: Request, next: Next) -> Response {
    let (mut response, usage) = metered(next.run(request)).await;
    let milliseconds = usage.time.as_secs_f64() * 1e3;
    let timing = format!("db;dur={milliseconds:.1};desc=\"{} queries\"", usage.queries);
    if let Ok(timing) = HeaderValue::try_from(timing) {
        response.headers_mut().insert("server-timing", timing);
    }
    response
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    frame: frame::Frame,
    text: &'a str,
}

/// Pages are compressed, and nothing else: files are so already, and streams must not wait.
pub(crate) fn is_page(
    _: StatusCode,
    _: axum::http::Version,
    headers: &axum::http::HeaderMap,
    _: &axum::http::Extensions,
) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html"))
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

/// Whether a path is one of ours: `//host` and `/\host` are others' to browsers.
fn is_own(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\n', '\r', '\t'])
}
