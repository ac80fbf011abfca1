//! Data of uploads, and whether the fields of a `.changes` agree with each other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PackageFormat;

/// Data of `debian:upload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// Always `dpkg`.
    #[serde(rename = "type")]
    pub format: PackageFormat,
    /// The parsed `.changes`.
    pub changes_fields: Map<String, Value>,
}

/// Why the fields of a `.changes` are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpload {
    /// A field is missing.
    #[error("changes_fields must contain {0}")]
    Missing(&'static str),
    /// A field has another type.
    #[error("changes_fields.{path}: expected {expected}")]
    Type {
        /// Where, below `changes_fields`.
        path: String,
        /// What should be there.
        expected: &'static str,
    },
    /// Only source, but binaries are listed.
    #[error("changes_fields.Files: unexpected binary packages [{}] in a source-only upload", .0.join(", "))]
    BinariesInSource(Vec<String>),
    /// Binaries, but none is listed.
    #[error("changes_fields.Files: no .debs found in [{}], expected binaries for {}", files.join(", "), architectures.join(", "))]
    NoBinaries {
        /// The listed names.
        files: Vec<String>,
        /// The architectures without `source`.
        architectures: Vec<String>,
    },
    /// Only source, but with the `.buildinfo` of a binary build.
    #[error("changes_fields.Files: unexpected non-source .buildinfo {0} in a source-only upload")]
    BinaryBuildinfo(String),
    /// Source, but no `.dsc` or several are listed.
    #[error("changes_fields.Files: expected one and only one source package, found [{}]", .0.join(", "))]
    NotOneSource(Vec<String>),
    /// No source, but a `.dsc` is listed.
    #[error("changes_fields.Files: binary uploads cannot contain source packages, found [{}]", .0.join(", "))]
    SourceInBinary(Vec<String>),
}

impl Upload {
    /// Whether `Architecture` and `Files` are there and say the same.
    pub fn check(&self) -> Result<(), InvalidUpload> {
        let architectures = architectures(&self.changes_fields)?;
        let files = listed(&self.changes_fields)?;
        let ending = |suffixes: &[&str]| -> Vec<String> {
            let has_suffix = |file: &&String| suffixes.iter().any(|suffix| file.ends_with(suffix));
            files.iter().filter(has_suffix).cloned().collect()
        };
        let (binaries, sources) = (ending(&[".deb", ".udeb"]), ending(&[".dsc"]));
        let has_source = architectures.contains("source");
        let source_only = has_source && architectures.len() == 1;

        if source_only && !binaries.is_empty() {
            return Err(InvalidUpload::BinariesInSource(binaries));
        }
        let others: Vec<String> =
            architectures.iter().filter(|word| **word != "source").map(ToString::to_string).collect();
        if !others.is_empty() && binaries.is_empty() {
            return Err(InvalidUpload::NoBinaries { files, architectures: others });
        }
        let of_binaries = |file: &String| !file.ends_with("_source.buildinfo");
        if source_only && let Some(file) = ending(&[".buildinfo"]).into_iter().find(of_binaries) {
            return Err(InvalidUpload::BinaryBuildinfo(file));
        }
        match (has_source, sources.len()) {
            (true, 1) | (false, 0) => Ok(()),
            (true, _) => Err(InvalidUpload::NotOneSource(sources)),
            (false, _) => Err(InvalidUpload::SourceInBinary(sources)),
        }
    }
}

/// The words of `Architecture`.
fn architectures(changes: &Map<String, Value>) -> Result<BTreeSet<&str>, InvalidUpload> {
    match field(changes, "Architecture") {
        None => Err(InvalidUpload::Missing("Architecture")),
        Some(Value::String(words)) => Ok(words.split_whitespace().collect()),
        Some(_) => Err(InvalidUpload::Type { path: "Architecture".to_owned(), expected: "a string" }),
    }
}

/// The names that the `dsc_fields` of a source package list, if they do.
pub(in super::super) fn listed_in_dsc(data: &Value) -> Option<Vec<String>> {
    listed(data.get("dsc_fields")?.as_object()?).ok()
}

/// The names that the `changes_fields` of an upload list, if they do.
pub(in super::super) fn listed_in_changes(data: &Value) -> Option<Vec<String>> {
    listed(data.get("changes_fields")?.as_object()?).ok()
}

/// The names in `Files`.
pub(super) fn listed(changes: &Map<String, Value>) -> Result<Vec<String>, InvalidUpload> {
    match field(changes, "Files") {
        None => Err(InvalidUpload::Missing("Files")),
        Some(Value::Array(entries)) => entries
            .iter()
            .enumerate()
            .map(|(index, entry)| match entry.get("name") {
                Some(Value::String(name)) => Ok(name.clone()),
                _ => Err(InvalidUpload::Type { path: format!("Files[{index}].name"), expected: "a string" }),
            })
            .collect(),
        Some(_) => Err(InvalidUpload::Type { path: "Files".to_owned(), expected: "a list of objects with a name" }),
    }
}

/// A field of a paragraph. Names of fields ignore case (Policy 5.1); the usual spelling wins.
pub(super) fn field<'a>(paragraph: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other_case = || paragraph.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    paragraph.get(name).or_else(other_case).filter(|value| !value.is_null())
}
