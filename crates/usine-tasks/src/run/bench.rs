//! What a task works with while it runs: its directories, logs and commands, and the tray where it puts what it made.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::SecondsFormat;
use usine_model::artifact::{ArtifactCategory, RelationType, WorkRequestDebugLogs};
use walkdir::WalkDir;

use super::process::{self, Command, Ended, Place, quote_all};
use super::resources::Meter;
use super::statistics::Watch;
use super::{
    ArtifactInfo, ArtifactRef, Host, HostError, LogStream, NewArtifact, NewRelation, PLAIN_TEXT, Shell, Step,
    Surroundings,
};
use crate::executor::{Instance, unshare_remove};

/// The log of all commands of a task.
pub(super) const COMMAND_LOG: &str = "cmd-output.log";

/// Why a phase broke off. All but cancellation end in the phase's log file.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The worker wants to stop.
    #[error("the run was cancelled")]
    Cancelled,
    /// The worker could not get something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file in one of Debian's formats.
    #[error(transparent)]
    Debian(#[from] usine_debian::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TaskError {
    /// For `map_err`: says what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The kind, as logs name it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::Host(_) => "HostError",
            Self::Io { .. } => "IoError",
            Self::Debian(_) => "DebianFileError",
            Self::Other(_) => "TaskError",
        }
    }
}

