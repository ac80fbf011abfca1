//! The data of artifacts: one struct per category, the check of data that somebody sent, and what is derived from it.
//!
//! Workers build the structs and send them; the server checks what arrives with the same structs but stores it as sent.

mod dose3;
mod label;
mod lenient;
mod packages;
mod reports;
mod signing;
mod system;
mod upload;

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use dose3::{
    Dose3Chain, Dose3Conflict, Dose3ConflictPackage, Dose3Link, Dose3Missing, Dose3MissingPackage, Dose3Package,
    Dose3Reason, Dose3Report, Dose3Status,
};
pub use label::{label, source_name_and_version};
pub use packages::{
    BinaryPackage, BinaryPackages, BuildId, DebugSymbols, InvalidBuildId, PackageBuildLog, PackageFormat,
    RepositoryIndex, SourcePackage,
};
pub use reports::{
    Autopkgtest, AutopkgtestResult, AutopkgtestSource, AutopkgtestStatus, Blhc, Debdiff, Lintian, LintianSeverity,
    LintianSummary, Piuparts, WorkRequestDebugLogs,
};
pub use signing::{SigningInput, SigningOutcome, SigningOutput, SigningPurpose, SigningResult};
pub use system::{BootMechanism, ImageFormat, SystemImage, SystemTarball};
pub use upload::{InvalidUpload, Upload};
pub(super) use upload::{listed_in_changes, listed_in_dsc};

use super::ArtifactCategory;

/// Why data does not fit its category. Reads well after `invalid artifact data: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidData {
    /// Not a JSON object.
    #[error("data must be a dictionary")]
    NotADictionary,
    /// The data as a whole is wrong: a key is missing, which the message names.
    #[error("{0}")]
    Top(String),
    /// The value at a path, such as `results[0].file`, is wrong.
    #[error("{path}: {message}")]
    Field {
        /// Where, from the top of the data.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// The `.changes` of an upload contradicts itself.
    #[error(transparent)]
    Upload(#[from] InvalidUpload),
}

/// Checks that `data` is what `category` asks for: required keys there, unknown keys absent, types right.
///
/// `null` counts as missing for optional keys, and integers may come as numeric strings. For the files see
/// [`validate_files`](super::validate_files).
pub fn validate_data(category: ArtifactCategory, data: &Value) -> Result<(), InvalidData> {
    if !data.is_object() {
        return Err(InvalidData::NotADictionary);
    }
    match category {
        ArtifactCategory::Autopkgtest => check::<Autopkgtest>(data),
        ArtifactCategory::BinaryPackage => check::<BinaryPackage>(data),
        ArtifactCategory::BinaryPackages => check::<BinaryPackages>(data),
        ArtifactCategory::Blhc => check::<Blhc>(data),
        ArtifactCategory::Debdiff => check::<Debdiff>(data),
        ArtifactCategory::DebugSymbols => check::<DebugSymbols>(data),
        ArtifactCategory::Lintian => check::<Lintian>(data),
        ArtifactCategory::PackageBuildLog => check::<PackageBuildLog>(data),
        ArtifactCategory::Piuparts => check::<Piuparts>(data),
        ArtifactCategory::RepositoryIndex => check::<RepositoryIndex>(data),
        ArtifactCategory::SourcePackage => check::<SourcePackage>(data),
        ArtifactCategory::SystemImage => check::<SystemImage>(data),
        ArtifactCategory::SystemTarball => check::<SystemTarball>(data),
        ArtifactCategory::Upload => Ok(read::<Upload>(data)?.check()?),
        ArtifactCategory::SigningInput => check::<SigningInput>(data),
        ArtifactCategory::SigningOutput => check::<SigningOutput>(data),
        ArtifactCategory::WorkRequestDebugLogs => check::<WorkRequestDebugLogs>(data),
        // Test suites put in what they like.
        ArtifactCategory::Test => Ok(()),
    }
}

fn check<T: DeserializeOwned + Serialize>(data: &Value) -> Result<(), InvalidData> {
    read::<T>(data).map(drop)
}

/// Reads `data` as a `T`, saying where it does not fit.
fn read<T: DeserializeOwned + Serialize>(data: &Value) -> Result<T, InvalidData> {
    let typed: T = serde_path_to_error::deserialize(data).map_err(|error| {
        let message = error.inner().to_string();
        match error.path().to_string().as_str() {
            "." => InvalidData::Top(message),
            path => InvalidData::Field { path: path.to_owned(), message },
        }
    })?;
    let as_read = serde_json::to_value(&typed).map_err(|error| InvalidData::Top(error.to_string()))?;
    match list_for_object(data, &as_read, String::new()) {
        Some(path) => Err(InvalidData::Field { path, message: "expected an object, not a list".to_owned() }),
        None => Ok(typed),
    }
}

/// Where a list was sent in place of an object: serde would take its elements for the fields of a struct, in order.
fn list_for_object(sent: &Value, as_read: &Value, path: String) -> Option<String> {
    match (sent, as_read) {
        (Value::Array(_), Value::Object(_)) => Some(path),
        (Value::Array(sent), Value::Array(as_read)) => {
            let mut pairs = sent.iter().zip(as_read).enumerate();
            pairs.find_map(|(index, (sent, as_read))| list_for_object(sent, as_read, format!("{path}[{index}]")))
        }
        (Value::Object(sent), Value::Object(as_read)) => sent.iter().find_map(|(key, value)| {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            list_for_object(value, as_read.get(key)?, inner)
        }),
        _ => None,
    }
}
