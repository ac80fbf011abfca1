//! Data of packages, of what their builds leave behind, and of the indexes that list them.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Dose3Report;

/// The format of a source package or upload. There is only one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageFormat {
    /// As dpkg makes them.
    #[default]
    Dpkg,
}

/// Data of `debian:source-package`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePackage {
    /// Name of the source package.
    pub name: String,
    /// Version, with epoch.
    pub version: String,
    /// Always `dpkg`.
    #[serde(rename = "type")]
    pub format: PackageFormat,
    /// The parsed `.dsc`.
    pub dsc_fields: Map<String, Value>,
}

/// Data of `debian:binary-package`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryPackage {
    /// Name of the source package: of `Source`, else `Package`.
    pub srcpkg_name: String,
    /// Version of the source package: in the parentheses of `Source`, else `Version`.
    pub srcpkg_version: String,
    /// The parsed control file.
    pub deb_fields: Map<String, Value>,
    /// Names of the members of the control archive, sorted, without `./`.
    pub deb_control_files: Vec<String>,
}

/// Data of `debian:binary-packages`, which only old releases made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryPackages {
    /// Name of the source package.
    pub srcpkg_name: String,
    /// Version of the source package.
    pub srcpkg_version: String,
    /// Version of the binary packages.
    pub version: String,
    /// Their architecture.
    pub architecture: String,
    /// Their names.
    pub packages: Vec<String>,
}

/// Data of `debian:package-build-log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageBuildLog {
    /// Name of the source package.
    pub source: String,
    /// Version of the source package, also for a binNMU.
    pub version: String,
    /// `all`, `source` or an architecture.
    pub architecture: Option<String>,
    /// Name of the log file.
    pub filename: String,
    /// Why the build dependencies could not be installed.
    pub bd_uninstallable: Option<Dose3Report>,
}

/// Data of `debian:debug-symbols`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebugSymbols {
    /// The build-ids, each once.
    #[serde(deserialize_with = "distinct")]
    pub build_ids: Vec<BuildId>,
}

fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BuildId>, D::Error> {
    let build_ids = Vec::<BuildId>::deserialize(deserializer)?;
    let mut seen = HashSet::new();
    match build_ids.iter().find(|build_id| !seen.insert(*build_id)) {
        Some(build_id) => Err(D::Error::custom(format!("duplicate build_id '{build_id}' in build_ids"))),
        None => Ok(build_ids),
    }
}

/// The SHA-1 build-id of an ELF object (`ld --build-id`): 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId(String);

/// A string that is no build-id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a build-id: expected 40 lower-case hexadecimal digits")]
pub struct InvalidBuildId(String);

impl BuildId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BuildId {
    type Err = InvalidBuildId;

    fn from_str(text: &str) -> Result<Self, InvalidBuildId> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for BuildId {
    type Error = InvalidBuildId;

    fn try_from(text: String) -> Result<Self, InvalidBuildId> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && text.len() == 40 { Ok(Self(text)) } else { Err(InvalidBuildId(text)) }
    }
}

impl From<BuildId> for String {
    fn from(build_id: BuildId) -> Self {
        build_id.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Data of `debian:repository-index`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryIndex {
    /// Where it is below the suite or the archive, such as `main/binary-amd64/Packages.xz`.
    pub path: Option<String>,
}
