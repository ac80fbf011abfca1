//! What pages load: one sheet and some scripts, in the program itself. Their addresses change with their content, so that
//! browsers keep them for ever; they are sent compressed.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::routes::{Access, Routes};

/// One file.
pub(super) struct Asset {
    /// Where it is.
    pub address: String,
    file: String,
    content_type: &'static str,
    text: Bytes,
    compressed: Bytes,
}

/// The sheet of all pages.
pub(super) static CSS: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(
        include_str!("../../assets/usine.css"),
        include_str!("../../assets/log.css"),
        include_str!("../../assets/results.css"),
    );
    Asset::new("usine", "css", "text/css; charset=utf-8", text)
});

/// Makes one tree of elements from another, and keeps what is the same: focus, selection, place
/// (<https://github.com/bigskysoftware/idiomorph> 0.8.0, 0BSD).
pub(super) static IDIOMORPH: LazyLock<Asset> =
    LazyLock::new(|| script("idiomorph", include_str!("../../assets/idiomorph.js")));

/// Live pages, keys, copying.
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| script("usine", include_str!("../../assets/usine.js")));

/// The log of a work request.
pub(super) static LOG: LazyLock<Asset> = LazyLock::new(|| script("log", include_str!("../../assets/log.js")));

fn script(name: &str, text: &'static str) -> Asset {
    Asset::new(name, "js", "text/javascript; charset=utf-8", text)
}

impl Asset {
    /// Whether it is a sheet; else it is a script.
    pub fn is_sheet(&self) -> bool {
        self.file.ends_with(".css")
    }

    fn new(name: &str, suffix: &str, content_type: &'static str, text: &'static str) -> Self {
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        let file = format!("{name}-{}.{suffix}", &digest[..12]);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail; without, the text goes as it is.
        let compressed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        let address = format!("/-/static/{file}");
        Self { address, file, content_type, text: Bytes::from_static(text.as_bytes()), compressed: compressed.into() }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/static/{file}", Access::Everybody, asset).get("/favicon.ico", Access::Everybody, icon)
}

async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let all: [&Asset; 4] = [&CSS, &IDIOMORPH, &SCRIPT, &LOG];
    let Some(asset) = all.into_iter().find(|asset| asset.file == file) else {
        return (StatusCode::NOT_FOUND, "Not found: it belongs to another version. Reload the page.\n").into_response();
    };
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let compress = !asset.compressed.is_empty() && accepts.split(',').any(|coding| coding.trim().starts_with("gzip"));
    let body = if compress { asset.compressed.clone() } else { asset.text.clone() };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if compress {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

async fn icon() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, include_str!("../../assets/usine.svg"))
}
