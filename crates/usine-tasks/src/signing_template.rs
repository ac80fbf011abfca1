//! Signing templates: binary packages that say which files of other packages are to be signed, and that bring the source
//! package in which the signatures are delivered.

mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use usine_debian::{Deb, is_package_name};

use crate::Backend;
use crate::packages::only;
use crate::run::{ArtifactInfo, Bench, TaskError};
use crate::task::ResolvedArtifact;
use crate::task_data::TaskDataError;
pub(crate) use tree::Tree;

/// A downloaded binary package.
#[derive(Debug)]
pub(crate) struct Binary {
    /// The artifact.
    pub id: i64,
    /// The package's name, which is a single path component.
    pub package: String,
    /// Where it is.
    pub path: PathBuf,
}

impl Binary {
    /// The one package of an artifact that was downloaded to `directory`; its name ends in one of `suffixes`.
    pub fn read(artifact: &ArtifactInfo, directory: &Path, suffixes: &[&str]) -> Result<Self, TaskError> {
        let found = suffixes.iter().find_map(|suffix| only(directory, suffix).transpose());
        let missing = || problem(format!("artifact {} has no {} file", artifact.id, suffixes.join(" or ")));
        let path = found.transpose()?.ok_or_else(missing)?;
        let deb = Deb::read(&path)?;
        let package = deb.fields().text("Package").unwrap_or_default().to_owned();
        check_package_name(&package)?;
        Ok(Self { id: artifact.id, package, path })
    }
}

/// A signing template, unpacked.
pub(crate) struct Template {
    /// The template package's own name.
    pub package: String,
    /// All that is in it.
    pub tree: Tree,
    /// What is to be signed, by binary package.
    pub packages: BTreeMap<String, PackageToSign>,
}

/// `files.json`.
#[derive(Debug, Deserialize)]
struct FilesToSign {
    packages: BTreeMap<String, PackageToSign>,
}

/// What is to be signed of a binary package.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PackageToSign {
    /// SHA-256 fingerprints of the certificates built into the code.
    #[serde(default)]
    pub trusted_certs: Option<Vec<String>>,
    /// The files.
    pub files: Vec<FileToSign>,
}

/// A file to be signed.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct FileToSign {
    /// The kind of signature.
    pub sig_type: String,
    /// Path in the package.
    pub file: String,
}

impl Template {
    /// Unpacks a template in the task's instance, and reads it.
    pub async fn unpack(bench: &mut Bench<'_>, template: &Binary) -> Result<Self, TaskError> {
        let package = template.package.clone();
        let tree = Tree::of_package(bench, &template.path, &package).await?;
        let path = directory_of(&package) + "/files.json";
        let text = tree.read(&path)?.ok_or_else(|| problem(format!("{package} has no file {path}")))?;
        let packages = parse(&text).map_err(|reason| problem(format!("{path} of {package}: {reason}")))?;
        Ok(Self { package, tree, packages })
    }

    /// The directory of the source package that brings the signatures.
    pub fn source_directory(&self) -> String {
        directory_of(&self.package) + "/source-template"
    }
}

fn directory_of(package: &str) -> String {
    format!("usr/share/code-signing/{package}")
}

/// Reads `files.json`; all its names are safe to be joined to a directory.
fn parse(text: &[u8]) -> Result<BTreeMap<String, PackageToSign>, String> {
    let parsed: FilesToSign = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    for (package, to_sign) in &parsed.packages {
        check_package_name(package).map_err(|error| error.to_string())?;
        for FileToSign { file, .. } in &to_sign.files {
            let fault = |what: &str| Err(format!("file name '{file}' of {package} {what}"));
            if file.split('/').any(|part| part == "..") {
                return fault("may not contain '..' segments");
            } else if file.starts_with('/') {
                return fault("may not be absolute");
            } else if file.split('/').any(|part| matches!(part, "" | ".")) || file.contains(['\0', '\n']) {
                return fault("is not a plain path");
            }
        }
    }
    Ok(parsed.packages)
}

fn check_package_name(name: &str) -> Result<(), TaskError> {
    if is_package_name(name) { Ok(()) } else { Err(problem(format!("'{name}' is not a valid package name"))) }
}

fn problem(text: impl Into<String>) -> TaskError {
    TaskError::Other(text.into())
}

/// Adds to `error` that only the default backend is accepted: these tasks handle what is to be signed.
pub(crate) fn check_backend(task: &str, backend: Backend, error: &mut TaskDataError) {
    if backend != Backend::Auto {
        let message = format!("{task} only accepts backend \"auto\", not \"{backend}\"");
        error.extend(TaskDataError::rule("backend", message));
    }
}

/// A text of the control fields of a resolved binary package.
pub(crate) fn control_text<'a>(
    artifact: &'a ResolvedArtifact,
    field: &str,
    key: &str,
) -> Result<&'a str, TaskDataError> {
    let text = artifact.data.get("deb_fields").and_then(|fields| fields.get(key)?.as_str());
    text.ok_or_else(|| TaskDataError::rule(field, format!("artifact {} has no {key} in its deb_fields", artifact.id)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(files: serde_json::Value) -> String {
        parse(files.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn files_json_is_read() {
        let text = json!({"packages": {
            "linux-image-amd64": {
                "trusted_certs": ["ab"], "extra": 1,
                "files": [{"sig_type": "efi", "file": "boot/vmlinuz"}, {"sig_type": "linux-module", "file": "..a/b..ko"}],
            },
            "shim": {"files": []},
        }});
        let packages = parse(text.to_string().as_bytes()).unwrap();
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["linux-image-amd64", "shim"]);
        let linux = &packages["linux-image-amd64"];
        assert_eq!(linux.trusted_certs, Some(vec!["ab".to_owned()]));
        assert_eq!(linux.files[0], FileToSign { sig_type: "efi".into(), file: "boot/vmlinuz".into() });
        assert_eq!(packages["shim"].trusted_certs, None);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let with = |package: &str, file: &str| {
            fault(json!({"packages": {package: {"files": [{"sig_type": "efi", "file": file}]}}}))
        };
        assert_eq!(with("a/b", "x"), "'a/b' is not a valid package name");
        assert_eq!(with("..", "x"), "'..' is not a valid package name");
        assert_eq!(with("shim", "../x"), "file name '../x' of shim may not contain '..' segments");
        assert_eq!(with("shim", "x/../y"), "file name 'x/../y' of shim may not contain '..' segments");
        assert_eq!(with("shim", "/etc/passwd"), "file name '/etc/passwd' of shim may not be absolute");
        assert_eq!(with("shim", "x//y"), "file name 'x//y' of shim is not a plain path");
        assert_eq!(with("shim", ""), "file name '' of shim is not a plain path");
        assert_eq!(with("shim", "x\0y"), "file name 'x\0y' of shim is not a plain path");
    }

    #[test]
    fn what_is_no_files_json_is_refused() {
        assert!(parse(b"{").is_err());
        assert!(fault(json!({})).starts_with("missing field `packages`"));
        assert!(fault(json!({"packages": {"shim": {}}})).starts_with("missing field `files`"));
        assert!(
            fault(json!({"packages": {"shim": {"files": [{"file": "x"}]}}})).starts_with("missing field `sig_type`")
        );
    }
}
