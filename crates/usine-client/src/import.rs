//! Turning a `.dsc`, `.changes` or `.deb` on disk into artifacts, and bringing them to the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use usine_debian::{Algorithm, Changes, Deb, Dsc, InvalidArtifact, check_artifact};
use usine_model::artifact::{
    ArtifactCategory, BinaryPackage, PackageFormat, RelationType, SourcePackage, Upload, imposed_content_type,
};
use usine_protocol::artifact::{Artifact, CreateArtifact, CreateRelation, NewFile};

use crate::upload::new_file;
use crate::{Client, Error};

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

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Another kind of file.
    #[error("Only source packages (.dsc), binary packages (.deb), and source/binary uploads (.changes) can be directly imported with this command. {} is none of them", .0.display())]
    UnknownKind(PathBuf),
    /// An address that does not say how to call the file.
    #[error("{0} does not end in the name of a file")]
    NoFileName(String),
    /// A Debian file that cannot be read.
    #[error(transparent)]
    Debian(#[from] usine_debian::Error),
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
    /// The server or the way to it.
    #[error(transparent)]
    Client(#[from] Error),
}

/// What was brought to the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The first artifact.
    pub primary: Artifact,
    /// The ones that it extends and relates to.
    pub parts: Vec<Artifact>,
}

/// What to report while files are uploaded: path, bytes done, bytes in all.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Send + Sync);

/// The artifacts that a file stands for, the primary one first. Reads and hashes files: blocks.
pub fn artifacts_of(path: &Path) -> Result<Vec<LocalArtifact>, ImportError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("dsc") => Ok(vec![source_package(path)?]),
        Some("deb" | "udeb" | "ddeb") => Ok(vec![binary_package(path)?]),
        Some("changes") => upload(path),
        _ => Err(ImportError::UnknownKind(path.to_owned())),
    }
}

fn source_package(path: &Path) -> Result<LocalArtifact, ImportError> {
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

fn binary_package(path: &Path) -> Result<LocalArtifact, ImportError> {
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

fn upload(path: &Path) -> Result<Vec<LocalArtifact>, ImportError> {
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
                return Err(ImportError::NotOneDsc { path: path.to_owned(), found: dscs.len() });
            };
            artifacts.push(source_package(&directory.join(dsc))?);
        } else {
            let debs: Vec<&str> = changes.binary_packages(architecture).collect();
            if debs.is_empty() {
                return Err(ImportError::NoBinaries { path: path.to_owned(), architecture: architecture.to_owned() });
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
) -> Result<LocalArtifact, ImportError> {
    let data = serde_json::to_value(data).map_err(|error| Error::invalid_body(&path.display().to_string(), error))?;
    let artifact = LocalArtifact { category, data, files };
    artifact.check().map_err(|source| ImportError::Invalid { path: path.to_owned(), source })?;
    Ok(artifact)
}

fn verify(path: &Path, problems: Vec<String>) -> Result<(), ImportError> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ImportError::Listing { path: path.to_owned(), problems: problems.join("; ") })
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

    /// Its files as the server is told of them, with hashes and content types.
    pub async fn new_files(&self) -> Result<BTreeMap<String, NewFile>, Error> {
        let mut files = BTreeMap::new();
        for (path, local) in &self.files {
            let imposed = imposed_content_type(self.category, path);
            files.insert(path.clone(), new_file(path, local, imposed).await?);
        }
        Ok(files)
    }
}

impl Client {
    /// Creates an artifact and uploads what the server does not have yet.
    pub async fn upload_artifact(
        &self,
        artifact: &LocalArtifact,
        workspace: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Artifact, Error> {
        let new = CreateArtifact {
            category: artifact.category.to_string(),
            workspace: workspace.map(str::to_owned),
            files: artifact.new_files().await?,
            data: artifact.data.clone(),
            work_request: None,
            expire_at: None,
        };
        let created = self.create_artifact(&new).await?;
        for path in &created.files_to_upload {
            let local = artifact.files.get(path).ok_or_else(|| {
                Error::invalid_body(
                    self.api_url.as_str(),
                    format!("it wants a file {path:?} that the artifact does not have"),
                )
            })?;
            self.upload_file(created.id, path, local, &|done, all| progress(path, done, all)).await?;
        }
        Ok(created)
    }

    /// Imports a `.dsc`, `.changes` or `.deb`: all artifacts one after the other, then for each further one the
    /// relations *extends* and *relates-to* from the first.
    pub async fn import(
        &self,
        path: &Path,
        workspace: Option<&str>,
        progress: Progress<'_>,
    ) -> Result<Imported, ImportError> {
        let owned = path.to_owned();
        let artifacts = tokio::task::spawn_blocking(move || artifacts_of(&owned))
            .await
            .map_err(|error| Error::Setup(error.to_string()))??;
        let mut created = Vec::with_capacity(artifacts.len());
        for artifact in &artifacts {
            created.push(self.upload_artifact(artifact, workspace, progress).await?);
        }
        let mut created = created.into_iter();
        let primary = created.next().ok_or_else(|| ImportError::UnknownKind(path.to_owned()))?;
        let parts: Vec<Artifact> = created.collect();
        for part in &parts {
            for relation_type in [RelationType::Extends, RelationType::RelatesTo] {
                self.create_relation(&CreateRelation { artifact: primary.id, target: part.id, relation_type }).await?;
            }
        }
        Ok(Imported { primary, parts })
    }
}
