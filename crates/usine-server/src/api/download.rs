//! `/{scope}/{workspace}/artifact/{id}/download/…` and `raw/…`: files, parts of files, and many as one archive.

pub(crate) mod content_type;
mod tarball;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use usine_db::artifact::{File, FileInArtifact};
use usine_db::{Artifact, ArtifactManager};
use usine_protocol::content_range::Slice;
use usine_store::StoreError;

use super::upload::file_id;
use usine_model::permission::{ARTIFACT_CAN_DISPLAY, WORKSPACE_CAN_DISPLAY};

use crate::auth::{Identity, Requester};
use crate::permissions::Place;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Characters that `filename*` need not encode (RFC 8187, attr-char).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .get("/{scope}/{workspace}/artifact/{id}/download/", Access::Download, download)
        .get("/{scope}/{workspace}/artifact/{id}/download/{*path}", Access::Download, download)
        .get("/{scope}/{workspace}/artifact/{id}/raw/{*path}", Access::Page, raw)
}

/// The parts of the address.
#[derive(serde::Deserialize)]
struct Address {
    scope: String,
    workspace: String,
    id: String,
    #[serde(default)]
    path: String,
}

/// What is wanted of files that lie together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Archive {
    /// A tarball if there is more than one.
    Auto,
    /// A tarball.
    TarGz,
}

/// A file, or all files, or those below a directory.
async fn download(
    State(state): State<AppState>,
    Path(address): Path<Address>,
    Query(query): Query<BTreeMap<String, String>>,
    parts: Parts,
) -> ApiResult<Response> {
    let artifact = find(&state, &address, &parts).await?;
    let archive = match query.get("archive").map(String::as_str) {
        None => None,
        Some("auto") => Some(Archive::Auto),
        Some("tar.gz") => Some(Archive::TarGz),
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "Invalid archive parameter: '{other}'. Supported: auto, tar.gz"
            )));
        }
    };
    let directory = address.path.trim_end_matches('/');
    if archive != Some(Archive::TarGz)
        && let Some(file) = ArtifactManager(&state.database).file(artifact.id, &address.path).await?
    {
        return serve(&state, &artifact, file, &parts, "attachment").await;
    }

    let mut files = ArtifactManager(&state.database).files(artifact.id).await?;
    files.retain(|(entry, _)| is_below(&entry.path, directory));
    if files.is_empty() && !directory.is_empty() {
        return Err(missing(&parts));
    }
    let archive = match archive {
        None if !directory.is_empty() => {
            return Err(ApiError::bad_request("archive argument needed when downloading directories"));
        }
        None => Archive::Auto,
        Some(archive) => archive,
    };
    match <[_; 1]>::try_from(files) {
        Ok([file]) if archive == Archive::Auto => serve(&state, &artifact, file, &parts, "attachment").await,
        Ok(files) => serve_tarball(&state, &artifact, directory, files.into(), &parts),
        Err(files) => serve_tarball(&state, &artifact, directory, files, &parts),
    }
}

/// Whether a file is the one of this path, or in or below the directory; the empty path is the artifact itself.
fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A file to be looked at.
async fn raw(State(state): State<AppState>, Path(address): Path<Address>, parts: Parts) -> ApiResult<Response> {
    let artifact = find(&state, &address, &parts).await?;
    let file = ArtifactManager(&state.database).file(artifact.id, &address.path).await?;
    let file = file.ok_or_else(|| missing(&parts))?;
    if !file.0.complete {
        return Err(ApiError::not_found("Cannot download incomplete file"));
    }
    serve(&state, &artifact, file, &parts, "inline").await
}

/// The artifact, if whoever asks may see it. The scope is in the address, not in a header.
async fn find(state: &AppState, address: &Address, parts: &Parts) -> ApiResult<Artifact> {
    let missing = || missing(parts);
    let known = state.memory.now(&state.database).await?;
    let scope = known.scope(&state.database, &address.scope).await?.ok_or_else(missing)?;
    let requester = Requester::of(state, parts, scope, known.clone()).await?;
    let workspace =
        known.workspace(&state.database, &requester.scope, &address.workspace).await?.ok_or_else(missing)?;
    let id = address.id.parse().map_err(|_| missing())?;
    let artifact = ArtifactManager(&state.database).get_or_none(id).await?;
    let artifact = artifact.filter(|artifact| artifact.workspace_id == workspace.id).ok_or_else(missing)?;
    let place = Place { workspace, scope: requester.scope.clone() };
    match &requester.identity {
        _ if requester.may(&ARTIFACT_CAN_DISPLAY, &place.artifact(&artifact)) => Ok(artifact),
        Identity::WorkRequest(own) if requester.may(&WORKSPACE_CAN_DISPLAY, &place.workspace.facts(&place.scope)) => {
            let text = format!("artifact {id} is neither an input of work request {} nor made by it\n", own.id);
            Err(ApiError::Text(StatusCode::FORBIDDEN, text))
        }
        _ => Err(missing()),
    }
}

