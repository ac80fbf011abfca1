//! What dose-distcheck says about build dependencies that cannot be installed.
//!
//! Keys have hyphens, as in its YAML. Read that with all scalars as strings, so that version `1.10` stays `1.10`.

use serde::{Deserialize, Serialize};

use super::lenient;

/// The report of dose-distcheck(1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dose3Report {
    /// Version of the format of the report.
    pub output_version: String,
    /// The architecture that the packages are installed on.
    pub native_architecture: Option<String>,
    /// Further architectures, as dose3 lists them.
    pub foreign_architecture: Option<String>,
    /// The architecture to build for.
    pub host_architecture: Option<String>,
    /// The packages that were looked at.
    pub report: Vec<Dose3Package>,
    /// Number of packages known.
    #[serde(deserialize_with = "lenient::integer")]
    pub total_packages: u64,
    /// Number of packages that cannot be installed.
    #[serde(deserialize_with = "lenient::integer")]
    pub broken_packages: u64,
    /// Number of packages that others may depend on.
    #[serde(deserialize_with = "lenient::integer")]
    pub background_packages: u64,
    /// Number of packages that were checked.
    #[serde(deserialize_with = "lenient::integer")]
    pub foreground_packages: u64,
}

/// One package that dose3 checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose3Package {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: Option<String>,
    /// Whether it is essential.
    #[serde(default, deserialize_with = "lenient::optional_boolean")]
    pub essential: Option<bool>,
    /// `src` or `bin`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its source package.
    pub source: Option<String>,
    /// What dose3 says about an installable one.
    pub success: Option<String>,
    /// The verdict.
    pub status: Dose3Status,
    /// Why it is broken.
    pub reasons: Vec<Dose3Reason>,
}

/// Whether a package can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dose3Status {
    /// It cannot.
    Broken,
    /// It can.
    Ok,
}

/// Why a package is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dose3Reason {
    /// Something it needs is not there.
    Missing(Dose3Missing),
    /// Two things it needs exclude each other.
    Conflict(Dose3Conflict),
}

/// A dependency that nothing satisfies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose3Missing {
    /// The package with that dependency.
    pub pkg: Dose3MissingPackage,
    /// How the checked package comes to need `pkg`.
    pub depchains: Option<Vec<Dose3Chain>>,
}

/// Two packages that cannot be installed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose3Conflict {
    /// One of them.
    pub pkg1: Dose3ConflictPackage,
    /// The other.
    pub pkg2: Dose3ConflictPackage,
    /// How the checked package comes to need `pkg1`.
    pub depchain1: Option<Vec<Dose3Chain>>,
    /// How the checked package comes to need `pkg2`.
    pub depchain2: Option<Vec<Dose3Chain>>,
}

/// A package with a dependency that nothing satisfies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dose3MissingPackage {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: Option<String>,
    /// That dependency.
    pub unsat_dependency: Option<String>,
}

/// A package that conflicts with another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dose3ConflictPackage {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: Option<String>,
    /// The conflict that it declares.
    pub unsat_conflict: Option<String>,
}

/// A chain of dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose3Chain {
    /// From the checked package on.
    pub depchain: Vec<Dose3Link>,
}

/// One link of a chain of dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dose3Link {
    /// Name of the package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: Option<String>,
    /// The dependency that leads to the next link.
    pub depends: Option<String>,
}
