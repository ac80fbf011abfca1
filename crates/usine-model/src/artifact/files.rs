//! The files of artifacts: how many each category has, under which names, with which imposed content types.
//!
//! Everything here is known from names and data. What only a look into a file can tell is in
//! `usine_debian::check_artifact`, which whoever has the files at hand calls instead.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use super::ArtifactCategory;
use super::data::{listed_in_changes, listed_in_dsc};

/// Why files do not fit their category. Reads well after `Cannot create artifact: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFiles {
    /// Not exactly one binary package.
    #[error("Must have exactly one file, found {}", list(.0))]
    NotOnePackage(Vec<String>),
    /// Not exactly one file.
    #[error("Expected number of files: 1 Actual: {0}")]
    NotOne(usize),
    /// No file.
    #[error("Expected at least one file")]
    None,
    /// A name that ends otherwise than those of its category.
    #[error("Valid file suffixes: {}. Invalid filename: \"{path}\"", list(valid))]
    Suffix {
        /// The file.
        path: String,
        /// How it may end.
        valid: &'static [&'static str],
    },
    /// No file that lists the others, or several.
    #[error("Expecting 1 {suffix} file in {}", list(files))]
    NotOneControlFile {
        /// `.dsc` or `.changes`.
        suffix: &'static str,
        /// All files, sorted.
        files: Vec<String>,
    },
    /// Other files than some list says.
    #[error("Files in the {what} must match. Files: {} Listed: {}", list(files), list(listed))]
    NotAsListed {
        /// What is compared, such as `package and listed in the .dsc`.
        what: &'static str,
        /// The files, sorted.
        files: Vec<String>,
        /// The list, sorted.
        listed: Vec<String>,
    },
    /// Other files than this category always has.
    #[error("Files required: {} Actual: {}", list(required), list(files))]
    NotAsRequired {
        /// What it must have.
        required: &'static [&'static str],
        /// What it has, sorted.
        files: Vec<String>,
    },
    /// An index under another name than its path says.
    #[error("Expected file name: {expected:?} Actual: {path:?}")]
    Name {
        /// The file.
        path: String,
        /// The last component of `path` in the data.
        expected: String,
    },
    /// A file where this category has none.
    #[error("Invalid file {path:?}: {reason}")]
    Misplaced {
        /// The file.
        path: String,
        /// What is asked of its path.
        reason: &'static str,
    },
}

/// The control file of an artifact, which lists the artifact's other files in its field `Files`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlFile {
    /// Of a source package (dsc(5)).
    Dsc,
    /// Of an upload (deb-changes(5)).
    Changes,
}

const PACKAGES: &[&str] = &[".deb", ".udeb"];

/// Checks the names of an artifact's files against what `category` asks, and against `data`, which
/// [`super::validate_data`] has accepted.
///
/// # Errors
/// The first rule that is broken, with the file's name where one file is at fault.
pub fn validate_files<'a>(
    category: ArtifactCategory,
    data: &Value,
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<(), InvalidFiles> {
    let files: BTreeSet<&str> = paths.into_iter().collect();
    match category {
        // What is not in the data cannot be compared: `dsc_fields` may have any keys.
        ArtifactCategory::SourcePackage => ControlFile::Dsc.check(&files, listed_in_dsc(data)),
        ArtifactCategory::Upload => ControlFile::Changes.check(&files, listed_in_changes(data)),
        ArtifactCategory::BinaryPackage => match only(&files) {
            Some(file) => suffix(file, PACKAGES),
            None => Err(InvalidFiles::NotOnePackage(owned(&files))),
        },
        ArtifactCategory::BinaryPackages => {
            at_least_one(&files)?;
            files.iter().try_for_each(|file| suffix(file, PACKAGES))
        }
        ArtifactCategory::PackageBuildLog => suffix(one(&files)?, &[".build"]),
        ArtifactCategory::SystemTarball => suffix(one(&files)?, &[".tar.xz"]),
        ArtifactCategory::SystemImage => suffix(one(&files)?, &[".tar.xz", ".qcow2"]),
        ArtifactCategory::DebugSymbols => {
            let build_ids = data.get("build_ids").and_then(Value::as_array).into_iter().flatten();
            same("artifact and build_ids", &files, build_ids.filter_map(Value::as_str).collect())
        }
        ArtifactCategory::Lintian => required(&files, &["analysis.json", "lintian.txt"]),
        ArtifactCategory::Piuparts => required(&files, &["piuparts.txt"]),
        ArtifactCategory::Blhc => required(&files, &["blhc.txt"]),
        ArtifactCategory::Debdiff => required(&files, &["debdiff.txt"]),
        ArtifactCategory::Autopkgtest => {
            none(&files, |file| file.starts_with("binaries/"), "test results do not include the packages in binaries/")
        }
        ArtifactCategory::RepositoryIndex => {
            let file = one(&files)?;
            match data.get("path").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
                Some(name) if name != file => {
                    Err(InvalidFiles::Name { path: file.to_owned(), expected: name.to_owned() })
                }
                _ => Ok(()),
            }
        }
        ArtifactCategory::SigningInput => at_least_one(&files),
        ArtifactCategory::SigningOutput => {
            let results = data.get("results").and_then(Value::as_array).into_iter().flatten();
            let signed = results.filter_map(|result| result.get("output_file")?.as_str()).collect();
            same("artifact and output_file of the results", &files, signed)
        }
        ArtifactCategory::WorkRequestDebugLogs => {
            none(&files, |file| file.contains('/'), "debug logs are not in directories")
        }
        // Test suites put in what they like.
        ArtifactCategory::Test => Ok(()),
    }
}