fn missing(parts: &Parts) -> ApiError {
    ApiError::Text(StatusCode::NOT_FOUND, format!("Not found: {}\n", parts.uri.path()))
}

/// Sends a file or the part of it that is asked for.
async fn serve(
    state: &AppState,
    artifact: &Artifact,
    (entry, content): (FileInArtifact, File),
    parts: &Parts,
    disposition: &str,
) -> ApiResult<Response> {
    if !entry.complete {
        return Err(missing(parts));
    }
    let id = file_id(&content)?;
    let (status, slice) = match parts.headers.get(header::RANGE) {
        None => (StatusCode::OK, Slice { start: 0, length: id.size }),
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            // The original answers 400, not 416.
            let slice = Slice::parse(&text, id.size).map_err(|error| ApiError::bad_request(error.to_string()))?;
            (StatusCode::PARTIAL_CONTENT, slice)
        }
    };
    let body = if id.size == 0 {
        Body::empty()
    } else {
        let opened = state.store.open_range(id, slice.start..slice.start + slice.length).await;
        // HEAD, too, tells whether the file can be had.
        let stream = opened.map_err(unavailable)?;
        if parts.method == Method::HEAD { Body::empty() } else { Body::from_stream(stream) }
    };

    let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
    let content_type = content_type::served(*artifact.category, &entry.path, entry.content_type.as_deref());
    let modified = SystemTime::from(artifact.created_at);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, slice.length.into());
    headers.insert(header::CONTENT_TYPE, text(content_type)?);
    headers.insert(header::CONTENT_DISPOSITION, text(content_disposition(disposition, name))?);
    headers.insert(header::LAST_MODIFIED, text(httpdate::fmt_http_date(modified))?);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Should a browser show it all the same, then as something of nobody, which runs and loads nothing.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if id.size > 0 {
        headers.insert(header::CONTENT_RANGE, text(slice.content_range(id.size))?);
    }
    Ok(response)
}

fn unavailable(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } => {
            tracing::error!(%error, "a complete file is missing from the store");
            ApiError::not_found("This file is not currently available.")
        }
        other => ApiError::Internal(Box::new(other)),
    }
}

/// Sends the complete ones of these files as one archive.
fn serve_tarball(
    state: &AppState,
    artifact: &Artifact,
    directory: &str,
    files: Vec<(FileInArtifact, File)>,
    parts: &Parts,
) -> ApiResult<Response> {
    let mut members = Vec::new();
    for (entry, content) in files.into_iter().filter(|(entry, _)| entry.complete) {
        members.push(tarball::Member { id: file_id(&content)?, path: entry.path });
    }
    let mtime = artifact.created_at.timestamp().max(0).unsigned_abs();
    let head = parts.method == Method::HEAD;
    let body = if head { Body::empty() } else { tarball::body(state.clone(), members, mtime) };

    let mut name = format!("artifact-{}", artifact.id);
    if !directory.is_empty() {
        let _ = write!(name, "-{}", directory.replace('/', "_"));
    }
    name.push_str(".tar.gz");
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, text(content_disposition("attachment", &name))?);
    headers.insert(header::LAST_MODIFIED, text(httpdate::fmt_http_date(SystemTime::from(artifact.created_at)))?);
    Ok(response)
}

/// `attachment; filename="name"`; a name that cannot stand between quotes is written as RFC 6266 says.
pub(crate) fn content_disposition(disposition: &str, name: &str) -> String {
    if name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{disposition}; filename=\"{quoted}\"")
    } else {
        format!("{disposition}; filename*=utf-8''{}", utf8_percent_encode(name, ATTRIBUTE))
    }
}

fn text(value: String) -> ApiResult<HeaderValue> {
    HeaderValue::try_from(value).map_err(|error| ApiError::Internal(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_makes_a_header() {
        assert_eq!(content_disposition("inline", "a b.deb"), "inline; filename=\"a b.deb\"");
        assert_eq!(content_disposition("attachment", "a\"\\"), "attachment; filename=\"a\\\"\\\\\"");
        assert_eq!(content_disposition("attachment", "ü\r.txt"), "attachment; filename*=utf-8''%C3%BC%0D.txt");
    }

    #[test]
    fn directories_are_whole_components() {
        assert!(is_below("a/b/c", "a") && is_below("a/b/c", "a/b") && is_below("a", "") && is_below("a/b", "a/b"));
        assert!(!is_below("ab/c", "a") && !is_below("a", "a/b"));
    }
}
