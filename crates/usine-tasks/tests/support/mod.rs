//! A worker for tests: artifacts are directories, the clock is a counter, the live log is a list.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod signing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use usine_model::artifact::{ArtifactCategory, ArtifactPath, RelationType, WorkRequestDebugLogs};
use usine_tasks::{
    ArtifactInfo, ArtifactRef, FileInfo, Host, HostError, Identity, LogStream, NewArtifact, Outcome, Resources,
    Surroundings,
};

/// An artifact "on the server".
#[derive(Clone)]
pub struct Stored {
    pub category: ArtifactCategory,
    pub data: Value,
    pub files: Vec<PathBuf>,
}

/// What a run made, as if it had been uploaded.
impl From<&NewArtifact> for Stored {
    fn from(artifact: &NewArtifact) -> Self {
        let files = artifact.files.values().map(|file| file.path.clone()).collect();
        Self { category: artifact.category, data: artifact.data.clone(), files }
    }
}

/// Hands out stored artifacts and files by URL; keeps the live log.
pub struct DirHost {
    pub artifacts: BTreeMap<i64, Stored>,
    bases: BTreeMap<i64, PathBuf>,
    pub urls: BTreeMap<String, Vec<u8>>,
    pub log: Mutex<Vec<(LogStream, String)>>,
    pub ends: Mutex<Vec<i32>>,
    now: Mutex<DateTime<Utc>>,
}

impl DirHost {
    pub fn new() -> Self {
        Self {
            artifacts: BTreeMap::new(),
            bases: BTreeMap::new(),
            urls: BTreeMap::new(),
            log: Mutex::default(),
            ends: Mutex::default(),
            now: Mutex::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap()),
        }
    }

    pub fn with(mut self, id: i64, category: ArtifactCategory, data: Value, files: Vec<PathBuf>) -> Self {
        self.artifacts.insert(id, Stored { category, data, files });
        self
    }

    pub fn stored(mut self, id: i64, stored: Stored) -> Self {
        self.artifacts.insert(id, stored);
        self
    }

    /// The files of an artifact have the names that they have below `base`, not only their last part.
    pub fn below(mut self, id: i64, base: PathBuf) -> Self {
        self.bases.insert(id, base);
        self
    }

    fn name(&self, id: i64, file: &Path) -> String {
        let name = match self.bases.get(&id) {
            Some(base) => file.strip_prefix(base).unwrap(),
            None => Path::new(file.file_name().unwrap()),
        };
        name.to_str().unwrap().to_owned()
    }

    pub fn text(&self, stream: LogStream) -> String {
        self.log.lock().unwrap().iter().filter(|(of, _)| *of == stream).map(|(_, text)| text.as_str()).collect()
    }

    fn info(&self, id: i64) -> Result<ArtifactInfo, HostError> {
        let stored = self.artifacts.get(&id).ok_or(HostError::Artifact { id, reason: "not found".into() })?;
        let file = |path: &PathBuf| {
            let name: ArtifactPath = self.name(id, path).parse().unwrap();
            let size = path.metadata().unwrap().len();
            let url = format!("https://d.example/artifact/{id}/raw/{name}");
            (name, FileInfo { size, sha256: String::new(), url })
        };
        let files = stored.files.iter().map(file).collect();
        Ok(ArtifactInfo { id, category: stored.category, data: stored.data.clone(), files })
    }
}

impl Host for DirHost {
    fn artifact(&self, id: i64) -> BoxFuture<'_, Result<ArtifactInfo, HostError>> {
        Box::pin(async move { self.info(id) })
    }

    fn download(&self, id: i64, directory: PathBuf) -> BoxFuture<'_, Result<ArtifactInfo, HostError>> {
        Box::pin(async move {
            let info = self.info(id)?;
            for file in &self.artifacts[&id].files {
                let target = directory.join(self.name(id, file));
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::copy(file, target).unwrap();
            }
            Ok(info)
        })
    }

    fn image(&self, id: i64) -> BoxFuture<'_, Result<(ArtifactInfo, PathBuf), HostError>> {
        Box::pin(async move { Ok((self.info(id)?, self.artifacts[&id].files[0].clone())) })
    }

    fn fetch_url<'a>(&'a self, url: &'a str, max_bytes: u64, target: &'a Path) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let fault = |reason: &str| HostError::Url { url: url.to_owned(), reason: reason.to_owned() };
            let content = self.urls.get(url).ok_or_else(|| fault("404"))?;
            if content.len() as u64 > max_bytes {
                return Err(fault("too large"));
            }
            fs::write(target, content).map_err(|error| fault(&error.to_string()))
        })
    }

    fn log(&self, stream: LogStream, data: &[u8]) {
        self.log.lock().unwrap().push((stream, String::from_utf8_lossy(data).into_owned()));
    }

    fn log_end(&self, exit_code: i32) {
        self.ends.lock().unwrap().push(exit_code);
    }

    /// Half a second passes with each look at the clock.
    fn now(&self) -> DateTime<Utc> {
        let mut now = self.now.lock().unwrap();
        *now += TimeDelta::milliseconds(500);
        *now
    }
}

/// A directory for a run, and the rest that a worker says.
pub fn surroundings(root: &TempDir, path: &str, identity: Option<Identity>) -> Surroundings {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = tempfile::Builder::new().prefix("WR-42-").tempdir_in(root.path()).unwrap().keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    Surroundings {
        work_request_id: 42,
        workspace: "System".into(),
        directory,
        path: path.into(),
        environment: BTreeMap::new(),
        http_read_timeout: 30,
        identity,
        resources: Resources::default(),
        cancel: CancellationToken::new(),
    }
}

/// The artifacts of a category.
pub fn of(outcome: &Outcome, category: ArtifactCategory) -> Vec<&NewArtifact> {
    outcome.artifacts.iter().filter(|artifact| artifact.category == category).collect()
}

/// A file of the debug logs, which must be the last artifact.
pub fn log(outcome: &Outcome, name: &str) -> Option<String> {
    let last = outcome.artifacts.last().expect("there are debug logs");
    assert_eq!(last.category, ArtifactCategory::WorkRequestDebugLogs);
    assert_eq!(last.data, serde_json::to_value(WorkRequestDebugLogs {}).unwrap());
    let file = last.files.iter().find(|(path, _)| path.as_str() == name)?.1;
    Some(String::from_utf8_lossy(&fs::read(&file.path).unwrap()).into_owned())
}

/// Relations as `from type to`; ends are the short name of the category, or the id.
pub fn relations(outcome: &Outcome) -> Vec<String> {
    let end = |end: &ArtifactRef| match end {
        ArtifactRef::Made(index) => {
            outcome.artifacts[*index].category.to_string().split_once(':').unwrap().1.to_owned()
        }
        ArtifactRef::Existing(id) => id.to_string(),
    };
    let relation_type = |relation_type: RelationType| relation_type.to_string();
    let text = |r: &usine_tasks::NewRelation| {
        format!("{} {} {}", end(&r.artifact), relation_type(r.relation_type), end(&r.target))
    };
    outcome.relations.iter().map(text).collect()
}