/// The work bench of one run.
pub struct Bench<'a> {
    /// Where and how the task runs.
    pub(crate) surroundings: &'a Surroundings,
    /// The worker.
    pub(crate) host: &'a dyn Host,
    /// Working directory of commands, for what they make.
    pub(crate) exec: PathBuf,
    /// For downloads.
    pub(crate) fetch: PathBuf,
    /// For what becomes the debug logs.
    pub(crate) logs: PathBuf,
    pub(super) watch: Watch,
    pub(super) artifacts: Vec<NewArtifact>,
    pub(super) relations: Vec<NewRelation>,
    /// The artifacts that were downloaded, in order: the targets of relations.
    fetched: Vec<i64>,
    /// The system that commands run in, if the task has one.
    pub(super) instance: Option<Box<dyn Instance>>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(surroundings: &'a Surroundings, host: &'a dyn Host) -> Result<Self, TaskError> {
        let logs = surroundings.directory.join("logs");
        fs::create_dir(&logs).map_err(TaskError::io(format!("cannot create {}", logs.display())))?;
        let mut bench = Self {
            surroundings,
            host,
            exec: PathBuf::new(),
            fetch: PathBuf::new(),
            logs,
            watch: Watch::start(host.now(), Meter::start(surroundings)),
            artifacts: Vec::new(),
            relations: Vec::new(),
            fetched: Vec::new(),
            instance: None,
        };
        bench.exec = bench.make_directory("exec-", 0o700)?;
        bench.fetch = bench.make_directory("fetch-", 0o700)?;
        Ok(bench)
    }

    /// Whether the worker wants to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.surroundings.cancel.is_cancelled()
    }

    /// What an artifact is.
    pub(crate) async fn artifact(&self, id: i64) -> Result<ArtifactInfo, TaskError> {
        self.unless_cancelled(self.host.artifact(id)).await
    }

    /// An artifact whose category must be one of `expected`; `None` if it is not, which the log says.
    pub(crate) async fn expect(
        &self,
        field: &str,
        id: i64,
        expected: &[ArtifactCategory],
    ) -> Result<Option<ArtifactInfo>, TaskError> {
        let artifact = self.artifact(id).await?;
        if expected.contains(&artifact.category) {
            return Ok(Some(artifact));
        }
        let names: Vec<String> = expected.iter().map(ToString::to_string).collect();
        let (category, expected) = (artifact.category, names.join(" or "));
        let text = format!("{field} points to a {category}, not the expected {expected}.\n");
        self.append_log("fetch_input.log", &text)?;
        Ok(None)
    }

    /// Downloads an artifact into [`Bench::fetch`]. Two inputs with a file of the same name are an error.
    pub(crate) async fn download(&mut self, artifact: &ArtifactInfo) -> Result<(), TaskError> {
        self.download_into(artifact, &self.fetch.clone()).await
    }

    /// Downloads an artifact into a directory of its own below [`Bench::fetch`], which is made.
    pub(crate) async fn download_apart(&mut self, artifact: &ArtifactInfo, name: &str) -> Result<PathBuf, TaskError> {
        let directory = self.fetch.join(name);
        fs::create_dir(&directory).map_err(TaskError::io(format!("cannot create {}", directory.display())))?;
        self.download_into(artifact, &directory).await?;
        Ok(directory)
    }

    async fn download_into(&mut self, artifact: &ArtifactInfo, directory: &Path) -> Result<(), TaskError> {
        let taken: Vec<_> =
            artifact.files.keys().map(|path| path.as_str()).filter(|path| directory.join(path).exists()).collect();
        if !taken.is_empty() {
            let names = taken.join(", ");
            return Err(TaskError::Other(format!(
                "artifact {} has files that another input has too: {names}",
                artifact.id
            )));
        }
        self.unless_cancelled(self.host.download(artifact.id, directory.to_owned())).await?;
        self.fetched.push(artifact.id);
        for entry in WalkDir::new(directory).into_iter().filter_map(Result::ok) {
            self.own(entry.path())?;
        }
        Ok(())
    }

    /// The file of an environment.
    pub(crate) async fn image(&mut self, id: i64) -> Result<(ArtifactInfo, PathBuf), TaskError> {
        self.unless_cancelled(self.host.image(id)).await
    }

    /// Downloads a URL into a new file.
    pub(crate) async fn fetch_url(&self, url: &str, max_bytes: u64, target: &Path) -> Result<(), TaskError> {
        self.unless_cancelled(self.host.fetch_url(url, max_bytes, target)).await?;
        self.own(target)
    }

    /// What the worker brings fills its cache, too: that is not the run's.
    async fn unless_cancelled<T>(&self, future: impl Future<Output = Result<T, HostError>>) -> Result<T, TaskError> {
        let _uncounted = self.watch.meter.pause_disk();
        tokio::select! {
            biased;
            () = self.surroundings.cancel.cancelled() => Err(TaskError::Cancelled),
            done = future => Ok(done?),
        }
    }

    /// A new directory `PREFIX<random>` that belongs to the user of the commands.
    pub(crate) fn make_directory(&self, prefix: &str, mode: u32) -> Result<PathBuf, TaskError> {
        let parent = &self.surroundings.directory;
        let fault = || TaskError::io(format!("cannot create a directory in {}", parent.display()));
        let path = tempfile::Builder::new().prefix(prefix).tempdir_in(parent).map_err(fault())?.keep();
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(fault())?;
        self.own(&path)?;
        Ok(path)
    }

    /// Writes a new file that belongs to the user of the commands.
    pub(crate) fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), TaskError> {
        let fault = || TaskError::io(format!("cannot write {}", path.display()));
        let mut file = File::create_new(path).map_err(fault())?;
        file.write_all(content).map_err(fault())?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(fault())?;
        self.own(path)
    }

    /// Gives a file to the user of the commands.
    pub(crate) fn own(&self, path: &Path) -> Result<(), TaskError> {
        self.shell().own(path)
    }

    /// For the short commands around the task's own, in [`Bench::exec`].
    pub(crate) fn shell(&self) -> Shell<'_> {
        Shell::new(self.surroundings, &self.exec, &self.watch.meter)
    }

    /// Processes in a user namespace open files as subordinate users: everybody must be able to get to `path`.
    pub(crate) fn check_reachable(&self, path: &Path) -> Result<(), TaskError> {
        for directory in path.ancestors().filter(|directory| directory.is_dir()) {
            let mode = fs::metadata(directory)
                .map_err(TaskError::io(format!("cannot look at {}", directory.display())))?
                .permissions()
                .mode();
            if mode & 0o001 == 0 {
                return Err(TaskError::Other(format!(
                    "{} has mode {:04o}, but subordinate users must be able to search it: chmod o+x {}",
                    directory.display(),
                    mode & 0o7777,
                    quote_all(&[directory.display().to_string()]),
                )));
            }
        }
        Ok(())
    }

    /// Appends to a log file.
    pub(crate) fn append_log(&self, name: &str, text: &str) -> Result<(), TaskError> {
        let path = self.logs.join(name);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(TaskError::io(format!("cannot write {}", path.display())))
    }

    /// A line of `stages.log`, of the live log, and of the worker's own log.
    pub(super) fn announce(&self, text: &str) -> Result<(), TaskError> {
        tracing::info!(
            work_request = self.surroundings.work_request_id,
            "Work request {}: {text}",
            self.surroundings.work_request_id
        );
        self.host.log(LogStream::Internal, format!("{text}\n").as_bytes());
        let now = self.host.now().to_rfc3339_opts(SecondsFormat::Micros, false);
        self.append_log("stages.log", &format!("{now} {text}\n"))
    }

    /// Runs a command in [`Bench::exec`], with a `TMPDIR` that is gone afterwards.
    pub(crate) async fn run(&mut self, command: &Command) -> Result<Ended, TaskError> {
        if self.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let temporary = self.make_directory("tmp-", 0o755)?;
        let mut environment = self.shell().environment();
        environment.insert("TMPDIR".to_owned(), temporary.display().to_string());
        let log = self.logs.join(COMMAND_LOG);
        let place = self.place(&log, environment);
        let ended = process::run(command, &place).await;
        self.remove(&temporary).await;
        ended.map_err(TaskError::io(format!("command {}", command.argv.first().map_or("", String::as_str))))
    }

    /// Where and how a command of the task runs.
    pub(super) fn place<'s>(&'s self, log: &'s Path, environment: BTreeMap<String, String>) -> Place<'s> {
        Place {
            directory: &self.exec,
            log,
            environment,
            identity: self.surroundings.identity.as_ref(),
            host: self.host,
            cancel: &self.surroundings.cancel,
            meter: &self.watch.meter,
        }
    }

    /// The standard output of a short command that succeeds.
    pub(crate) async fn output(&self, argv: &[String]) -> Result<Vec<u8>, TaskError> {
        self.shell().output(Step::new(argv.iter().cloned())).await
    }

    /// Removes a directory; what belongs to subordinate users is removed as their root. A failure is only logged.
    pub(crate) async fn remove(&self, directory: &Path) {
        if fs::remove_dir_all(directory).is_ok() {
            return;
        }
        let removal = Step::new(unshare_remove([directory.display().to_string()]));
        let asked = self.shell().uncancellable().output(removal).await;
        if directory.symlink_metadata().is_ok() {
            let reason = asked.err().map_or("no reason given".to_owned(), |error| error.to_string());
            tracing::warn!(directory = %directory.display(), reason, "cannot remove what a task left");
        }
    }

    /// Puts an artifact on the tray.
    ///
    /// # Errors
    /// If one of its files is not a regular file: a task's commands must not make the worker upload what a link names.
    /// If it breaks a rule of its category.
    pub(crate) fn upload(&mut self, mut artifact: NewArtifact) -> Result<ArtifactRef, TaskError> {
        for file in artifact.files.values() {
            let what = format!("cannot upload {}", file.path.display());
            let kind = file.path.symlink_metadata().map_err(TaskError::io(what.clone()))?;
            if !kind.is_file() {
                return Err(TaskError::Other(format!("{what}: not a regular file")));
            }
        }
        artifact.follow_rules()?;
        self.artifacts.push(artifact);
        Ok(ArtifactRef::Made(self.artifacts.len() - 1))
    }

    /// Puts a relation on the tray.
    pub(crate) fn relate(&mut self, artifact: ArtifactRef, relation_type: RelationType, target: ArtifactRef) {
        self.relations.push(NewRelation { artifact, target, relation_type });
    }

    /// Relates an artifact to each downloaded input.
    pub(crate) fn relate_to_fetched(&mut self, artifact: ArtifactRef, relation_type: RelationType) {
        for id in self.fetched.clone() {
            self.relate(artifact, relation_type, ArtifactRef::Existing(id));
        }
    }

    /// Puts the log files on the tray, as the last artifact.
    pub(super) fn upload_logs(&mut self) -> Result<(), TaskError> {
        let mut artifact = NewArtifact::new(ArtifactCategory::WorkRequestDebugLogs, &WorkRequestDebugLogs {})?;
        let entries =
            fs::read_dir(&self.logs).map_err(TaskError::io(format!("cannot list {}", self.logs.display())))?;
        for entry in entries.filter_map(Result::ok) {
            artifact = artifact.with_file(&entry.path(), Some(PLAIN_TEXT))?;
        }
        let logs = self.upload(artifact)?;
        self.relate_to_fetched(logs, RelationType::RelatesTo);
        Ok(())
    }
}

/// The names in `directory` that `wanted` lets through, sorted.
pub(crate) fn names_in(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, TaskError> {
    let fault = || TaskError::io(format!("cannot list {}", directory.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(fault())? {
        let name = entry.map_err(fault())?.file_name().to_string_lossy().into_owned();
        if wanted(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
