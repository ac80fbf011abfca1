//! Uploading a file in pieces: ask how far the server is, send from there, resume when the connection breaks.

use std::path::Path;
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use url::Url;
use usine_protocol::artifact::{Checksums, NewFile};
use usine_protocol::content_range::{ContentRange, parse_received};

use crate::{Client, Error, content_type};

/// Tries of a file whose hash the server finds wrong at the end.
const HASH_TRIES: u32 = 3;

/// Slowest connection that is worth having, in bytes per second: with the rest, 50 MiB may take a quarter of an hour.
const SLOWEST: u64 = 64 * 1024;

/// The server computes the hash of the whole file before it answers the last piece.
const HASHING: Duration = Duration::from_secs(600);

/// Buffer between file and socket, in bytes.
const BUFFER: usize = 128 * 1024;

/// What is left as it is in the path of a file.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Bytes.
    pub size: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// Reads a regular file for its size and hash, off the asynchronous threads.
pub async fn file_facts(path: &Path) -> Result<FileFacts, Error> {
    let path = path.to_owned();
    let task = tokio::task::spawn_blocking(move || read_facts(&path).map_err(Error::io(&path)));
    task.await.map_err(|error| Error::Setup(error.to_string()))?
}

fn read_facts(path: &Path) -> std::io::Result<FileFacts> {
    use std::io::Read;
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(FileFacts { size, sha256: hex::encode(hasher.finalize()) });
        }
        size += count as u64;
        hasher.update(&buffer[..count]);
    }
}

/// The entry of a local file in a new artifact, with the content type that its category imposes, else found out.
pub(crate) async fn new_file(path: &str, local: &Path, imposed: Option<&str>) -> Result<NewFile, Error> {
    let facts = file_facts(local).await?;
    let content_type = match imposed {
        Some(content_type) => content_type,
        None => content_type(path, local).map_err(Error::io(local))?,
    };
    Ok(NewFile {
        size: facts.size,
        file_type: "file".to_owned(),
        checksums: Checksums { sha256: facts.sha256 },
        content_type: Some(content_type.to_owned()),
    })
}

/// What the server answers to a piece.
enum Step {
    Complete,
    /// It has this many bytes.
    Continue(u64),
}

impl Client {
    /// Uploads one file of an artifact from `local`. `progress` hears bytes done and bytes in all.
    ///
    /// Resumes where the server is, also after a broken connection; begins anew, at most three times in all, if the
    /// server finds another hash; gives up when [`crate::Pace::transfer_tries`] tries in a row brought nothing.
    pub async fn upload_file(
        &self,
        artifact: i64,
        path: &str,
        local: &Path,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), Error> {
        let url = self.file_url(artifact, path)?;
        let size = tokio::fs::metadata(local).await.map_err(Error::io(local))?.len();
        let (mut hash_failures, mut failures) = (0, 0);
        let mut offset = None;
        if size == 0 {
            // Empty files are complete when they are announced.
            progress(0, 0);
            return Ok(());
        }
        loop {
            let step = match offset {
                None => self.probe(&url, size).await,
                Some(offset) => self.send_piece(&url, local, offset, size).await,
            };
            let error = match step {
                Ok(Step::Complete) => {
                    progress(size, size);
                    return Ok(());
                }
                // After a probe all bytes may be there: the last one again makes the server finish the file.
                Ok(Step::Continue(received)) if offset.is_none() => {
                    progress(received.min(size), size);
                    offset = Some(received.min(size - 1));
                    continue;
                }
                Ok(Step::Continue(received)) if received < size && offset.is_some_and(|before| received > before) => {
                    progress(received, size);
                    failures = 0;
                    offset = Some(received);
                    continue;
                }
                Ok(Step::Continue(received)) => {
                    Error::invalid_body(url.as_str(), format!("it stays at byte {received} of {size}"))
                }
                Err(error) => error,
            };
            if error.status() == Some(409) {
                hash_failures += 1;
                if hash_failures >= HASH_TRIES {
                    return Err(error);
                }
                offset = Some(0);
                continue;
            }
            failures += 1;
            let may_resume = error.is_transient() || is_gap(&error) || matches!(error, Error::InvalidBody { .. });
            if !may_resume || failures >= self.pace.transfer_tries {
                return Err(error);
            }
            tracing::info!(%url, failures, %error, "upload interrupted, resuming");
            tokio::time::sleep(error.retry_after().unwrap_or(self.pace.transfer_wait)).await;
            offset = None;
        }
    }

    async fn probe(&self, url: &Url, size: u64) -> Result<Step, Error> {
        let range = ContentRange::Probe { size: Some(size) }.to_string();
        let request = self.request(http::Method::PUT, url).header(CONTENT_RANGE, range).header(CONTENT_LENGTH, 0);
        let response = self.send_once(url, &[200, 201, 206], request).await?;
        if response.status() == 206 { received(url, &response) } else { Ok(Step::Continue(size)) }
    }

    async fn send_piece(&self, url: &Url, local: &Path, start: u64, size: u64) -> Result<Step, Error> {
        let length = (size - start).min(self.pace.chunk.max(1));
        let mut file = tokio::fs::File::open(local).await.map_err(Error::io(local))?;
        let actual = file.metadata().await.map_err(Error::io(local))?.len();
        if actual != size {
            return Err(Error::FileChanged { path: local.to_owned(), expected: size, actual });
        }
        file.seek(std::io::SeekFrom::Start(start)).await.map_err(Error::io(local))?;
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file.take(length), BUFFER));
        let range = ContentRange::Chunk { start, end: start + length - 1, size: Some(size) }.to_string();
        let limit = HASHING + Duration::from_secs(length / SLOWEST);
        let request = self.patient_request(Method::PUT, url, limit);
        let request = request.header(CONTENT_RANGE, range).header(CONTENT_LENGTH, length).body(body);
        let response = self.send_once(url, &[200, 201], request).await?;
        if response.status() == 200 { received(url, &response) } else { Ok(Step::Complete) }
    }

    fn file_url(&self, artifact: i64, path: &str) -> Result<Url, Error> {
        let mut url = self.url(&["artifact", &artifact.to_string(), "files"]);
        let full = format!("{}{}/", url.path(), utf8_percent_encode(path, PATH));
        url.set_path(&full);
        Ok(url)
    }
}

/// The server has lost bytes that it had: it names the place to continue.
fn is_gap(error: &Error) -> bool {
    matches!(error, Error::Problem { status: 400, problem, .. } if problem.title.starts_with("Server had received"))
}

fn received(url: &Url, response: &Response) -> Result<Step, Error> {
    let header = response.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let count = header.and_then(parse_received);
    count.map(Step::Continue).ok_or_else(|| Error::invalid_body(url.as_str(), format!("Range header is {header:?}")))
}
