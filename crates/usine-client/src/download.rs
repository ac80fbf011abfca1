//! Downloading files: verified, resumed where the connection broke, renamed into place when complete.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{Method, StatusCode};
use reqwest::Response;
use sha2::{Digest, Sha256};
use url::Url;
use usine_protocol::artifact::Artifact;

use crate::client::MAX_REDIRECTS;
use crate::upload::FileFacts;
use crate::{Client, Error};

/// The bytes of an answer, as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

impl Client {
    /// Downloads a file of an artifact to `path`, which must not exist, in constant memory.
    ///
    /// Size and SHA-256 are checked before the file appears under its name, world-readable. A broken connection is
    /// resumed. `progress` hears bytes done and bytes in all.
    pub async fn download_file(
        &self,
        url: &str,
        path: &Path,
        facts: &FileFacts,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), Error> {
        let parsed = parse(url)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let permissions = std::fs::Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new()
            .prefix(".download.")
            .permissions(permissions)
            .tempfile_in(directory)
            .map_err(Error::io(path))?;
        let mut transfer = Transfer { received: 0, hasher: Sha256::new() };
        let mut failures = 0;
        while transfer.received < facts.size {
            let before = transfer.received;
            let error = match self.download_rest(&parsed, &mut file, &mut transfer, facts.size, progress).await {
                Ok(()) => break,
                Err(error) => error,
            };
            failures = if transfer.received > before { 1 } else { failures + 1 };
            if !error.is_transient() || failures >= self.pace.transfer_tries {
                return Err(error);
            }
            tracing::info!(%url, received = transfer.received, %error, "download interrupted, resuming");
            tokio::time::sleep(error.retry_after().unwrap_or(self.pace.transfer_wait)).await;
        }
        let sha256 = hex::encode(transfer.hasher.finalize());
        if transfer.received != facts.size || sha256 != facts.sha256.to_lowercase() {
            let text = |size: u64, sha256: &str| format!("{size} bytes with SHA-256 {sha256}");
            let (expected, actual) = (text(facts.size, &facts.sha256), text(transfer.received, &sha256));
            return Err(Error::HashMismatch { url: url.to_owned(), expected, actual });
        }
        file.persist_noclobber(path).map_err(|error| Error::io(path)(error.error))?;
        Ok(())
    }

    /// One request from where we are to the end. Writes to the page cache are quick, so they are done in place.
    async fn download_rest(
        &self,
        url: &Url,
        file: &mut tempfile::NamedTempFile,
        transfer: &mut Transfer,
        size: u64,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), Error> {
        let mut response = self.get_following(url, transfer.received).await?;
        if transfer.received > 0 && !continues_at(&response, transfer.received) {
            // The server starts from the beginning.
            file.as_file().set_len(0).map_err(Error::io(file.path()))?;
            std::io::Seek::rewind(file).map_err(Error::io(Path::new(url.path())))?;
            *transfer = Transfer { received: 0, hasher: Sha256::new() };
        }
        while let Some(piece) = response.chunk().await.map_err(|error| Error::from_reqwest(url.as_str(), error))? {
            transfer.received += piece.len() as u64;
            if transfer.received > size {
                return Err(Error::invalid_body(url.as_str(), format!("more than the {size} bytes announced")));
            }
            transfer.hasher.update(&piece);
            if let Err(error) = file.write_all(&piece) {
                return Err(Error::io(file.path())(error));
            }
            progress(transfer.received, size);
        }
        if transfer.received < size {
            return Err(Error::Connect { url: url.to_string(), source: "the answer ended too early".into() });
        }
        Ok(())
    }

    /// All files of an artifact as one `.tar.gz`, as they come.
    pub async fn download_tarball(&self, artifact: &Artifact) -> Result<ByteStream, Error> {
        self.download_stream(&artifact.download_tar_gz_url).await
    }

    /// The bytes behind an address that the server gave, as they come.
    pub async fn download_stream(&self, url: &str) -> Result<ByteStream, Error> {
        let parsed = parse(url)?;
        let response = self.get_following(&parsed, 0).await?;
        let url = url.to_owned();
        Ok(response.bytes_stream().map(move |piece| piece.map_err(|error| Error::from_reqwest(&url, error))).boxed())
    }

    /// GET that follows redirects (to a store); [`Client::request`] sees to it that the token stays with our server.
    async fn get_following(&self, url: &Url, from: u64) -> Result<Response, Error> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.request(Method::GET, &url);
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let response = self.send_once(&url, &[200, 206, 301, 302, 303, 307, 308], request).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            url = next.ok_or_else(|| Error::invalid_body(url.as_str(), format!("redirected to {location:?}")))?;
        }
        Err(Error::invalid_body(url.as_str(), "too many redirects"))
    }
}

struct Transfer {
    received: u64,
    hasher: Sha256,
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| Error::InvalidUrl { url: url.to_owned(), message: error.to_string() })
}

fn continues_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}
