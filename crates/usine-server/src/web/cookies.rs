//! Cookies of browsers (RFC 6265bis): read, and set so that no script and no other site can use them.

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use usine_db::session::SESSION_LIFE;

/// Names of the session's cookie.
const SESSION: &str = "sessionid";

/// Name of the cookie with the browser's secret for forms.
pub(super) const CSRF: &str = "csrftoken";

/// The key of the browser's session, if it sent one.
pub fn session(headers: &HeaderMap) -> Option<String> {
    get(headers, SESSION)
}

/// The value of a cookie, if the browser sent it.
pub(super) fn get(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

/// Begins a session in the browser, or ends it.
pub(super) fn set_session(key: Option<&str>, secure: bool) -> HeaderValue {
    let life = if key.is_some() { Duration::seconds(SESSION_LIFE.num_seconds()) } else { Duration::ZERO };
    set(SESSION, key.unwrap_or_default(), life, secure)
}

/// A cookie for the whole site. Sent over TLS only if it was set over TLS.
pub(super) fn set(name: &str, value: &str, life: Duration, secure: bool) -> HeaderValue {
    let cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(life)
        .build();
    HeaderValue::from_str(&cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A cookie for what is below a path, which no link of another site brings along.
pub(super) fn set_below(path: &str, name: &str, value: &str, life: Duration, secure: bool) -> HeaderValue {
    let cookie = Cookie::build((name, value))
        .path(path)
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .max_age(life)
        .build();
    HeaderValue::from_str(&cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_among_others_and_broken_ones() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; broken; sessionid=k"));
        assert_eq!(session(&headers).as_deref(), Some("k"));
        assert_eq!(get(&headers, "b"), None);
    }

    #[test]
    fn no_script_and_no_other_site_gets_them() {
        let text = set_session(Some("k"), true).to_str().unwrap().to_owned();
        for flag in ["sessionid=k", "HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=1209600"] {
            assert!(text.contains(flag), "{text}");
        }
        assert!(set_session(None, false).to_str().unwrap().contains("Max-Age=0"));
    }
}
