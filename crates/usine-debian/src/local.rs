//! A `.dsc`, `.changes` or `.deb` on disk as the artifacts that it stands for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use usine_model::artifact::{ArtifactCategory, BinaryPackage, PackageFormat, SourcePackage, Upload};

use crate::{Algorithm, Changes, Deb, Dsc, InvalidArtifact, check_artifact};

/// An artifact whose files are still on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalArtifact {
    /// Its category.
    pub category: ArtifactCategory,
    /// Its data.
    pub data: Value,
    /// Its files by path in the artifact.
    pub files: BTreeMap<String, PathBuf>,
}

/// Why a file on disk is no artifact.
#[derive(Debug, thiserror::Error)]
pub enum NoArtifact {
    /// Another kind of file.
    #[error("Only source packages (.dsc), binary packages (.deb), and source/binary uploads (.changes) can be directly imported with this command. {} is none of them", .0.display())]
    UnknownKind(PathBuf),
    /// A Debian file that cannot be read.
    #[error(transparent)]
    Debian(#[from] crate::Error),
    /// Listed files are missing or other than listed.
    #[error("{}: {problems}", path.display())]
    Listing {
        /// The file with the list.
        path: PathBuf,
        /// What is wrong, joined by `; `.
        problems: String,
    },
    /// `Architecture` names something that is not there.
    #[error("Expecting exactly 1 .dsc in source package, found {found} in {}, whose Architecture has 'source'", path.display())]
    NotOneDsc {
        /// The `.changes`.
        path: PathBuf,
        /// How many.
        found: usize,
    },
    /// `Architecture` names something that is not there.
    #[error("Expecting at least one .deb per arch in binary packages: {}: Architecture has '{architecture}', but no *_{architecture}.deb or *_{architecture}.udeb is listed", path.display())]
    NoBinaries {
        /// The `.changes`.
        path: PathBuf,
        /// The architecture.
        architecture: String,
    },
    /// It breaks a rule of its category.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidArtifact,
    },
    /// Its data cannot be written as JSON.
    #[error("{}: {source}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// The artifacts that a file stands for, the primary one first: it extends the others. Reads and hashes files: blocks.
///
/// # Errors
/// If it is of another kind, breaks a rule, or a file that it lists is missing beside it, or other than listed.
pub fn artifacts_of(path: &Path) -> Result<Vec<LocalArtifact>, NoArtifact> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("dsc") => Ok(vec![source_package(path)?]),
        Some("deb" | "udeb" | "ddeb") => Ok(vec![binary_package(path)?]),
        Some("changes") => upload(path),
        _ => Err(NoArtifact::UnknownKind(path.to_owned())),
    }
}

fn source_package(path: &Path) -> Result<LocalArtifact, NoArtifact> {
    let dsc = Dsc::read(path)?;
    let directory = directory_of(path);
    verify(path, dsc.listing().verify(directory)?)?;
    let files = files_of(path, dsc.listing().names(Algorithm::Md5));
    let data = SourcePackage {
        name: dsc.source().to_owned(),
        version: dsc.version().to_owned(),
        format: PackageFormat::Dpkg,
        dsc_fields: dsc.fields().as_map().clone(),
    };
    local(path, ArtifactCategory::SourcePackage, &data, files)
}

fn binary_package(path: &Path) -> Result<LocalArtifact, NoArtifact> {
    let deb = Deb::read(path)?;
    let (srcpkg_name, srcpkg_version) = deb.source();
    let data = BinaryPackage {
        srcpkg_name: srcpkg_name.to_owned(),
        srcpkg_version: srcpkg_version.to_owned(),
        deb_fields: deb.fields().as_map().clone(),
        deb_control_files: deb.control_files().to_vec(),
    };
    local(path, ArtifactCategory::BinaryPackage, &data, files_of(path, []))
}

fn upload(path: &Path) -> Result<Vec<LocalArtifact>, NoArtifact> {
    let changes = Changes::read(path)?;
    let directory = directory_of(path);
    verify(path, changes.listing().verify(directory)?)?;
    // As debusine: only what has a SHA-256 in the list is part of the upload.
    let files = files_of(path, changes.listing().names(Algorithm::Sha256));
    let data = Upload { format: PackageFormat::Dpkg, changes_fields: changes.fields().as_map().clone() };
    let mut artifacts = vec![local(path, ArtifactCategory::Upload, &data, files)?];
    for architecture in changes.architectures() {
        if architecture == "source" {
            let dscs: Vec<&str> = changes.source_packages().collect();
            let &[dsc] = dscs.as_slice() else {
                return Err(NoArtifact::NotOneDsc { path: path.to_owned(), found: dscs.len() });
            };
            artifacts.push(source_package(&directory.join(dsc))?);
        } else {
            let debs: Vec<&str> = changes.binary_packages(architecture).collect();
            if debs.is_empty() {
                return Err(NoArtifact::NoBinaries { path: path.to_owned(), architecture: architecture.to_owned() });
            }
            for deb in debs {
                artifacts.push(binary_package(&directory.join(deb))?);
            }
        }
    }
    Ok(artifacts)
}

fn local(
    path: &Path,
    category: ArtifactCategory,
    data: &impl serde::Serialize,
    files: BTreeMap<String, PathBuf>,
) -> Result<LocalArtifact, NoArtifact> {
    let data = serde_json::to_value(data).map_err(|source| NoArtifact::Data { path: path.to_owned(), source })?;
    let artifact = LocalArtifact { category, data, files };
    artifact.check().map_err(|source| NoArtifact::Invalid { path: path.to_owned(), source })?;
    Ok(artifact)
}

fn verify(path: &Path, problems: Vec<String>) -> Result<(), NoArtifact> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(NoArtifact::Listing { path: path.to_owned(), problems: problems.join("; ") })
    }
}

/// The file itself and its listed neighbours (single path components, as usine-debian has checked).
fn files_of<'a>(path: &Path, listed: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, PathBuf> {
    let directory = directory_of(path);
    let mut files: BTreeMap<_, _> = listed.into_iter().map(|name| (name.to_owned(), directory.join(name))).collect();
    files.insert(name_of(path), path.to_owned());
    files
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl LocalArtifact {
    /// Checks it against all rules of its category. Reads its control file, if it has one: blocks.
    pub fn check(&self) -> Result<(), InvalidArtifact> {
        let files = self.files.iter().map(|(path, local)| (path.as_str(), local.as_path()));
        check_artifact(self.category, &self.data, files)
    }
}
