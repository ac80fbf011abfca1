//! Doors for `usine-fuzz`: readers of what strangers send, which nobody else outside of this crate has to call. Each takes what somebody
//! might send, and panics if something does not hold that must.

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use strum::IntoEnumIterator;
use usine_model::artifact::ArtifactCategory;
use usine_protocol::artifact::CreateArtifact;
use usine_protocol::work_request::CreateWorkRequest;

use crate::api;
use crate::problem::{json_body as read_json, parse_value};
pub use crate::web::untrusted::{forms, live_log, markdown, multipart};
pub use crate::web::untrusted_results::{
    autopkgtest, blhc, build_log, debdiff, lintian, package_page, piuparts, text_file,
};

/// The body of a request: what is taken has no NUL in it, and a refusal can be told.
pub fn json_body(body: &[u8]) {
    let Ok(value) = read_json(&Bytes::copy_from_slice(body)) else { return };
    assert!(!value.to_string().replace("\\\\", "").contains("\\u0000"), "{value}");
    let _ = parse_value::<CreateArtifact>(value.clone(), "Cannot deserialize artifact");
    let _ = parse_value::<CreateWorkRequest>(value.clone(), "Cannot deserialize work request");
    if let Ok(Some(seconds)) = api::artifact::duration::seconds(&value) {
        assert!((0..=100 * 366 * 86400).contains(&seconds), "{seconds}");
    }
}

/// An address with its query, and headers, one in each line: whatever they are, what is answered can be sent.
pub fn request(lines: &[u8]) {
    let text = String::from_utf8_lossy(lines);
    let mut lines = text.lines();
    let path = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or(("cookie", line));
        if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), HeaderValue::try_from(value.trim())) {
            headers.append(name, value);
        }
    }
    let _ = crate::web::cookies::session(&headers);
    if let Ok(request) = axum::http::Request::get(path).body(()) {
        let request = api::normalize(request);
        assert!(!request.uri().path().starts_with("/api//"), "{}", request.uri());
        crate::web::untrusted::query(request.uri().query().unwrap_or_default());
    }
    if let Some((created_at, id)) = api::work_request::parse_cursor(path) {
        assert_eq!(
            api::work_request::parse_cursor(&format!("{}-{id}", created_at.timestamp_micros())),
            Some((created_at, id))
        );
    }
    let disposition = api::download::content_disposition("attachment", path);
    assert!(HeaderValue::try_from(&disposition).is_ok(), "{disposition:?}");
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    for category in ArtifactCategory::iter() {
        let served = api::download::content_type::served(category, path, declared);
        assert!(HeaderValue::try_from(&served).is_ok(), "{served:?}");
    }
}
