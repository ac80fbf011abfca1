//! The closed lists: categories of artifacts, types of relations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// What kind of thing an artifact is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
    JsonSchema,
)]
pub enum ArtifactCategory {
    /// Test results of autopkgtest.
    #[serde(rename = "debian:autopkgtest")]
    #[strum(serialize = "debian:autopkgtest")]
    Autopkgtest,
    /// One `.deb` or `.udeb`.
    #[serde(rename = "debian:binary-package")]
    #[strum(serialize = "debian:binary-package")]
    BinaryPackage,
    /// Several binary packages (old releases).
    #[serde(rename = "debian:binary-packages")]
    #[strum(serialize = "debian:binary-packages")]
    BinaryPackages,
    /// Findings of blhc.
    #[serde(rename = "debian:blhc")]
    #[strum(serialize = "debian:blhc")]
    Blhc,
    /// Output of debdiff.
    #[serde(rename = "debian:debdiff")]
    #[strum(serialize = "debian:debdiff")]
    Debdiff,
    /// Detached debug symbols by build-id.
    #[serde(rename = "debian:debug-symbols")]
    #[strum(serialize = "debian:debug-symbols")]
    DebugSymbols,
    /// Findings of lintian.
    #[serde(rename = "debian:lintian")]
    #[strum(serialize = "debian:lintian")]
    Lintian,
    /// The log of a build.
    #[serde(rename = "debian:package-build-log")]
    #[strum(serialize = "debian:package-build-log")]
    PackageBuildLog,
    /// Output of piuparts.
    #[serde(rename = "debian:piuparts")]
    #[strum(serialize = "debian:piuparts")]
    Piuparts,
    /// One index of an archive.
    #[serde(rename = "debian:repository-index")]
    #[strum(serialize = "debian:repository-index")]
    RepositoryIndex,
    /// A `.dsc` and what it lists.
    #[serde(rename = "debian:source-package")]
    #[strum(serialize = "debian:source-package")]
    SourcePackage,
    /// A disk image of a system.
    #[serde(rename = "debian:system-image")]
    #[strum(serialize = "debian:system-image")]
    SystemImage,
    /// A tarball of a root file system.
    #[serde(rename = "debian:system-tarball")]
    #[strum(serialize = "debian:system-tarball")]
    SystemTarball,
    /// A `.changes` and what it lists.
    #[serde(rename = "debian:upload")]
    #[strum(serialize = "debian:upload")]
    Upload,
    /// Files to be signed.
    #[serde(rename = "debusine:signing-input")]
    #[strum(serialize = "debusine:signing-input")]
    SigningInput,
    /// Signatures.
    #[serde(rename = "debusine:signing-output")]
    #[strum(serialize = "debusine:signing-output")]
    SigningOutput,
    /// Anything, for tests.
    #[serde(rename = "debusine:test")]
    #[strum(serialize = "debusine:test")]
    Test,
    /// Logs of the task itself.
    #[serde(rename = "debusine:work-request-debug-logs")]
    #[strum(serialize = "debusine:work-request-debug-logs")]
    WorkRequestDebugLogs,
}

/// How one artifact relates to another.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RelationType {
    /// Adds to the target.
    Extends,
    /// Has to do with the target.
    RelatesTo,
    /// Was made with the target.
    BuiltUsing,
}