/// The content type that a category imposes on one of its files; without one, the maker finds it out.
pub fn imposed_content_type(category: ArtifactCategory, path: &str) -> Option<&'static str> {
    const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
    const BYTES: Option<&str> = Some("application/octet-stream");
    match category {
        ArtifactCategory::Upload if path.ends_with(".changes") => TEXT,
        ArtifactCategory::PackageBuildLog | ArtifactCategory::WorkRequestDebugLogs => TEXT,
        ArtifactCategory::DebugSymbols | ArtifactCategory::SigningInput | ArtifactCategory::SigningOutput => BYTES,
        ArtifactCategory::RepositoryIndex => match path {
            "Release" => TEXT,
            "Release.gpg" => Some("application/pgp-signature; charset=utf-8"),
            "InRelease" => Some("text/PGP; charset=utf-8"),
            _ if path.ends_with(".xz") => Some("application/x-xz; charset=binary"),
            _ => None,
        },
        _ => None,
    }
}

impl ControlFile {
    /// Which one artifacts of `category` have, if any.
    pub fn of(category: ArtifactCategory) -> Option<Self> {
        match category {
            ArtifactCategory::SourcePackage => Some(Self::Dsc),
            ArtifactCategory::Upload => Some(Self::Changes),
            _ => None,
        }
    }

    /// How its name ends.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Dsc => ".dsc",
            Self::Changes => ".changes",
        }
    }

    /// Checks that `paths` has one such file, and besides it exactly the names `listed`.
    pub fn compare<'a, 'b>(
        self,
        paths: impl IntoIterator<Item = &'a str>,
        listed: impl IntoIterator<Item = &'b str>,
    ) -> Result<(), InvalidFiles> {
        self.check(&paths.into_iter().collect(), Some(listed.into_iter().map(str::to_owned).collect()))
    }

    fn check(self, files: &BTreeSet<&str>, listed: Option<Vec<String>>) -> Result<(), InvalidFiles> {
        let suffix = self.suffix();
        let (control, others): (BTreeSet<&str>, _) = files.iter().partition(|file| file.ends_with(suffix));
        if control.len() != 1 {
            return Err(InvalidFiles::NotOneControlFile { suffix, files: owned(files) });
        }
        let what = match self {
            Self::Dsc => "package and listed in the .dsc",
            Self::Changes => "upload and listed in the .changes",
        };
        match &listed {
            Some(listed) => same(what, &others, listed.iter().map(String::as_str).collect()),
            None => Ok(()),
        }
    }
}

fn only<'a>(files: &BTreeSet<&'a str>) -> Option<&'a str> {
    files.first().copied().filter(|_| files.len() == 1)
}

fn one<'a>(files: &BTreeSet<&'a str>) -> Result<&'a str, InvalidFiles> {
    only(files).ok_or(InvalidFiles::NotOne(files.len()))
}

fn at_least_one(files: &BTreeSet<&str>) -> Result<(), InvalidFiles> {
    if files.is_empty() { Err(InvalidFiles::None) } else { Ok(()) }
}

fn suffix(file: &str, valid: &'static [&'static str]) -> Result<(), InvalidFiles> {
    let fits = valid.iter().any(|suffix| file.ends_with(suffix));
    if fits { Ok(()) } else { Err(InvalidFiles::Suffix { path: file.to_owned(), valid }) }
}

fn required(files: &BTreeSet<&str>, required: &'static [&'static str]) -> Result<(), InvalidFiles> {
    let fits = files.iter().eq(required.iter());
    if fits { Ok(()) } else { Err(InvalidFiles::NotAsRequired { required, files: owned(files) }) }
}

fn same(what: &'static str, files: &BTreeSet<&str>, listed: BTreeSet<&str>) -> Result<(), InvalidFiles> {
    let fits = *files == listed;
    if fits { Ok(()) } else { Err(InvalidFiles::NotAsListed { what, files: owned(files), listed: owned(&listed) }) }
}

fn none(files: &BTreeSet<&str>, wrong: impl Fn(&str) -> bool, reason: &'static str) -> Result<(), InvalidFiles> {
    match files.iter().find(|file| wrong(file)) {
        Some(file) => Err(InvalidFiles::Misplaced { path: (*file).to_owned(), reason }),
        None => Ok(()),
    }
}

fn owned(files: &BTreeSet<&str>) -> Vec<String> {
    files.iter().map(|file| (*file).to_owned()).collect()
}

/// As debusine prints lists: `['a', 'b']`.
fn list(names: &[impl std::fmt::Display]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", names.join(", "))
}
