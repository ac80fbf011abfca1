//! Whether an artifact whose files are at hand follows all rules of its category: the rules of usine-model, and those
//! that need a look into a file.

use std::io::BufReader;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::Value;
use usine_model::artifact::{ArtifactCategory, ControlFile, InvalidData, InvalidFiles, validate_data, validate_files};

use crate::{Algorithm, Changes, Dsc, Error, Listing, open};

/// Why an artifact must not be made. Reads well after `Cannot create artifact: `.
#[derive(Debug, thiserror::Error)]
pub enum InvalidArtifact {
    /// Its data do not fit.
    #[error(transparent)]
    Data(#[from] InvalidData),
    /// Its files do not fit.
    #[error(transparent)]
    Files(#[from] InvalidFiles),
    /// A file that cannot be read, or is not what its name says.
    #[error(transparent)]
    Debian(#[from] Error),
    /// A file of findings that programs cannot read.
    #[error("{path:?} is not valid JSON: {source}")]
    Json {
        /// The file, as the artifact names it.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Checks the data of an artifact, the names of its files, and what some of the files say.
///
/// `files` are paths in the artifact and where each file is. Reads the `.dsc`, `.changes` or `analysis.json`: blocks.
///
/// # Errors
/// The first rule that is broken.
pub fn check_artifact<'a>(
    category: ArtifactCategory,
    data: &Value,
    files: impl Iterator<Item = (&'a str, &'a Path)> + Clone,
) -> Result<(), InvalidArtifact> {
    let paths = || files.clone().map(|(path, _)| path);
    validate_data(category, data)?;
    validate_files(category, data, paths())?;
    if let Some(control) = ControlFile::of(category) {
        for (_, local) in files.clone().filter(|(path, _)| path.ends_with(control.suffix())) {
            let listing = match control {
                ControlFile::Dsc => listing(Dsc::read(local)?.listing()),
                ControlFile::Changes => listing(Changes::read(local)?.listing()),
            };
            control.compare(paths(), listing.iter().map(String::as_str))?;
        }
    }
    if category == ArtifactCategory::Lintian {
        for (path, local) in files.clone().filter(|(path, _)| *path == "analysis.json") {
            let file = open::regular(local).map_err(|source| Error::Read { path: local.to_owned(), source })?;
            // Only looked through, never kept: its size does not matter.
            serde_json::from_reader::<_, IgnoredAny>(BufReader::new(file))
                .map_err(|source| InvalidArtifact::Json { path: path.to_owned(), source })?;
        }
    }
    Ok(())
}

/// The names in `Files`.
fn listing(listing: &Listing) -> Vec<String> {
    listing.names(Algorithm::Md5).map(str::to_owned).collect()
}
