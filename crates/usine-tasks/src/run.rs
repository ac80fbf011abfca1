//! Running a task on a worker: what the worker gives to it, what it gives back, and the phases in between.

mod bench;
mod cgroup;
mod execute;
mod inside;
mod process;
mod resources;
mod rules;
mod shell;
mod statistics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
pub(crate) use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use usine_model::artifact::{ArtifactCategory, ArtifactPath, RelationType};
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;

pub(crate) use bench::{Bench, TaskError, names_in};
pub use cgroup::Cgroups;
pub use execute::execute;
pub(crate) use inside::Recommends;
pub(crate) use process::{Command, newest_file, quote, quote_all};
pub use resources::Resources;
pub(crate) use shell::{Shell, Step};

/// Which stream of the live log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Output of a command; its standard error too unless its standard output is captured.
    Stdout,
    /// Standard error of a command whose standard output is captured.
    Stderr,
    /// The task's own messages.
    Internal,
}

/// What the worker does for a running task.
pub trait Host: Send + Sync {
    /// What an artifact is.
    fn artifact(&self, id: i64) -> BoxFuture<'_, Result<ArtifactInfo, HostError>>;

    /// Downloads an artifact's files into an existing directory, each to a new file, and checks their sums.
    fn download(&self, id: i64, directory: PathBuf) -> BoxFuture<'_, Result<ArtifactInfo, HostError>>;

    /// The file of an environment, from the worker's cache of images. Everybody may read it.
    fn image(&self, id: i64) -> BoxFuture<'_, Result<(ArtifactInfo, PathBuf), HostError>>;

    /// Downloads what is at an http or https URL into the new file `target`; fails if it has more than `max_bytes`.
    fn fetch_url<'a>(&'a self, url: &'a str, max_bytes: u64, target: &'a Path) -> BoxFuture<'a, Result<(), HostError>>;

    /// A piece of the live log, at most 64 KiB, cut between characters if the text is UTF-8.
    fn log(&self, stream: LogStream, data: &[u8]);

    /// A command ended; −1 if it was killed or aborted.
    fn log_end(&self, exit_code: i32);

    /// The time.
    fn now(&self) -> DateTime<Utc>;
}

/// What the worker could not do for a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// An artifact that cannot be had.
    #[error("cannot get artifact {id}: {reason}")]
    Artifact {
        /// Its id.
        id: i64,
        /// Why.
        reason: String,
    },
    /// A URL that cannot be had.
    #[error("cannot download {url}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
}

/// An artifact as the server describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ArtifactInfo {
    /// Its id.
    pub id: i64,
    /// What it is.
    pub category: ArtifactCategory,
    /// Its data.
    pub data: Value,
    /// Its files.
    pub files: BTreeMap<ArtifactPath, FileInfo>,
}

/// A file of an artifact on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// In bytes.
    pub size: u64,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Where to get it.
    pub url: String,
}

/// Where and how a task runs.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The work request.
    pub work_request_id: i64,
    /// Its workspace.
    pub workspace: String,
    /// A directory for this run alone. It exists, with mode 0755, and all directories above it can be searched by everybody
    /// (subordinate user ids must reach it). The worker removes it when it has taken the artifacts' files.
    pub directory: PathBuf,
    /// Where commands are found: the `PATH` they get.
    pub path: String,
    /// What the worker's configuration adds to their environment.
    pub environment: BTreeMap<String, String>,
    /// Seconds that programs of the task should wait for a mirror.
    pub http_read_timeout: u32,
    /// The user that commands run as; without one, the worker's own. Only root can choose.
    pub identity: Option<Identity>,
    /// What it may use, and the means to measure it.
    pub resources: Resources,
    /// Cancelled when the worker wants to stop.
    pub cancel: CancellationToken,
}

