//! Data of what QA tools found.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;
use url::Url;

use super::lenient;

/// Data of `debian:lintian`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lintian {
    /// `source`, `all` or an architecture.
    pub architecture: Option<String>,
    /// What was found, in short.
    pub summary: LintianSummary,
}

/// The findings of lintian, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LintianSummary {
    /// Number of tags of each severity, 0 if there are none.
    #[serde(deserialize_with = "counts_of_all")]
    pub tags_count_by_severity: BTreeMap<LintianSeverity, u64>,
    /// Packages with tags, and their files.
    pub package_filename: BTreeMap<String, String>,
    /// Tags that were not overridden, sorted, each once.
    pub tags_found: Vec<String>,
    /// Tags that were overridden, sorted, each once.
    pub overridden_tags_found: Vec<String>,
    /// Version of lintian.
    pub lintian_version: String,
    /// What the package is meant for, such as `debian:unstable`.
    pub distribution: String,
}

fn counts_of_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<LintianSeverity, u64>, D::Error> {
    let counts = lenient::counts(deserializer)?;
    match LintianSeverity::iter().find(|severity| !counts.contains_key(severity)) {
        Some(severity) => Err(D::Error::custom(format!("missing severity `{severity}`"))),
        None => Ok(counts),
    }
}

/// How bad a tag of lintian is, the worst first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display, strum::EnumIter,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LintianSeverity {
    /// `E`.
    Error,
    /// `W`.
    Warning,
    /// `I`.
    Info,
    /// `P`.
    Pedantic,
    /// `X`.
    Experimental,
    /// `O`.
    Overridden,
    /// `C`.
    Classification,
}

/// Data of `debian:autopkgtest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autopkgtest {
    /// By name of test.
    pub results: BTreeMap<String, AutopkgtestResult>,
    /// The command line, quoted for a shell.
    pub cmdline: String,
    /// What was tested.
    pub source_package: AutopkgtestSource,
    /// On which architecture.
    pub architecture: String,
    /// In which distribution: `VENDOR:CODENAME`.
    pub distribution: String,
}

/// The source package that autopkgtest tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutopkgtestSource {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its `.dsc` is on the server.
    pub url: Url,
}

/// The result of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutopkgtestResult {
    /// In short.
    pub status: AutopkgtestStatus,
    /// What autopkgtest says besides.
    pub details: Option<String>,
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AutopkgtestStatus {
    /// Well.
    Pass,
    /// Badly.
    Fail,
    /// Badly, but the test is known to be flaky.
    Flaky,
    /// It was not run.
    Skip,
}

/// Data of `debian:piuparts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piuparts {
    /// Version of piuparts.
    pub piuparts_version: String,
    /// The packages tried and their versions.
    pub binary_packages: BTreeMap<String, String>,
    /// On which architecture.
    pub architecture: String,
    /// In which distribution: `VENDOR:CODENAME`.
    pub distribution: String,
}

/// Data of `debian:blhc`, copied from the build log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blhc {
    /// Name of the source package.
    pub source: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What was built for.
    pub architecture: Option<String>,
}

/// Data of `debian:debdiff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debdiff {
    /// Names of the old files, joined by blanks.
    pub original: String,
    /// Names of the new files, joined by blanks.
    pub new: String,
    /// What was compared, for people.
    pub label: Option<String>,
}

/// Data of `debusine:work-request-debug-logs`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkRequestDebugLogs {}
