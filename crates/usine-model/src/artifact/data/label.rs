//! What is derived from the data of an artifact: its label, and the source package that it belongs to.
//!
//! Stored data may be older than today's rules, so nothing here insists: what is not there is left out.

use serde_json::{Map, Value};

use super::super::ArtifactCategory;
use super::upload;

/// A short name of the artifact for people, such as `hello_2.12.3-1_amd64`; the category if nothing better is known.
///
/// `files` are the paths of its files.
pub fn label(category: ArtifactCategory, data: &Value, files: &[&str]) -> String {
    known_label(category, data, files).unwrap_or_else(|| category.to_string())
}

fn known_label(category: ArtifactCategory, data: &Value, files: &[&str]) -> Option<String> {
    let owned = |key| text(data, key).map(str::to_owned);
    match category {
        ArtifactCategory::SourcePackage => underscored(&[text(data, "name"), text(data, "version")]),
        ArtifactCategory::BinaryPackage => {
            let control = data.get("deb_fields")?.as_object()?;
            underscored(&["Package", "Version", "Architecture"].map(|name| upload::field(control, name)?.as_str()))
        }
        ArtifactCategory::BinaryPackages => underscored(&[text(data, "srcpkg_name"), text(data, "srcpkg_version")]),
        ArtifactCategory::Upload => {
            let changes = data.get("changes_fields").and_then(Value::as_object);
            changes.and_then(source_and_version).or_else(|| changes_name(changes, files))
        }
        ArtifactCategory::PackageBuildLog => {
            let filename = text(data, "filename")?;
            Some(filename.strip_suffix(".build").unwrap_or(filename).to_owned())
        }
        ArtifactCategory::DebugSymbols => {
            let count = data.get("build_ids")?.as_array()?.len();
            Some(format!("debug-symbols ({count} build-id{})", if count == 1 { "" } else { "s" }))
        }
        ArtifactCategory::SystemTarball | ArtifactCategory::SystemImage => owned("filename"),
        ArtifactCategory::Lintian => named("lintian", data.get("summary")?.get("package_filename")?),
        ArtifactCategory::Autopkgtest => text(data.get("source_package")?, "name").map(str::to_owned),
        ArtifactCategory::Piuparts => named("piuparts", data.get("binary_packages")?),
        ArtifactCategory::Blhc => {
            let parts = ["source", "version", "architecture"].map(|key| text(data, key));
            Some(underscored(&parts).map_or("blhc analysis".to_owned(), |built| format!("blhc analysis for {built}")))
        }
        ArtifactCategory::Debdiff => {
            let files = || Some(format!("debdiff {} {}", text(data, "original")?, text(data, "new")?));
            owned("label").or_else(files)
        }
        ArtifactCategory::RepositoryIndex => owned("path"),
        ArtifactCategory::SigningInput
        | ArtifactCategory::SigningOutput
        | ArtifactCategory::Test
        | ArtifactCategory::WorkRequestDebugLogs => None,
    }
}

/// The parts joined by `_`, if all are there.
fn underscored(parts: &[Option<&str>]) -> Option<String> {
    Some(parts.iter().copied().collect::<Option<Vec<_>>>()?.join("_"))
}

/// `TOOL: a, b` of the keys, sorted.
fn named(tool: &str, packages: &Value) -> Option<String> {
    let mut names: Vec<&str> = packages.as_object()?.keys().map(String::as_str).collect();
    names.sort_unstable();
    Some(if names.is_empty() { format!("{tool} (empty)") } else { format!("{tool}: {}", names.join(", ")) })
}

/// `SOURCE_VERSION` of a `.changes`, with `Source` as it stands.
fn source_and_version(changes: &Map<String, Value>) -> Option<String> {
    underscored(&["Source", "Version"].map(|name| upload::field(changes, name)?.as_str()))
}

/// The first `.changes` among the listed files and those of the artifact, else the first of them.
fn changes_name(changes: Option<&Map<String, Value>>, files: &[&str]) -> Option<String> {
    let mut names = changes.and_then(|changes| upload::listed(changes).ok()).unwrap_or_default();
    names.extend(files.iter().map(ToString::to_string));
    names.iter().find(|name| name.ends_with(".changes")).or(names.first()).cloned()
}

/// Name and version of the source package that an artifact is, was built from, or is about.
///
/// The `Source` of a binNMU's upload is `hello (2.10-3)`: the name stands before the parenthesis. The version of an upload
/// is its own `Version`, so that of a binNMU is not its source's.
pub fn source_name_and_version(category: ArtifactCategory, data: &Value) -> Option<(String, Option<String>)> {
    let (name, version) = match category {
        ArtifactCategory::SourcePackage => (text(data, "name")?, text(data, "version")),
        ArtifactCategory::BinaryPackage | ArtifactCategory::BinaryPackages => {
            (text(data, "srcpkg_name")?, text(data, "srcpkg_version"))
        }
        ArtifactCategory::PackageBuildLog => (text(data, "source")?, text(data, "version")),
        ArtifactCategory::Upload => {
            let changes = data.get("changes_fields")?.as_object()?;
            let source = upload::field(changes, "Source")?.as_str()?;
            let name = source.split_once('(').map_or(source, |(name, _)| name).trim();
            (name, upload::field(changes, "Version").and_then(Value::as_str))
        }
        _ => return None,
    };
    Some((name.to_owned(), version.map(str::to_owned)))
}

fn text<'a>(data: &'a Value, key: &str) -> Option<&'a str> {
    data.get(key)?.as_str()
}
