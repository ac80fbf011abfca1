//! The REST API 1.0, one file per resource, and what is ours alone below `/api/usine/1.0/`.

pub mod artifact;
pub mod artifact_relation;
pub mod download;
pub mod enrolment;
pub mod metrics;
pub mod own;
pub mod status;
pub mod upload;
pub mod work_request;
pub mod worker;
pub mod workspace;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::problem::ApiError;
use crate::routes::Routes;

/// All routes of the API and of downloads.
pub fn routes() -> Routes {
    Routes::new()
        .merge(status::routes())
        .merge(metrics::routes())
        .merge(worker::routes())
        .merge(work_request::routes())
        .merge(artifact::routes())
        .merge(upload::routes())
        .merge(artifact_relation::routes())
        .merge(workspace::routes())
        .merge(enrolment::routes())
        .merge(download::routes())
        .merge(own::routes())
        .merge(crate::openapi::routes())
}

/// Makes one slash of the two that an `api-url` ending in a slash leads to: `/api//1.0/…` is `/api/1.0/…`.
pub fn normalize<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let path_and_query = request.uri().path_and_query().map_or("/", |both| both.as_str());
    if let Some(rest) = path_and_query.strip_prefix("/api//") {
        let rest = rest.trim_start_matches('/');
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = format!("/api/{rest}").parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// A GET without the final slash is sent to the address with it: older clients leave it out, and print the address of the page for
/// enrolment so.
pub(crate) async fn not_found(request: Request) -> Response {
    let uri = request.uri();
    if request.method() == Method::GET
        && uri.path().rsplit('/').next().is_some_and(|last| !last.is_empty() && !last.contains('.'))
    {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = format!("{}/{query}", uri.path());
        return (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response();
    }
    if uri.path().starts_with("/api/") {
        ApiError::not_found("Object not found").into_response()
    } else {
        (StatusCode::NOT_FOUND, format!("Not found: {}\n", uri.path())).into_response()
    }
}

pub(crate) async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("Method \"{}\" not allowed.", request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Error").detail(detail).into_response()
}
