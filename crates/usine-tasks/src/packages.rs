//! Packages that tasks made, as artifacts.

use std::path::{Path, PathBuf};

use usine_debian::{Changes, Deb, Dsc};
use usine_model::artifact::{ArtifactCategory, BinaryPackage, PackageFormat, SourcePackage, Upload};

use crate::run::{NewArtifact, PLAIN_TEXT, TaskError, names_in};

/// The one regular file whose name ends so, if any.
pub(crate) fn only(directory: &Path, suffix: &str) -> Result<Option<PathBuf>, TaskError> {
    let names = names_in(directory, |name| name.ends_with(suffix))?;
    match names.as_slice() {
        [] => Ok(None),
        [name] => {
            let path = directory.join(name);
            if path.symlink_metadata().is_ok_and(|kind| kind.is_file()) {
                Ok(Some(path))
            } else {
                Err(TaskError::Other(format!("{name} is not a regular file")))
            }
        }
        _ => Err(TaskError::Other(format!("more than one {suffix} file: {}", names.join(", ")))),
    }
}

/// The artifact of a `.deb` or `.udeb`.
pub(crate) fn binary_package(path: &Path) -> Result<NewArtifact, TaskError> {
    let deb = Deb::read(path)?;
    let (name, version) = deb.source();
    let data = BinaryPackage {
        srcpkg_name: name.to_owned(),
        srcpkg_version: version.to_owned(),
        deb_fields: deb.fields().as_map().clone(),
        deb_control_files: deb.control_files().to_vec(),
    };
    NewArtifact::new(ArtifactCategory::BinaryPackage, &data)?.with_file(path, None)
}

/// The artifact of a `.changes` file and the files beside it that it lists.
pub(crate) fn upload(path: &Path) -> Result<NewArtifact, TaskError> {
    let directory = path.parent().unwrap_or(Path::new(""));
    upload_of(path, &Changes::read(path)?, |name| directory.join(name))
}

/// The same with the files where `place` says.
pub(crate) fn upload_of(
    path: &Path,
    changes: &Changes,
    place: impl Fn(&str) -> PathBuf,
) -> Result<NewArtifact, TaskError> {
    let data = Upload { format: PackageFormat::Dpkg, changes_fields: changes.fields().as_map().clone() };
    let mut artifact = NewArtifact::new(ArtifactCategory::Upload, &data)?.with_file(path, Some(PLAIN_TEXT))?;
    for file in changes.files().iter().filter(|file| file.sha256.is_some()) {
        artifact = artifact.with_file(&place(&file.name), None)?;
    }
    Ok(artifact)
}

/// The artifact of a `.dsc` file and the files beside it that it lists.
pub(crate) fn source_package(path: &Path) -> Result<NewArtifact, TaskError> {
    let dsc = Dsc::read(path)?;
    let data = SourcePackage {
        name: dsc.source().to_owned(),
        version: dsc.version().to_owned(),
        format: PackageFormat::Dpkg,
        dsc_fields: dsc.fields().as_map().clone(),
    };
    let mut artifact = NewArtifact::new(ArtifactCategory::SourcePackage, &data)?.with_file(path, Some(PLAIN_TEXT))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    for file in dsc.files() {
        artifact = artifact.with_file(&directory.join(&file.name), None)?;
    }
    Ok(artifact)
}
