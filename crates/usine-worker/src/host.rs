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
use usine_model::artifact::ArtifactPath;
use usine_model::clock::Clock;
use usine_protocol::artifact::Artifact;
use usine_protocol::channel::{LogStream as WireStream, WorkerMessage};
use usine_tasks::{ArtifactInfo, FileInfo, Host, HostError, LogStream};

use crate::cache::{Cache, CacheError, Cached};
use crate::log_queue::LogQueue;
use crate::ownership;
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
            if file.size == 0 || path.file_name().starts_with('.') {
                // What the cache does not take.
                let fetched = self.fetch(file, &target).await;
                fetched.map_err(|error| failed(error.to_string()))?;
            } else {
                // A copy, not a link: what a task does to its inputs must not reach the cache.
                let cached = self.cached(id, path, file).await?;
                let copied = copy_new(&cached.path, &target).await;
                copied.map_err(|error| failed(format!("{}: {error}", target.display())))?;
            }
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
        let cached = self.cached(id, path, file).await?;
        let path = cached.path.clone();
        self.images.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(cached);
        Ok((info, path))
    }

    /// A file of an artifact in the cache, where it stays as long as the answer is kept.
    async fn cached(&self, id: i64, path: &ArtifactPath, file: &FileInfo) -> Result<Cached, HostError> {
        let fetch = async |target: PathBuf| {
            tracing::info!(work_request = self.work_request, artifact = id, %path, size = file.size, "fetching");
            self.fetch(file, &target).await
        };
        let facts = FileFacts { size: file.size, sha256: file.sha256.clone() };
        let cached = self.cache.get(path.file_name(), &facts, self.clock.now(), fetch).await;
        cached.map_err(|error: CacheError| HostError::Artifact { id, reason: error.to_string() })
    }

    async fn fetch(&self, file: &FileInfo, target: &Path) -> Result<(), Error> {
        let facts = FileFacts { size: file.size, sha256: file.sha256.clone() };
        self.patiently(|| self.client.download_file(&file.url, target, &facts, &|_, _| {})).await
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
        if ownership::is_lost(&self.client, self.work_request).await && !self.cancel.is_cancelled() {
            tracing::warn!(work_request = self.work_request, "the work request is no longer ours: stopping it");
            self.cancel.cancel();
        }
    }
}

