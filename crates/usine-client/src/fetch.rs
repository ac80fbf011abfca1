//! Fetching a Debian file from any web server, together with the files that it lists, so that it can be imported.

use std::io::Write;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use percent_encoding::percent_decode_str;
use url::Url;
use usine_debian::{Changes, Dsc, Listing};
use usine_model::artifact::ArtifactPath;

use crate::import::{ImportError, Progress};
use crate::{Client, Error};

/// Most bytes of a `.dsc` or `.changes`. The largest in Debian's archive have some hundred kilobytes.
const MAX_CONTROL: u64 = 8 << 20;

/// Most bytes of a `.deb`, whose size nothing has told us.
const MAX_DEB: u64 = 8 << 30;

impl Client {
    /// Fetches a `.dsc`, `.changes` or `.deb` into a directory; gives its path there. What it lists, and what a listed
    /// `.dsc` lists, is fetched from beside it. Nothing is verified yet: the import does that.
    pub async fn fetch(&self, url: &Url, directory: &Path, progress: Progress<'_>) -> Result<PathBuf, ImportError> {
        let name = file_name(url)?;
        let path = directory.join(&name);
        let limit = if name.ends_with("deb") { MAX_DEB } else { MAX_CONTROL };
        self.fetch_one(url, &path, limit, &|_, _| {}).await?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("dsc") => self.fetch_listed(url, Dsc::read(&path)?.listing(), directory, progress).await?,
            Some("changes") => {
                let changes = Changes::read(&path)?;
                self.fetch_listed(url, changes.listing(), directory, progress).await?;
                for dsc in changes.source_packages() {
                    let listing = Dsc::read(&directory.join(dsc))?.listing().clone();
                    self.fetch_listed(url, &listing, directory, progress).await?;
                }
            }
            _ => {}
        }
        Ok(path)
    }

    /// What is not there yet. The names in a listing are single path components.
    async fn fetch_listed(
        &self,
        beside: &Url,
        listing: &Listing,
        directory: &Path,
        progress: Progress<'_>,
    ) -> Result<(), ImportError> {
        for file in listing.files() {
            let path = directory.join(&file.name);
            if path.exists() {
                continue;
            }
            let mut url = beside.clone();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop().push(&file.name);
            }
            self.fetch_one(&url, &path, file.size, &|done, all| progress(&file.name, done, all)).await?;
        }
        Ok(())
    }

    /// At most `limit` bytes.
    async fn fetch_one(
        &self,
        url: &Url,
        path: &Path,
        limit: u64,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), Error> {
        let mut stream = self.download_stream(url.as_str()).await?;
        let mut file = std::fs::File::create_new(path).map_err(Error::io(path))?;
        let mut received = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            received += piece.len() as u64;
            if received > limit {
                return Err(Error::invalid_body(url.as_str(), format!("more than {limit} bytes")));
            }
            // Writes to the page cache are quick, so they are done in place.
            file.write_all(&piece).map_err(Error::io(path))?;
            progress(received, limit);
        }
        Ok(())
    }
}

/// The name of the file behind an address: its last component.
fn file_name(url: &Url) -> Result<String, ImportError> {
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let name = percent_decode_str(last).decode_utf8_lossy().into_owned();
    match name.parse::<ArtifactPath>() {
        Ok(path) if !path.as_str().contains('/') => Ok(name),
        _ => Err(ImportError::NoFileName(url.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_nowhere() {
        let name = |url: &str| file_name(&Url::parse(url).unwrap()).ok();
        assert_eq!(name("https://h/pool/a_1.0%2B1.dsc?x=y").as_deref(), Some("a_1.0+1.dsc"));
        for wrong in ["https://h/", "https://h/a/", "https://h/a/%2e%2e", "https://h/a%2Fb.dsc", "https://h/..%2fb.dsc"]
        {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
