//! Data of files to be signed, and of signatures.

use serde::{Deserialize, Serialize};

/// Data of `debusine:signing-input`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningInput {
    /// SHA-256 fingerprints of the certificates built into the code to be signed.
    pub trusted_certs: Option<Vec<String>>,
    /// The binary package that the files came from.
    pub binary_package_name: Option<String>,
}

/// Data of `debusine:signing-output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningOutput {
    /// What kind of signatures.
    pub purpose: SigningPurpose,
    /// Of the key.
    pub fingerprint: String,
    /// File by file.
    pub results: Vec<SigningResult>,
    /// The binary package that the files came from.
    pub binary_package_name: Option<String>,
}

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SigningPurpose {
    /// Secure Boot.
    Uefi,
    /// Packages and uploads.
    Openpgp,
    /// Indexes of an archive.
    OpenpgpRepository,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SentResult", into = "SentResult")]
pub struct SigningResult {
    /// The file to be signed.
    pub file: String,
    /// Its signature, or why there is none.
    pub outcome: SigningOutcome,
}

/// A signature, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningOutcome {
    /// Name of the file with the signature.
    OutputFile(String),
    /// What went wrong.
    ErrorMessage(String),
}

/// A [`SigningResult`] as it is sent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentResult {
    file: String,
    output_file: Option<String>,
    error_message: Option<String>,
}

impl TryFrom<SentResult> for SigningResult {
    type Error = &'static str;

    fn try_from(sent: SentResult) -> Result<Self, Self::Error> {
        let outcome = match (sent.output_file, sent.error_message) {
            (Some(file), None) => SigningOutcome::OutputFile(file),
            (None, Some(message)) => SigningOutcome::ErrorMessage(message),
            _ => return Err("Exactly one of output_file and error_message must be set"),
        };
        Ok(Self { file: sent.file, outcome })
    }
}

impl From<SigningResult> for SentResult {
    fn from(result: SigningResult) -> Self {
        let (output_file, error_message) = match result.outcome {
            SigningOutcome::OutputFile(file) => (Some(file), None),
            SigningOutcome::ErrorMessage(message) => (None, Some(message)),
        };
        Self { file: result.file, output_file, error_message }
    }
}
