//! The short commands around a task's own ones: as the same user, in the same environment; silent unless they fail.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use super::process::quote_all;
use super::{Surroundings, TaskError};
use crate::executor::HostCommand;

/// Runs [`Step`]s.
#[derive(Clone, Copy)]
pub(crate) struct Shell<'a> {
    surroundings: &'a Surroundings,
    directory: &'a Path,
    cancellable: bool,
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
    pub fn new(surroundings: &'a Surroundings, directory: &'a Path) -> Self {
        Self { surroundings, directory, cancellable: true }
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
        let running = async {
            let fault = || TaskError::io(format!("cannot run {shown}"));
            let environment = step.environment.unwrap_or_else(|| self.environment());
            let mut command = self.prepare(&step.argv, &environment)?;
            command.stderr(Stdio::piped());
            command.stdout(step.output.map_or_else(Stdio::piped, Stdio::from));
            let Some(feeder) = step.feeder else {
                command.stdin(step.input);
                let child = command.spawn().map_err(fault())?;
                drop(command);
                return child.wait_with_output().await.map_err(fault());
            };
            let (reader, writer) = io::pipe().map_err(fault())?;
            command.stdin(reader);
            let child = command.spawn().map_err(fault())?;
            drop(command);
            let mut source = self.prepare(&feeder, &self.environment())?;
            source.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
            let feeding = source.spawn().map_err(fault())?;
            drop(source);
            let (output, fed) = tokio::join!(child.wait_with_output(), feeding.wait_with_output());
            let (output, fed) = (output.map_err(fault())?, fed.map_err(fault())?);
            if output.status.success() && !fed.status.success() {
                let text = String::from_utf8_lossy(&fed.stderr);
                return Err(TaskError::Other(format!(
                    "{} failed ({}): {}",
                    quote_all(&feeder),
                    fed.status,
                    text.trim()
                )));
            }
            Ok(output)
        };
        if !self.cancellable {
            return running.await;
        }
        tokio::select! {
            biased;
            () = self.surroundings.cancel.cancelled() => Err(TaskError::Cancelled),
            output = running => output,
        }
    }

    fn prepare(
        &self,
        argv: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<tokio::process::Command, TaskError> {
        let [program, arguments @ ..] = argv else {
            return Err(TaskError::Other("there is no program to run".to_owned()));
        };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear().envs(environment).current_dir(self.directory).kill_on_drop(true);
        if let Some(identity) = &self.surroundings.identity {
            command.uid(identity.uid).gid(identity.gid);
        }
        Ok(command)
    }
}
