//! Forged forms: each browser has a secret in a cookie, each form the same secret in a field. Another site can send the one, but
//! does not know the other.
//!
//! In a form the secret is masked with random bytes, so that no two pages show the same: compressed answers whose size depends on
//! what an attacker puts beside the secret (BREACH) tell nothing of it.

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use cookie::time::Duration;
use usine_model::entropy::Entropy;
use usine_model::token::{TokenKey, hash_of};

use super::cookies;
use crate::problem::{ApiError, ApiResult};

/// How long a form may stay open.
const LIFE: Duration = Duration::days(365);

/// The secret of a browser.
pub(super) struct Secret {
    /// What a form has.
    pub masked: String,
    /// The secret itself, if the browser does not have it yet.
    pub new: Option<String>,
}

impl Secret {
    /// The secret of the browser that sends this, or a new one.
    pub fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> Self {
        let known = cookies::get(headers, cookies::CSRF).filter(|secret| secret.parse::<TokenKey>().is_ok());
        let (secret, new) = match known {
            Some(secret) => (secret, None),
            None => {
                let secret = TokenKey::generate(entropy).reveal().to_owned();
                (secret.clone(), Some(secret))
            }
        };
        let mask = TokenKey::generate(entropy);
        Self { masked: format!("{}{}", mask.reveal(), exclusive_or(mask.reveal(), &secret)), new }
    }
}

/// The cookie that carries it.
pub(super) fn cookie(secret: &str, secure: bool) -> HeaderValue {
    cookies::set(cookies::CSRF, secret, LIFE, secure)
}

/// Refuses a form that does not come from one of our pages in this browser.
pub(super) fn check(headers: &HeaderMap, submitted: &str) -> ApiResult<()> {
    let known = cookies::get(headers, cookies::CSRF);
    // Hashes are compared, so that the time tells nothing of the secret.
    if known.zip(unmask(submitted)).is_some_and(|(known, submitted)| hash_of(&known) == hash_of(&submitted)) {
        return Ok(());
    }
    let text =
        "CSRF verification failed: the form does not belong to this browser. Go back, reload the page, and try again.";
    Err(ApiError::Text(StatusCode::FORBIDDEN, format!("{text}\n")))
}

/// The secret in a form's field: mask, then masked secret, both of one length.
fn unmask(field: &str) -> Option<String> {
    let (mask, masked) = field.split_at_checked(field.len() / 2)?;
    let bytes = (hex::decode(mask).ok()?, hex::decode(masked).ok()?);
    (bytes.0.len() == bytes.1.len() && !bytes.0.is_empty()).then(|| exclusive_or(mask, masked))
}

/// Of two texts of hexadecimal digits.
fn exclusive_or(one: &str, other: &str) -> String {
    let bytes = |text: &str| hex::decode(text).unwrap_or_default();
    hex::encode(std::iter::zip(bytes(one), bytes(other)).map(|(one, other)| one ^ other).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use usine_model::entropy::CountingEntropy;

    use super::*;

    #[test]
    fn each_form_shows_the_secret_otherwise_and_all_are_right() {
        let entropy = CountingEntropy::default();
        let first = Secret::of(&HeaderMap::new(), &entropy);
        let secret = first.new.unwrap();
        let mut headers = HeaderMap::new();
        headers.append("cookie", format!("csrftoken={secret}").parse().unwrap());
        let second = Secret::of(&headers, &entropy);
        assert_eq!(second.new, None);
        assert_ne!(first.masked, second.masked);
        check(&headers, &first.masked).unwrap();
        check(&headers, &second.masked).unwrap();
        for wrong in ["", "x", &secret, &first.masked[1..], &"0".repeat(first.masked.len()), "ä"] {
            check(&headers, wrong).unwrap_err();
        }
        check(&HeaderMap::new(), &first.masked).unwrap_err();
    }
}