/// An ordinary user with subordinate ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The result; `None` if the run was cancelled: then there is nothing to report.
    pub result: Option<Results>,
    /// Statistics, or why the task could not run.
    pub output_data: OutputData,
    /// What was made, in the order of upload; the debug logs are last.
    pub artifacts: Vec<NewArtifact>,
    /// How these relate, in the order of creation.
    pub relations: Vec<NewRelation>,
}

/// An artifact to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewArtifact {
    /// What it is.
    pub category: ArtifactCategory,
    /// Its data, a JSON object.
    pub data: Value,
    /// Its files.
    pub files: BTreeMap<ArtifactPath, LocalFile>,
}

/// A file to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is, in [`Surroundings::directory`].
    pub path: PathBuf,
    /// Its content type, if known.
    pub content_type: Option<String>,
}

/// One end of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactRef {
    /// An index of [`Outcome::artifacts`].
    Made(usize),
    /// An artifact on the server.
    Existing(i64),
}

/// A relation to be created: `artifact` `relation_type` `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRelation {
    /// What relates.
    pub artifact: ArtifactRef,
    /// To what.
    pub target: ArtifactRef,
    /// How.
    pub relation_type: RelationType,
}

/// A task that is ready to run, phase by phase. Phases that a task does not need have a default.
pub trait Run: Send {
    /// Downloads inputs. `false` ends the run with a failure.
    fn fetch<'a>(&'a mut self, _bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async { Ok(true) })
    }

    /// Chooses files, writes configuration. `false` ends the run with a failure.
    fn configure<'a>(&'a mut self, _bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async { Ok(true) })
    }

    /// Runs the commands.
    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>>;

    /// What is inconsistent in the output; anything makes a failure of the result.
    fn check<'a>(&'a mut self, _bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Hands over what was made; also called when the result is not success.
    fn upload<'a>(&'a mut self, _bench: &'a mut Bench<'_>, _result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async { Ok(()) })
    }

    /// Ends what was begun, whatever happened.
    fn clean_up<'a>(&'a mut self, _bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async { Ok(()) })
    }
}

impl NewArtifact {
    /// An artifact without files.
    pub(crate) fn new(category: ArtifactCategory, data: &impl serde::Serialize) -> Result<Self, TaskError> {
        let data = serde_json::to_value(data).map_err(|error| TaskError::Other(error.to_string()))?;
        Ok(Self { category, data, files: BTreeMap::new() })
    }

    /// Adds a file under its own name; its content type is guessed from that unless given.
    pub(crate) fn with_file(self, path: &Path, content_type: Option<&str>) -> Result<Self, TaskError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name =
            name.parse().map_err(|error| TaskError::Other(format!("cannot upload {}: {error}", path.display())))?;
        Ok(self.with_file_as(name, path, content_type))
    }

    /// The same under another name.
    pub(crate) fn with_file_as(mut self, name: ArtifactPath, path: &Path, content_type: Option<&str>) -> Self {
        let content_type = content_type.or_else(|| content_type_of(name.as_str())).map(str::to_owned);
        self.files.insert(name, LocalFile { path: path.to_owned(), content_type });
        self
    }
}

/// Text that is sent as such.
pub(crate) const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Bytes of no known kind.
pub(crate) const BYTES: &str = "application/octet-stream";

/// The content types that libmagic finds, by the suffixes that tasks make.
fn content_type_of(name: &str) -> Option<&'static str> {
    let (_, suffix) = name.rsplit_once('.')?;
    match suffix {
        "buildinfo" | "dsc" | "changes" => Some(PLAIN_TEXT),
        "md" => Some("text/markdown; charset=utf-8"),
        "json" => Some("application/json; charset=utf-8"),
        "deb" | "udeb" | "ddeb" => Some("application/vnd.debian.binary-package; charset=binary"),
        "xz" => Some("application/x-xz; charset=binary"),
        "gz" => Some("application/gzip; charset=binary"),
        "bz2" => Some("application/x-bzip2; charset=binary"),
        "zst" => Some("application/zstd; charset=binary"),
        _ => None,
    }
}
