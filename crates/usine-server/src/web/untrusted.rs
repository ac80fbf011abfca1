//! What browsers send, and logs: for `usine-fuzz` (see [`crate::untrusted`]).

use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::header;
use usine_model::entropy::CountingEntropy;
use usine_model::token::TokenKey;
use usine_model::work_request::TaskType;

pub use super::log::untrusted::live_log;
pub(crate) use super::log::untrusted::query;
use super::submit::form;
use super::{cookies, csrf};

/// The name of a task, then the fields of its form as browsers send them. What was filled in without a fault is there again when the
/// form is shown with it.
pub fn forms(input: &[u8]) {
    let (name, fields) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len()));
    let Some(task) = usine_tasks::find(TaskType::Worker, &String::from_utf8_lossy(name)) else { return };
    let mut filled = form::Filled::new();
    for (key, value) in url::form_urlencoded::parse(fields.trim_ascii()) {
        filled.entry(key.into_owned()).or_default().push(value.into_owned());
    }
    let mut asked = form::fields(&task.schema());
    form::fill(&mut asked, &filled);
    let data = form::data_of(&mut asked);
    if asked.iter().all(|field| field.errors.is_empty()) {
        let mut again = form::fields(&task.schema());
        form::fill_with(&mut again, &data);
        assert_eq!(form::data_of(&mut again), data);
    }
    if let Err(error) = task.check(&data) {
        let errors = error.errors.iter().map(|(path, messages)| (path.clone(), messages.clone().into()));
        form::blame(&mut asked, &errors.collect());
    }
}

/// What an upload from a browser leaves is below its directory.
pub fn multipart(input: &[u8]) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
    let (kept, place) = (tempfile::tempdir().expect("a directory"), "below");
    std::fs::create_dir(kept.path().join(place)).expect("a directory");
    let directory = tempfile::tempdir_in(kept.path().join(place)).expect("a directory");
    let entropy = CountingEntropy::default();
    let secret = TokenKey::generate(&entropy);
    let mut headers = axum::http::HeaderMap::new();
    let cookie = format!("{}={}", cookies::CSRF, secret.reveal());
    headers.insert(header::COOKIE, cookie.parse().expect("a header"));
    let masked = csrf::Secret::of(&headers, &entropy).masked;
    let mut body =
        format!("--X\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\n{masked}\r\n").into_bytes();
    body.extend_from_slice(input);
    let mut request = Request::new(body.into());
    headers.insert(header::CONTENT_TYPE, axum::http::HeaderValue::from_static("multipart/form-data; boundary=X"));
    *request.headers_mut() = headers;
    if let Ok(files) = RUNTIME.block_on(super::artifact::receive_files(request, &directory)) {
        for (name, received) in files {
            assert!(!name.contains('/') && received.path.parent() == Some(directory.path()), "{name:?}");
            assert_eq!(received.path.metadata().expect("a file").len(), received.id.size);
        }
    }
    assert_eq!(std::fs::read_dir(kept.path()).expect("a directory").count(), 1, "something lies outside");
}

/// Nothing that a browser would run, whatever somebody has written.
pub fn markdown(input: &[u8]) {
    let html = super::tenancy::markdown::markdown(&String::from_utf8_lossy(input));
    for tag in html.split('<').skip(1) {
        let tag = tag.trim_start_matches('/');
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        let known = [
            "p",
            "a",
            "em",
            "strong",
            "del",
            "code",
            "pre",
            "blockquote",
            "ul",
            "ol",
            "li",
            "hr",
            "br",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "h3",
            "h4",
            "h5",
            "h6",
        ];
        assert!(known.contains(&name.as_str()), "<{name} in {html:?}");
        let attributes = &tag[..tag.find('>').unwrap_or(tag.len())].to_ascii_lowercase();
        let harmful = ["javascript:", "data:", " onload", " onerror", " style", " id="];
        assert!(name != "a" || harmful.iter().all(|part| !href(attributes).starts_with(part)), "{html:?}");
    }
}

fn href(attributes: &str) -> &str {
    attributes.split_once("href=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap_or_default())
}
