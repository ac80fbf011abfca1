//! Errors as pages, for browsers: the same words that programs get, and a way on.

use askama::Template;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use usine_protocol::problem::Problem;

use super::frame::{Frame, Guest};
use crate::auth::{Identity, Visitor};
use crate::routes::Access;
use crate::state::AppState;

/// Longest text of an error that is shown, in bytes.
const MAX_TEXT: usize = 64 << 10;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    text: String,
    may_log_in: bool,
}

/// Makes a page of an answer that is an error and no page yet, if whoever asked reads pages.
pub(crate) async fn as_pages(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !accept.contains("text/html") || path.starts_with("/api/") {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let mut asked = parts.clone();
    parts = asked.clone();
    let response = next.run(Request::from_parts(parts, body)).await;
    let status = response.status();
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html"));
    if is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = to_bytes(body, MAX_TEXT).await.unwrap_or_default();
    let text = in_words(&String::from_utf8_lossy(&text));
    // The frame is that of whoever asked, as far as they can be told now.
    asked.extensions.insert(Access::Page);
    let guest = match Visitor::of(&state, &asked).await {
        Ok(Visitor { identity: Identity::Session(_), .. }) => Guest::of(&state, &asked).await.ok(),
        _ => None,
    };
    let guest = guest.unwrap_or_else(|| Guest::stranger(&state, &asked));
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        status if status.is_server_error() => "The server failed",
        _ => "That did not work",
    };
    let may_log_in = guest.user.is_none() && matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN);
    let mut frame = guest.frame(title);
    if asked.method != axum::http::Method::GET {
        // There is nothing to come back to.
        "/".clone_into(&mut frame.path);
    }
    match guest.show_as(status, &ErrorPage { frame, text, may_log_in }) {
        Ok(mut page) => {
            for (name, value) in head.headers.iter().filter(|(name, _)| {
                *name == header::RETRY_AFTER || *name == header::SET_COOKIE || *name == header::ALLOW
            }) {
                page.headers_mut().append(name, value.clone());
            }
            page
        }
        Err(error) => error.into_response(),
    }
}

/// The text of an error, or the parts of a problem.
fn in_words(body: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Problem>(body) else { return body.trim().to_owned() };
    let title = if problem.title == "Error" { String::new() } else { problem.title.clone() };
    let shown = Problem { title, validation_errors: problem.validation_errors, detail: problem.detail };
    shown.to_string().trim_start_matches(": ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_in_their_words() {
        assert_eq!(in_words("Not found: /x\n"), "Not found: /x");
        assert_eq!(in_words(r#"{"title":"Error","detail":"No such thing."}"#), "No such thing.");
        assert_eq!(
            in_words(r#"{"title":"Cannot abort work request","detail":"why"}"#),
            "Cannot abort work request: why"
        );
    }
}
