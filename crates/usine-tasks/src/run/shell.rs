//! The short commands around a task's own ones: as the same user, in the same environment; silent unless they fail.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::process::{Group, quote_all};
use super::resources::Meter;
use super::{Surroundings, TaskError};
use crate::executor::HostCommand;

/// Runs [`Step`]s.
#[derive(Clone, Copy)]
pub(crate) struct Shell<'a> {
    surroundings: &'a Surroundings,
    directory: &'a Path,
    meter: &'a Meter,
    cancellable: bool,
}

/// Longest output of a short command that is kept, in bytes: some come from environments that anybody may have made.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;

/// A command that was started.
struct Running {
    child: Child,
    group: Group,
}

/// A command, and where its standard input comes from and its standard output goes to.
pub(crate) struct Step {
    argv: Vec<String>,
    /// `None`: the one of the task's commands.
    environment: Option<BTreeMap<String, String>>,
    input: Stdio,
    output: Option<File>,
    feeder: Option<Vec<String>>,
}

impl Step {
    /// A command in the environment of the task's commands.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self { argv, environment: None, input: Stdio::null(), output: None, feeder: None }
    }

    /// A command with an environment of its own.
    pub fn of(command: HostCommand) -> Self {
        Self { environment: Some(command.environment), ..Self::new(command.argv) }
    }

    /// Reads a file, as the worker itself.
    pub fn reading(self, path: &Path) -> Result<Self, TaskError> {
        let file = File::open(path).map_err(TaskError::io(format!("cannot read {}", path.display())))?;
        Ok(Self { input: file.into(), ..self })
    }

    /// Reads the standard output of another command, which must succeed as well.
    pub fn fed_by<T: Into<String>>(self, argv: impl IntoIterator<Item = T>) -> Self {
        Self { feeder: Some(argv.into_iter().map(Into::into).collect()), ..self }
    }

    /// Writes to a new file.
    pub fn writing(self, path: &Path) -> Result<Self, TaskError> {
        let file = File::create_new(path).map_err(TaskError::io(format!("cannot write {}", path.display())))?;
        Ok(Self { output: Some(file), ..self })
    }
}

impl<'a> Shell<'a> {
    /// Commands run in `directory`.
    pub(super) fn new(surroundings: &'a Surroundings, directory: &'a Path, meter: &'a Meter) -> Self {
        Self { surroundings, directory, meter, cancellable: true }
    }

    /// For what must be done when the run is cancelled, too.
    pub fn uncancellable(self) -> Self {
        Self { cancellable: false, ..self }
    }

    /// Waits, unless the run is cancelled meanwhile.
    pub async fn pause(&self, time: Duration) -> Result<(), TaskError> {
        tokio::select! {
            biased;
            () = self.surroundings.cancel.cancelled(), if self.cancellable => Err(TaskError::Cancelled),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Where commands are found.
    pub fn path(&self) -> &'a str {
        &self.surroundings.path
    }

    /// Gives a file to the user of the commands.
    pub fn own(&self, path: &Path) -> Result<(), TaskError> {
        match &self.surroundings.identity {
            Some(identity) => lchown(path, Some(identity.uid), Some(identity.gid)).map_err(TaskError::io(format!(
                "cannot give {} to {}",
                path.display(),
                identity.name
            ))),
            None => Ok(()),
        }
    }

    /// `PATH` and what the worker's configuration says: nothing else of the worker's own environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([("PATH".to_owned(), self.surroundings.path.clone())]);
        environment.extend(self.surroundings.environment.clone());
        environment
    }

    /// The standard output of a command that succeeds.
    pub async fn output(&self, step: Step) -> Result<Vec<u8>, TaskError> {
        let shown = quote_all(&step.argv);
        let output = self.attempt(step).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(TaskError::Other(format!("{shown} failed ({}): {}", output.status, text.trim())))
    }

    /// How a command ended, and what it wrote.
    pub async fn attempt(&self, step: Step) -> Result<Output, TaskError> {
        let shown = quote_all(&step.argv);
        let fault = || TaskError::io(format!("cannot run {shown}"));
        let environment = step.environment.unwrap_or_else(|| self.environment());
        let mut command = self.prepare(&step.argv, &environment)?;
        command.stdout(step.output.map_or_else(Stdio::piped, Stdio::from));
        let Some(feeder) = step.feeder else {
            let child = self.spawn(command.stdin(step.input)).map_err(fault())?;
            return self.finish(child, &shown).await;
        };
        let (reader, writer) = io::pipe().map_err(fault())?;
        let child = self.spawn(command.stdin(reader)).map_err(fault())?;
        // The ends of the pipe are in there; while they are open it does not end.
        drop(command);
        let mut source = self.prepare(&feeder, &self.environment())?;
        let feeding = self.spawn(source.stdout(writer)).map_err(fault())?;
        drop(source);
        let shown_feeder = quote_all(&feeder);
        let (output, fed) = tokio::join!(self.finish(child, &shown), self.finish(feeding, &shown_feeder));
        let (output, fed) = (output?, fed?);
        if output.status.success() && !fed.status.success() {
            let text = String::from_utf8_lossy(&fed.stderr);
            return Err(TaskError::Other(format!("{shown_feeder} failed ({}): {}", fed.status, text.trim())));
        }
        Ok(output)
    }

    /// Starts a command in a process group of its own, counted with the rest of the run.
    fn spawn(&self, command: &mut Command) -> io::Result<Running> {
        let child = command.spawn()?;
        let group = Group::of(&child);
        if let Some(id) = child.id() {
            self.meter.begin(id);
        }
        Ok(Running { child, group })
    }

    /// Its end; a cancelled run and a limit that is passed bring it, too, and nothing of the command is left then.
    async fn finish(&self, running: Running, shown: &str) -> Result<Output, TaskError> {
        let Running { mut child, mut group } = running;
        let (out, error) = (child.stdout.take(), child.stderr.take());
        let gathered = async {
            let (stdout, stderr) = tokio::try_join!(gather(out), gather(error))?;
            Ok::<_, io::Error>((stdout, stderr))
        };
        let outcome = tokio::select! {
            biased;
            () = self.surroundings.cancel.cancelled(), if self.cancellable => Err(TaskError::Cancelled),
            passed = self.meter.limit_passed(), if self.cancellable => Err(TaskError::Other(passed.message())),
            gathered = gathered => gathered.map_err(TaskError::io(format!("cannot run {shown}"))),
        };
        if outcome.is_err() {
            group.kill();
        }
        let status = child.wait().await.map_err(TaskError::io(format!("cannot run {shown}")))?;
        group.kill_for_good();
        self.meter.forget();
        let (stdout, stderr) = outcome?;
        Ok(Output { status, stdout, stderr })
    }

    fn prepare(&self, argv: &[String], environment: &BTreeMap<String, String>) -> Result<Command, TaskError> {
        let [program, arguments @ ..] = argv else {
            return Err(TaskError::Other("there is no program to run".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment).current_dir(self.directory);
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        if let Some(identity) = &self.surroundings.identity {
            command.uid(identity.uid).gid(identity.gid);
        }
        Ok(command)
    }
}

/// All of a stream, unless it is too long.
async fn gather(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MAX_OUTPUT {
        return Err(io::Error::other(format!("more than {MAX_OUTPUT} bytes of output")));
    }
    Ok(bytes)
}
