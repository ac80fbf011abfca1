//! What a build left in its directory: whether it fits together, and the artifacts that it becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use usine_debian::{Changes, Dsc, extract_build_ids};
use usine_model::artifact::{ArtifactCategory, BuildId, DebugSymbols, RelationType, SigningInput};

use super::data::{BuildComponent, SbuildData};
use crate::packages::{binary_package, only, upload};
use crate::run::{ArtifactRef, BYTES, Bench, LocalFile, NewArtifact, TaskError, names_in};

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
