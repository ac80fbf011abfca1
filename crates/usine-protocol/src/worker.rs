//! Bodies of the worker's own calls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::worker::WorkerType;

/// `POST worker/register/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    /// The key that the worker has chosen, 64 hexadecimal digits.
    pub token: String,
    /// Its host name.
    pub fqdn: String,
    /// Its kind.
    #[serde(default)]
    pub worker_type: WorkerType,
}

/// Longest host name of a worker, in characters.
pub const MAX_FQDN: usize = 400;
