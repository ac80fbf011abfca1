//! Forged forms: each browser has a secret in a cookie, each form the same secret in a field. Another site can send the one, but
//! does not know the other.

use axum::http::{HeaderMap, HeaderValue};
use cookie::time::Duration;
use usine_model::entropy::Entropy;
use usine_model::token::{TokenKey, hash_of};

use super::cookies;
use crate::problem::{ApiError, ApiResult};

/// How long a form may stay open.
const LIFE: Duration = Duration::days(365);

/// The secret for a form, and the cookie to set with it.
pub(super) fn secret(headers: &HeaderMap, entropy: &dyn Entropy, secure: bool) -> (String, HeaderValue) {
    let known = cookies::get(headers, cookies::CSRF).filter(|secret| secret.parse::<TokenKey>().is_ok());
    let secret = known.unwrap_or_else(|| TokenKey::generate(entropy).reveal().to_owned());
    let cookie = cookies::set(cookies::CSRF, &secret, LIFE, secure);
    (secret, cookie)
}

/// Refuses a form that does not come from one of our pages in this browser.
pub(super) fn check(headers: &HeaderMap, submitted: &str) -> ApiResult<()> {
    let known = cookies::get(headers, cookies::CSRF);
    // Hashes are compared, so that the time tells nothing of the secret.
    if known.is_some_and(|known| hash_of(&known) == hash_of(submitted)) {
        return Ok(());
    }
    let text =
        "CSRF verification failed: the form does not belong to this browser. Go back, reload the page, and try again.";
    Err(ApiError::Text(axum::http::StatusCode::FORBIDDEN, format!("{text}\n")))
}
