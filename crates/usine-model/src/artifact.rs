//! Artifacts: their categories, what data and files each must have, how they relate, and which file names are safe.

mod category;
mod data;
mod files;
mod path;

pub use category::{ArtifactCategory, RelationType};
pub use data::{
    Autopkgtest, AutopkgtestResult, AutopkgtestSource, AutopkgtestStatus, BinaryPackage, BinaryPackages, Blhc,
    BootMechanism, BuildId, Debdiff, DebugSymbols, Dose3Chain, Dose3Conflict, Dose3ConflictPackage, Dose3Link,
    Dose3Missing, Dose3MissingPackage, Dose3Package, Dose3Reason, Dose3Report, Dose3Status, ImageFormat,
    InvalidBuildId, InvalidData, InvalidUpload, Lintian, LintianSeverity, LintianSummary, PackageBuildLog,
    PackageFormat, Piuparts, RepositoryIndex, SigningInput, SigningOutcome, SigningOutput, SigningPurpose,
    SigningResult, SourcePackage, SystemImage, SystemTarball, Upload, WorkRequestDebugLogs, label,
    source_name_and_version, validate_data,
};
pub use files::{ControlFile, InvalidFiles, imposed_content_type, validate_files};
pub use path::{ArtifactPath, InvalidPath};
