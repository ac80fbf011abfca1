//! Keys of tokens: 64 hexadecimal digits, shown once and stored only as their SHA-256.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::entropy::Entropy;

/// The secret text of a token: 64 lower-case hexadecimal digits (32 random bytes).
///
/// `Debug` does not show it and there is no `Display`, so that it cannot slip into a log; [`TokenKey::reveal`] is the
/// one way out.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(String);

impl TokenKey {
    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(hex::encode(entropy.bytes32()))
    }

    /// The key itself, for the one place that hands it to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored: the SHA-256 of the key's text.
    pub fn hash(&self) -> TokenHash {
        hash_of(&self.0)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey(hash {})", self.hash())
    }
}

/// The text is not a token key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token key has exactly 64 lower-case hexadecimal digits; this text has {length} characters")]
pub struct InvalidTokenKey {
    length: usize,
}

impl FromStr for TokenKey {
    type Err = InvalidTokenKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTokenKey { length: text.chars().count() })
        }
    }
}

/// The SHA-256 of a token key, in hexadecimal: identifies the token, reveals nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenHash(pub String);

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash under which any presented text would be stored, well-formed or not.
pub fn hash_of(presented: &str) -> TokenHash {
    TokenHash(hex::encode(Sha256::digest(presented.as_bytes())))
}

/// What a token is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, IntoStaticStr, EnumIter,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum TokenType {
    /// Lets one worker register, once, within 15 minutes.
    WorkerActivation,
    /// The identity of a worker.
    Worker,
    /// What a worker may do for the one work request it runs.
    WorkRequest,
    /// The identity of a user's program.
    User,
    /// Somebody without an account: only explicit grants.
    ExternalUser,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::CountingEntropy;

    #[test]
    fn keys_are_64_hex_digits_and_differ() {
        let entropy = CountingEntropy::default();
        let (a, b) = (TokenKey::generate(&entropy), TokenKey::generate(&entropy));
        assert_ne!(a, b);
        assert_eq!(a.reveal().parse::<TokenKey>(), Ok(a.clone()));
        for bad in ["", "a", &"A".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            assert!(bad.parse::<TokenKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_text() {
        let key: TokenKey = "0".repeat(64).parse().unwrap();
        // sha256sum of sixty-four '0' characters
        assert_eq!(key.hash().0, "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55");
        assert!(!format!("{key:?}").contains(key.reveal()));
    }
}
