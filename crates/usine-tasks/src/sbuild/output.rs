//! What a build left in its directory: whether it fits together, and the artifacts that it becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use usine_debian::{Changes, Deb, Dsc, extract_build_ids};
use usine_model::artifact::{
    ArtifactCategory, BinaryPackage, BuildId, DebugSymbols, PackageFormat, RelationType, SigningInput, Upload,
};

use super::data::{BuildComponent, SbuildData};
use crate::run::{ArtifactRef, Bench, LocalFile, NewArtifact, PLAIN_TEXT, TaskError};

const BYTES: &str = "application/octet-stream";

/// What does not fit together.
pub(super) fn inconsistencies(directory: &Path) -> Result<Vec<String>, TaskError> {
    let names = names_in(directory, |_| true)?;
    let is_unlisted = |name: &&String| ![".dsc", ".changes", ".build"].iter().any(|suffix| name.ends_with(suffix));
    let mut unreferenced: BTreeSet<String> = names.iter().filter(is_unlisted).cloned().collect();
    let mut problems = Vec::new();
    if let Some(path) = only(directory, ".changes")? {
        match Changes::read(&path) {
            Ok(changes) => compare(changes.listing(), directory, &mut unreferenced, &mut problems)?,
            Err(error) => problems.push(error.to_string()),
        }
    }
    if let Some(path) = only(directory, ".dsc")? {
        match Dsc::read(&path) {
            Ok(dsc) => compare(dsc.listing(), directory, &mut unreferenced, &mut problems)?,
            Err(error) => problems.push(error.to_string()),
        }
    }
    if !unreferenced.is_empty() {
        let list: Vec<String> = unreferenced.iter().map(|name| format!("'{name}'")).collect();
        problems.push(format!("Files in directory not referenced in .changes or .dsc: [{}]", list.join(", ")));
    }
    Ok(problems)
}

fn compare(
    listing: &usine_debian::Listing,
    directory: &Path,
    unreferenced: &mut BTreeSet<String>,
    problems: &mut Vec<String>,
) -> Result<(), TaskError> {
    problems.extend(listing.verify(directory)?);
    for file in listing.files() {
        unreferenced.remove(&file.name);
    }
    Ok(())
}

/// The names in `directory` that `wanted` lets through, sorted.
fn names_in(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, TaskError> {
    let fault = || TaskError::io(format!("cannot list {}", directory.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(fault())? {
        let name = entry.map_err(fault())?.file_name().to_string_lossy().into_owned();
        if wanted(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The one regular file whose name ends so, if any.
pub(super) fn only(directory: &Path, suffix: &str) -> Result<Option<PathBuf>, TaskError> {
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

/// Puts all artifacts of a successful build on the tray, and how they relate.
pub(super) fn upload_packages(data: &SbuildData, log: ArtifactRef, bench: &mut Bench<'_>) -> Result<(), TaskError> {
    let directory = bench.exec.clone();
    let mut binaries = Vec::new();
    let architectures = [(BuildComponent::Any, data.host_architecture()), (BuildComponent::All, "all")];
    for (_, architecture) in architectures.into_iter().filter(|(component, _)| data.has(*component)) {
        let endings = ["deb", "udeb"].map(|suffix| format!("_{architecture}.{suffix}"));
        for name in names_in(&directory, |name| endings.iter().any(|ending| name.ends_with(ending)))? {
            let artifact = binary_package(&directory.join(&name))?;
            binaries.push((name, bench.upload(artifact)?));
        }
    }
    let symbols = upload_debug_symbols(&binaries, bench)?;
    let path =
        only(&directory, ".changes")?.ok_or_else(|| TaskError::Other("the build made no .changes file".to_owned()))?;
    let upload = bench.upload(upload(&path)?)?;
    let to_sign = NewArtifact::new(ArtifactCategory::SigningInput, &SigningInput::default())?;
    let to_sign = bench.upload(to_sign.with_file(&path, Some(BYTES))?)?;

    for (_, binary) in &binaries {
        bench.relate_to_fetched(*binary, RelationType::BuiltUsing);
        bench.relate(log, RelationType::RelatesTo, *binary);
        bench.relate(upload, RelationType::Extends, *binary);
        bench.relate(upload, RelationType::RelatesTo, *binary);
    }
    bench.relate(log, RelationType::RelatesTo, upload);
    bench.relate(to_sign, RelationType::RelatesTo, upload);
    for (symbols, binary) in symbols {
        bench.relate(symbols, RelationType::RelatesTo, binary);
    }
    Ok(())
}

fn binary_package(path: &Path) -> Result<NewArtifact, TaskError> {
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

fn upload(path: &Path) -> Result<NewArtifact, TaskError> {
    let changes = Changes::read(path)?;
    let data = Upload { format: PackageFormat::Dpkg, changes_fields: changes.fields().as_map().clone() };
    let mut artifact = NewArtifact::new(ArtifactCategory::Upload, &data)?.with_file(path, Some(PLAIN_TEXT))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    for file in changes.files().iter().filter(|file| file.sha256.is_some()) {
        artifact = artifact.with_file(&directory.join(&file.name), None)?;
    }
    Ok(artifact)
}

/// One artifact for each binary package that has a `-dbgsym` beside it.
fn upload_debug_symbols(
    binaries: &[(String, ArtifactRef)],
    bench: &mut Bench<'_>,
) -> Result<Vec<(ArtifactRef, ArtifactRef)>, TaskError> {
    let mut uploaded = Vec::new();
    for (name, binary) in binaries {
        let Some(package) = debug_package(name, &bench.exec) else { continue };
        let target = bench.make_directory("debug-symbols-", 0o700)?;
        let build_ids = extract_build_ids(&package, &target)?;
        if build_ids.is_empty() {
            continue;
        }
        let file = |build_id: &String| {
            let path = build_id.parse().map_err(|error| TaskError::Other(format!("build-id {build_id}: {error}")))?;
            Ok((path, LocalFile { path: target.join(build_id), content_type: Some(BYTES.to_owned()) }))
        };
        let files = build_ids.iter().map(file).collect::<Result<BTreeMap<_, _>, TaskError>>()?;
        let build_ids = build_ids.iter().map(|build_id| build_id.parse()).collect::<Result<Vec<BuildId>, _>>();
        let build_ids = build_ids.map_err(|error| TaskError::Other(error.to_string()))?;
        let artifact = NewArtifact::new(ArtifactCategory::DebugSymbols, &DebugSymbols { build_ids })?;
        uploaded.push((bench.upload(NewArtifact { files, ..artifact })?, *binary));
    }
    Ok(uploaded)
}

/// For `P_REST.deb`: `P-dbgsym_REST.deb`, else `P-dbgsym_REST.ddeb`.
fn debug_package(name: &str, directory: &Path) -> Option<PathBuf> {
    let (package, rest) = name.strip_suffix(".deb")?.split_once('_')?;
    let candidate = |suffix: &str| directory.join(format!("{package}-dbgsym_{rest}.{suffix}"));
    let is_regular = |path: &PathBuf| path.symlink_metadata().is_ok_and(|kind| kind.is_file());
    ["deb", "ddeb"].into_iter().map(candidate).find(is_regular)
}
