//! Addresses in answers: root-relative paths, and absolute ones from the request's own scheme and host.

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;

/// `/SCOPE/WORKSPACE/work-request/ID/`.
pub fn work_request(scope: &str, workspace: &str, id: i64) -> String {
    format!("/{scope}/{workspace}/work-request/{id}/")
}

/// `/SCOPE/WORKSPACE/artifact/ID/`.
pub fn artifact(scope: &str, workspace: &str, id: i64) -> String {
    format!("/{scope}/{workspace}/artifact/{id}/")
}

/// Scheme and host under which the client reached us, such as `https://host`. The scheme is that of the proxy in front.
#[derive(Debug, Clone)]
pub struct Base(pub String);

impl Base {
    /// Whether the client reached us over TLS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = text("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
        let uri_host = parts.uri.authority().map(|authority| authority.as_str());
        let host = text(HOST.as_str()).or(uri_host).unwrap_or("localhost");
        Ok(Self(format!("{scheme}://{host}")))
    }
}
