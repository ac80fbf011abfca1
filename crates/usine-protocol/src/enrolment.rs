//! Enrolment: `POST /api/enroll/`, with which `debusine setup` gets a token without copy and paste.
//!
//! The answer begins at once; blank lines keep the connection alive until the user has decided on the page
//! `/-/enroll/confirm/{nonce}/`, then comes one [`Decision`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Path of the call. It has no version in it.
pub const ENROL: &str = "/api/enroll/";

/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 4096;

/// What the client sends. No other keys are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Names the request: 8 to 64 letters, digits, `_` and `-`.
    pub nonce: String,
    /// Words for the user to compare: 3 to 8 of 4 to 10 characters.
    pub challenge: String,
    /// Name of the scope; informative.
    pub scope: String,
    /// Where the client runs; informative.
    pub hostname: String,
}

/// What the user has decided. No other keys are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Which button it was.
    pub outcome: Outcome,
    /// Key of the new token, if it was [`Outcome::Confirm`].
    pub token: Option<String>,
}

/// The two buttons of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The client gets a token.
    Confirm,
    /// It gets none.
    Cancel,
}