/// Copies a file to a path where nothing is yet.
async fn copy_new(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut source = tokio::fs::File::open(from).await?;
    let mut target = tokio::fs::File::create_new(to).await?;
    tokio::io::copy_buf(&mut tokio::io::BufReader::with_capacity(1 << 20, &mut source), &mut target).await?;
    target.flush().await
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::{Path as UrlPath, State};
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::IntoResponse;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};
    use usine_client::Options;
    use usine_model::clock::ManualClock;

    use super::*;

    /// Serves artifacts of one file `f-<id>` with the content `content <id>`; the first two calls fail.
    async fn serve(calls: Arc<AtomicUsize>) -> String {
        let artifact = async |State(calls): State<Arc<AtomicUsize>>,
                              UrlPath((workspace, id)): UrlPath<(String, i64)>,
                              headers: HeaderMap| {
            assert_eq!((workspace.as_str(), &headers["token"]), ("System", &"wrt".parse().unwrap()));
            if calls.fetch_add(1, Ordering::SeqCst) < 2 {
                return StatusCode::NOT_IMPLEMENTED.into_response();
            }
            let (content, host) = (format!("content {id}"), headers["host"].to_str().unwrap());
            // Artifact 3 is announced with another hash.
            let sha256 = hex::encode(Sha256::digest(if id == 3 { "other" } else { content.as_str() }));
            let file = json!({"size": content.len(), "type": "file", "checksums": {"sha256": sha256}, "url": format!("http://{host}/file/{id}")});
            let name = format!("f-{id}");
            let data: Value = if id == 4 { json!({"filename": "missing"}) } else { json!({"filename": name}) };
            Json(json!({"id": id, "workspace": "System", "category": "debian:system-tarball", "created_at": "2026-03-01T10:20:30Z",
                "data": data, "download_tar_gz_url": "", "files_to_upload": [], "files": {format!("f-{id}"): file}}))
            .into_response()
        };
        let file = async |State(calls): State<Arc<AtomicUsize>>, UrlPath(id): UrlPath<i64>| {
            calls.fetch_add(100, Ordering::SeqCst);
            format!("content {id}")
        };
        let router = Router::new()
            .route("/api/1.0/artifact/{workspace}/{id}/", get(artifact))
            .route("/file/{id}", get(file))
            .with_state(calls);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn host(server: &str, root: &Path) -> WorkerHost {
        let mut options = Options { token: Some("wrt".to_owned()), ..Options::new(format!("{server}/api")) };
        options.pace.tries = 1;
        let short = Duration::from_millis(1);
        WorkerHost {
            work_request: 7,
            workspace: "System".to_owned(),
            client: Client::new(options).unwrap(),
            cache: Cache::open(root.join("cache"), 1000).unwrap(),
            logs: Arc::default(),
            clock: Arc::new(ManualClock::at(DateTime::UNIX_EPOCH)),
            tempo: Tempo { retry: short, input_patience: Duration::from_millis(100), ..Tempo::default() },
            cancel: CancellationToken::new(),
            images: Mutex::default(),
        }
    }

    #[tokio::test]
    async fn inputs_and_environments() {
        let calls = Arc::new(AtomicUsize::new(0));
        let server = serve(calls.clone()).await;
        let root = tempfile::tempdir().unwrap();
        let host = host(&server, root.path());
        let info = host.download(1, root.path().to_owned()).await.unwrap();
        assert_eq!(info.files.len(), 1);
        assert_eq!(std::fs::read_to_string(root.path().join("f-1")).unwrap(), "content 1");
        assert!(host.download(1, root.path().to_owned()).await.is_err(), "existing files are not overwritten");
        let (before, again) = (calls.load(Ordering::SeqCst), root.path().join("again"));
        std::fs::create_dir(&again).unwrap();
        host.download(1, again.clone()).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst) - before, 1, "the artifact is asked for, the file is in the cache");
        std::fs::write(again.join("f-1"), "changed by the task").unwrap();
        let third = root.path().join("third");
        std::fs::create_dir(&third).unwrap();
        host.download(1, third.clone()).await.unwrap();
        assert_eq!(std::fs::read_to_string(third.join("f-1")).unwrap(), "content 1", "the cache has its own");

        let before = calls.load(Ordering::SeqCst);
        let (_, path) = host.image(2).await.unwrap();
        assert_eq!(
            (std::fs::read_to_string(&path).unwrap().as_str(), path.file_name().unwrap().to_str()),
            ("content 2", Some("f-2"))
        );
        assert_eq!(host.image(2).await.unwrap().1, path);
        assert_eq!(calls.load(Ordering::SeqCst) - before, 102, "two artifacts, one file");

        let error = host.download(3, root.path().to_owned()).await.unwrap_err().to_string();
        assert!(error.contains("is not the file that the server announced"), "{error}");
        assert!(host.image(4).await.unwrap_err().to_string().contains("no file of the name"));
    }

    #[tokio::test]
    async fn addresses_from_outside_are_bounded() {
        let server = serve(Arc::default()).await;
        let root = tempfile::tempdir().unwrap();
        let host = host(&server, root.path());
        let (url, target) = (format!("{server}/file/5"), root.path().join("key"));
        host.fetch_url(&url, 9, &target).await.unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "content 5");
        assert!(host.fetch_url(&url, 9, &target).await.is_err(), "existing files are not overwritten");
        let error = host.fetch_url(&url, 8, &root.path().join("long")).await.unwrap_err().to_string();
        assert!(error.contains("more than 8 bytes"), "{error}");
        let error = host.fetch_url("file:///etc/passwd", 8, &root.path().join("local")).await.unwrap_err().to_string();
        assert!(error.contains("only http"), "{error}");
    }
}
