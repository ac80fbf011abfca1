//! What the worker does for a running task: inputs, environments, live log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use usine_client::{Client, Error, FileFacts};
use usine_model::clock::Clock;
use usine_protocol::artifact::Artifact;
use usine_protocol::channel::{LogStream as WireStream, WorkerMessage};
use usine_tasks::{ArtifactInfo, FileInfo, Host, HostError, LogStream};

use crate::cache::{Cache, CacheError, Cached};
use crate::log_queue::LogQueue;
use crate::tempo::Tempo;

/// The host of one run.
pub(crate) struct WorkerHost {
    pub work_request: i64,
    pub workspace: String,
    /// With the work request's token and scope.
    pub client: Client,
    pub cache: Cache,
    pub logs: Arc<LogQueue>,
    pub clock: Arc<dyn Clock>,
    pub tempo: Tempo,
    /// Cancelled when the work request turns out to be no longer ours.
    pub cancel: CancellationToken,
    /// Images in use: they stay in the cache until the run is over.
    pub images: Mutex<Vec<Cached>>,
}

impl WorkerHost {
    async fn fetch_artifact(&self, id: i64) -> Result<(Artifact, ArtifactInfo), HostError> {
        let failed = |reason: String| HostError::Artifact { id, reason };
        let artifact = self.patiently(|| self.client.artifact_in(&self.workspace, id)).await;
        let artifact = artifact.map_err(|error| failed(error.to_string()))?;
        let mut info =
            ArtifactInfo { id, category: artifact.category, data: artifact.data.clone(), files: Default::default() };
        for (path, file) in &artifact.files {
            let path = path.parse().map_err(|error| failed(format!("{error}")))?;
            let file = FileInfo { size: file.size, sha256: file.checksums.sha256.clone(), url: file.url.clone() };
            info.files.insert(path, file);
        }
        Ok((artifact, info))
    }

    async fn fetch_files(&self, id: i64, directory: PathBuf) -> Result<ArtifactInfo, HostError> {
        let failed = |reason: String| HostError::Artifact { id, reason };
        let (artifact, info) = self.fetch_artifact(id).await?;
        if !artifact.files_to_upload.is_empty() {
            return Err(failed(format!(
                "it is incomplete: {} still to be uploaded",
                artifact.files_to_upload.join(", ")
            )));
        }
        for (path, file) in &info.files {
            let target = directory.join(path.as_str());
            if let Some(parent) = target.parent() {
                tokio::fs::create_dir_all(parent)
                    .await
                    .map_err(|error| failed(format!("{}: {error}", parent.display())))?;
            }
            let facts = FileFacts { size: file.size, sha256: file.sha256.clone() };
            let fetched = self.patiently(|| self.client.download_file(&file.url, &target, &facts, &|_, _| {})).await;
            fetched.map_err(|error| failed(error.to_string()))?;
        }
        Ok(info)
    }

    async fn fetch_image(&self, id: i64) -> Result<(ArtifactInfo, PathBuf), HostError> {
        let failed = |reason: String| HostError::Artifact { id, reason };
        let (_, info) = self.fetch_artifact(id).await?;
        // The file that the data name; there is only one in the artifacts of this release.
        let named = info.data.get("filename").and_then(|name| name.as_str());
        let file = match named {
            Some(name) => info.files.iter().find(|(path, _)| path.as_str() == name),
            None => info.files.iter().next().filter(|_| info.files.len() == 1),
        };
        let (path, file) = file.ok_or_else(|| failed("it has no file of the name in its data".to_owned()))?;
        let facts = FileFacts { size: file.size, sha256: file.sha256.clone() };
        let fetch = async |target: PathBuf| {
            tracing::info!(
                work_request = self.work_request,
                artifact = id,
                size = facts.size,
                "fetching an environment"
            );
            self.patiently(|| self.client.download_file(&file.url, &target, &facts, &|_, _| {})).await
        };
        let cached = self.cache.get(path.file_name(), &facts, self.clock.now(), fetch).await;
        let cached = cached.map_err(|error: CacheError| failed(error.to_string()))?;
        let path = cached.path.clone();
        self.images.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(cached);
        Ok((info, path))
    }

    async fn fetch_from(&self, url: &str, max_bytes: u64, target: &Path) -> Result<(), HostError> {
        let failed = |reason: String| HostError::Url { url: url.to_owned(), reason };
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(failed("only http and https are possible".to_owned()));
        }
        let anonymous = self.client.acting_as(None, None).map_err(|error| failed(error.to_string()))?;
        let mut stream = anonymous.download_stream(url).await.map_err(|error| failed(error.to_string()))?;
        let mut file = tokio::fs::File::create_new(target).await.map_err(|error| failed(error.to_string()))?;
        let mut received = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| failed(error.to_string()))?;
            received += piece.len() as u64;
            if received > max_bytes {
                return Err(failed(format!("it has more than {max_bytes} bytes")));
            }
            file.write_all(&piece).await.map_err(|error| failed(error.to_string()))?;
        }
        file.flush().await.map_err(|error| failed(error.to_string()))
    }

    /// Tries a call again while the server is away: a restart of it should not fail a build.
    async fn patiently<T, F: Future<Output = Result<T, Error>>>(&self, call: impl Fn() -> F) -> Result<T, Error> {
        let mut back_off = self.tempo.back_off();
        let mut patience = self.tempo.input_patience;
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.status() == Some(403) {
                self.ask_whether_ours().await;
            }
            if !error.is_transient() || patience.is_zero() {
                return Err(error);
            }
            let wait = back_off.wait(error.retry_after()).min(patience);
            patience = patience.saturating_sub(wait.max(Duration::from_millis(1)));
            tracing::warn!(work_request = self.work_request, %error, "an input cannot be fetched now, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Cancels the run if the server no longer takes its token.
    pub async fn ask_whether_ours(&self) {
        let ours = match self.client.whoami().await {
            Ok(whoami) => whoami.auth || whoami.work_request == Some(self.work_request),
            Err(error) => !error.is_refusal(),
        };
        if !ours && !self.cancel.is_cancelled() {
            tracing::warn!(work_request = self.work_request, "the work request is no longer ours: stopping it");
            self.cancel.cancel();
        }
    }
}

impl Host for WorkerHost {
    fn artifact(&self, id: i64) -> BoxFuture<'_, Result<ArtifactInfo, HostError>> {
        Box::pin(async move { Ok(self.fetch_artifact(id).await?.1) })
    }

    fn download(&self, id: i64, directory: PathBuf) -> BoxFuture<'_, Result<ArtifactInfo, HostError>> {
        Box::pin(self.fetch_files(id, directory))
    }

    fn image(&self, id: i64) -> BoxFuture<'_, Result<(ArtifactInfo, PathBuf), HostError>> {
        Box::pin(self.fetch_image(id))
    }

    fn fetch_url<'a>(&'a self, url: &'a str, max_bytes: u64, target: &'a Path) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(self.fetch_from(url, max_bytes, target))
    }

    fn log(&self, stream: LogStream, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let stream = match stream {
            LogStream::Stdout => WireStream::Stdout,
            LogStream::Stderr => WireStream::Stderr,
            LogStream::Internal => WireStream::Internal,
        };
        let data = String::from_utf8_lossy(data).into_owned();
        self.logs.push(WorkerMessage::LogData {
            work_request_id: self.work_request,
            stream,
            data,
            timestamp: self.now(),
        });
    }

    fn log_end(&self, exit_code: i32) {
        let timestamp = self.now();
        self.logs.push(WorkerMessage::LogDataEnd { work_request_id: self.work_request, exit_code, timestamp });
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}
