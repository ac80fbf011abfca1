//! The log of a work request for people: lines by number, search, news of its growth, download, and its part of the page.
//!
//! A log of any length is read in parts. [`index`] knows where its lines are, [`read`] reads them, [`source`] says where it is.

mod events;
mod index;
mod pages;
mod panel;
mod read;
mod source;
mod split;
mod text;
pub(super) mod untrusted;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use usine_db::WorkRequest;
use usine_model::work_request::Statuses;
use usine_store::StoreError;

pub use pages::LogPages;
pub use panel::panel;

use crate::auth::Visitor;
use crate::permissions::visible_work_request_anywhere;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;
use source::LogSource;

/// Most lines of one answer.
const MOST_LINES: u64 = 2000;

/// Lines of an answer when the request does not say.
const LINES: u64 = 500;

/// Most matches of one answer.
const MOST_MATCHES: usize = 5000;

/// Longest text to search for, in characters, and most of them at once.
const LONGEST_QUERY: usize = 200;
const MOST_QUERIES: usize = 16;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .get("/{scope}/{workspace}/work-request/{id}/log/lines/", Access::Page, lines)
        .get("/{scope}/{workspace}/work-request/{id}/log/search/", Access::Page, search)
        .get("/{scope}/{workspace}/work-request/{id}/log/events/", Access::Page, events::events)
        .get("/{scope}/{workspace}/work-request/{id}/log/download/", Access::Page, download)
}

/// The parts of the address.
#[derive(Deserialize)]
struct Address {
    scope: String,
    workspace: String,
    id: String,
}

/// The work request, if whoever asks may see it, and it is where the address says.
async fn find(state: &AppState, address: &Address, parts: &Parts) -> ApiResult<WorkRequest> {
    let visitor = Visitor::of(state, parts).await?;
    let found = visible_work_request_anywhere(state, &visitor.context, &address.id).await?;
    let found = found
        .filter(|(_, place)| place.scope.name == address.scope && place.workspace.name == address.workspace)
        .map(|(row, _)| row);
    found.ok_or_else(|| ApiError::Text(StatusCode::NOT_FOUND, format!("Not found: {}\n", parts.uri.path())))
}

/// Whether nothing more will be written.
fn is_over(row: &WorkRequest) -> bool {
    matches!(*row.status, Statuses::Completed | Statuses::Aborted)
}

/// Which lines are wanted.
#[derive(Deserialize)]
struct Range {
    from: Option<u64>,
    count: Option<u64>,
}

/// Lines, and how the log stands.
#[derive(Serialize, Default)]
struct Page {
    /// Lines there are.
    total: u64,
    /// Whether the last one may still get longer.
    open: bool,
    /// Whether the work request is over.
    complete: bool,
    /// Whether the log is so long that its end is only in the download.
    truncated: bool,
    lines: Vec<read::Line>,
}

async fn lines(
    State(state): State<AppState>,
    Path(address): Path<Address>,
    Query(range): Query<Range>,
    parts: Parts,
) -> ApiResult<Response> {
    let row = find(&state, &address, &parts).await?;
    // Before the log is looked at: when it says that it is complete, it is.
    let complete = is_over(&row);
    let _turn = state.log_pages.reader().await?;
    let page = match LogSource::of(&state, &row).await? {
        None => Page { complete, ..Page::default() },
        Some(source) => {
            let count = range.count.unwrap_or(LINES).min(MOST_LINES);
            let from = range.from.unwrap_or(1).max(1);
            let (extent, lines) = read::lines(&state.log_pages, &source, from, count).await?;
            let open = extent.open && !complete;
            Page { total: extent.total, open, complete, truncated: source.is_truncated(), lines }
        }
    };
    Ok(fresh(Json(page)))
}

async fn search(State(state): State<AppState>, Path(address): Path<Address>, parts: Parts) -> ApiResult<Response> {
    let row = find(&state, &address, &parts).await?;
    let query = Search::parse(parts.uri.query().unwrap_or_default())?;
    let _turn = state.log_pages.reader().await?;
    let found = match LogSource::of(&state, &row).await? {
        None => read::Found { matches: Vec::new(), next: None },
        Some(source) => read::search(&state.log_pages, &source, &query.pattern, query.from, query.limit).await?,
    };
    Ok(fresh(Json(found)))
}

/// What is searched for: lines that have one of the texts in them, in upper or lower case.
struct Search {
    pattern: Regex,
    from: u64,
    limit: usize,
}

impl Search {
    fn parse(query: &str) -> ApiResult<Self> {
        let wrong = |text: &str| ApiError::bad_request(text.to_owned());
        let (mut texts, mut from, mut limit) = (Vec::new(), 1, MOST_MATCHES);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "q" if value.is_empty() => {}
                "q" if value.chars().count() > LONGEST_QUERY || texts.len() == MOST_QUERIES => {
                    return Err(wrong("The text to search for is too long"));
                }
                "q" => texts.push(regex::escape(&value)),
                "from" => from = value.parse().map_err(|_| wrong("from is a number of a line"))?,
                "limit" => limit = value.parse().map_err(|_| wrong("limit is a number of lines"))?,
                _ => {}
            }
        }
        if texts.is_empty() {
            return Err(wrong("q says what to search for"));
        }
        let pattern = RegexBuilder::new(&texts.join("|")).case_insensitive(true).build();
        let pattern = pattern.map_err(|error| ApiError::Internal(Box::new(error)))?;
        Ok(Self { pattern, from: from.max(1), limit: limit.clamp(1, MOST_MATCHES) })
    }
}

/// The whole log, as it was written.
async fn download(State(state): State<AppState>, Path(address): Path<Address>, parts: Parts) -> ApiResult<Response> {
    let row = find(&state, &address, &parts).await?;
    let mut response = match LogSource::of(&state, &row).await? {
        Some(LogSource::Stored { store, file }) => {
            let stream = store.open_range(file, 0..file.size).await.map_err(unavailable)?;
            let mut response = Body::from_stream(stream).into_response();
            response.headers_mut().insert(header::CONTENT_LENGTH, file.size.into());
            response
        }
        Some(LogSource::Live { .. }) | None => match state.live_logs.text(row.id).await? {
            Some(stream) => Body::from_stream(stream).into_response(),
            None => return Err(ApiError::Text(StatusCode::NOT_FOUND, "No log is kept\n".to_owned())),
        },
    };
    let name = format!("attachment; filename=\"work-request-{}.log\"", row.id);
    let name = HeaderValue::try_from(name).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_DISPOSITION, name);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn unavailable(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } => {
            tracing::error!(%error, "a complete file is missing from the store");
            ApiError::Text(StatusCode::NOT_FOUND, "This file is not currently available.\n".to_owned())
        }
        other => ApiError::Internal(Box::new(other)),
    }
}

/// An answer that is another one next time, and nobody else's.
fn fresh(answer: impl IntoResponse) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, answer).into_response()
}
