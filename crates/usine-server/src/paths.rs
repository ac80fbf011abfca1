//! Addresses in answers: root-relative paths, and absolute ones from the request's own scheme and host.

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What cannot stand in the path of an address (RFC 3986, section 3.3). All else stays as it is, as in the original's
/// addresses.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The path of a file, as an address has it: the client of 0.11 refuses an answer whose addresses are none.
pub fn in_address(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_PATHS).to_string()
}

/// `/SCOPE/WORKSPACE/work-request/ID/`.
pub fn work_request(scope: &str, workspace: &str, id: i64) -> String {
    format!("/{scope}/{workspace}/work-request/{id}/")
}

/// `/SCOPE/WORKSPACE/artifact/ID/`.
pub fn artifact(scope: &str, workspace: &str, id: i64) -> String {
    format!("/{scope}/{workspace}/artifact/{id}/")
}

/// `/SCOPE/WORKSPACE/package/NAME/`.
pub fn package(scope: &str, workspace: &str, name: &str) -> String {
    format!("/{scope}/{workspace}/package/{}/", in_address(name).replace('/', "%2F"))
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

impl Base {
    /// Of this request.
    pub fn of(parts: &Parts) -> Self {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = text("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
        let uri_host = parts.uri.authority().map(|authority| authority.as_str());
        let host = text(HOST.as_str()).or(uri_host).unwrap_or("localhost");
        Self(format!("{scheme}://{host}"))
    }
}

impl<S: Sync> FromRequestParts<S> for Base {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_stand_in_an_address_is_encoded() {
        assert_eq!(in_address("dir/hello_1:2.0~rc1+b1_amd64.deb"), "dir/hello_1:2.0~rc1+b1_amd64.deb");
        assert_eq!(in_address("a b/100%?#ä"), "a%20b/100%25%3F%23%C3%A4");
    }
}
