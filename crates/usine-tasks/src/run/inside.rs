//! The part of the work bench that has to do with an instance: a system of the task's own, its packages, its commands,
//! files in and out.

use std::path::{Path, PathBuf};

use usine_debian::Version;

use super::bench::COMMAND_LOG;
use super::process::{self, Command, Ended, quote_all};
use super::{Bench, Shell, Step, TaskError};
use crate::executor::{self, Backend, Image, Inside, USER, VirtServer, instance};

/// Whether packages bring those that they recommend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recommends {
    Yes,
    No,
}

/// The log of what was installed in an instance.
pub(crate) const INSTALL_LOG: &str = "install.log";

impl Bench<'_> {
    /// The environment of a task, from the worker's cache. The backend decides what it may be.
    pub(crate) async fn environment(&mut self, backend: Backend, id: i64) -> Result<Image, TaskError> {
        let (artifact, path) = self.image(id).await?;
        let (actual, expected) = (artifact.category, backend.image_category());
        if actual != expected {
            return Err(TaskError::Other(format!("Unexpected artifact type {actual}; expected {expected}")));
        }
        Ok(Image { artifact, path })
    }

    /// How autopkgtest and sbuild get to a system of this backend, with the image where they look for it.
    pub(crate) async fn virt_server(&self, backend: Backend, image: &Image) -> Result<VirtServer, TaskError> {
        let server = executor::virt_server(backend, image)?;
        if executor::needs_import(backend) {
            let directory = self.make_directory(&format!("{}-", backend.decided()), 0o755)?;
            let imported = executor::import(backend, image, &directory, self.shell()).await;
            self.remove(&directory).await;
            imported?;
        }
        Ok(server)
    }

    /// Makes an instance from an environment and starts it. It is stopped at the end of the run.
    pub(crate) async fn start_instance(&mut self, backend: Backend, environment: i64) -> Result<Image, TaskError> {
        let image = self.environment(backend, environment).await?;
        self.check_reachable(&self.surroundings.directory)?;
        let directory = self.make_directory(&format!("{}-", backend.decided()), 0o755)?;
        // Kept before it is started: what a start left halfway is removed, too.
        let instance = self.instance.insert(instance(backend, &image, directory)?);
        instance.start(Shell::new(self.surroundings, &self.exec, &self.watch.meter)).await?;
        Ok(image)
    }

    /// Brings packages into the instance, noted in [`INSTALL_LOG`].
    pub(crate) async fn install(&mut self, packages: &[&str], recommends: Recommends) -> Result<(), TaskError> {
        let mut install = vec!["apt-get", "--yes"];
        if recommends == Recommends::No {
            install.push("--no-install-recommends");
        }
        install.push("install");
        install.extend(packages);
        for argv in [vec!["apt-get", "update"], install] {
            let inside = Inside::as_root(argv).with("DEBIAN_FRONTEND", "noninteractive");
            let shown = quote_all(&inside.argv);
            self.append_log(INSTALL_LOG, &format!("Executing: {shown}\n"))?;
            let step = Step::of(self.inside(&inside)?);
            let output = self.shell().attempt(step).await?;
            for text in [&output.stdout, &output.stderr] {
                self.append_log(INSTALL_LOG, &String::from_utf8_lossy(text))?;
            }
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr);
                return Err(TaskError::Other(format!(
                    "{shown} failed in the environment ({}): {}",
                    output.status,
                    reason.trim()
                )));
            }
            self.append_log(INSTALL_LOG, "Execution completed (exit code 0)\n")?;
        }
        Ok(())
    }

    /// The version of a package inside.
    pub(crate) async fn installed_version(&self, package: &str) -> Result<Version, TaskError> {
        let query = Inside::as_root(["dpkg-query", "--show", "--showformat=${Version}", package]);
        let version = String::from_utf8_lossy(&self.output_inside(&query).await?).into_owned();
        version
            .trim()
            .parse()
            .map_err(|error| TaskError::Other(format!("version of {package} in the environment: {error}")))
    }

    /// Runs a command of the task inside: logged, streamed, ended with the run. `capture` names a file in [`Bench::exec`]
    /// for its standard output.
    pub(crate) async fn run_inside(&mut self, inside: &Inside, capture: Option<&str>) -> Result<Ended, TaskError> {
        if self.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let host = self.inside(inside)?;
        let command = Command {
            argv: host.argv,
            shown: Some(inside.argv.clone()),
            capture: capture.map(str::to_owned),
            ..Command::default()
        };
        let log = self.logs.join(COMMAND_LOG);
        let place = self.place(&log, host.environment);
        let ended = process::run(&command, &place).await;
        ended.map_err(TaskError::io(format!("command {}", inside.argv.first().map_or("", String::as_str))))
    }

    /// The standard output of a short command inside that succeeds.
    pub(crate) async fn output_inside(&self, inside: &Inside) -> Result<Vec<u8>, TaskError> {
        self.shell().output(Step::of(self.inside(inside)?)).await
    }

    /// Copies all that is in a directory to the same place inside, modes included.
    pub(crate) async fn push_directory(&self, path: &Path) -> Result<(), TaskError> {
        self.make_directory_inside(path).await?;
        let directory = path.display().to_string();
        let unpack = Inside::new(["tar", "--extract", "--preserve-permissions", "--directory", &directory]);
        let pack = ["tar", "--create", "--directory", &directory, "."];
        self.shell().output(Step::of(self.inside(&unpack)?).fed_by(pack)).await.map(drop)
    }

    /// Copies a file from inside to a new file. Links are followed inside, never on the worker.
    pub(crate) async fn pull(&self, source: &Path, target: &Path) -> Result<(), TaskError> {
        self.pull_output(&Inside::as_root(["cat".to_owned(), source.display().to_string()]), target).await
    }

    /// Writes the standard output of a command inside that succeeds to a new file.
    pub(crate) async fn pull_output(&self, inside: &Inside, target: &Path) -> Result<(), TaskError> {
        let pulled = self.shell().output(Step::of(self.inside(inside)?).writing(target)?).await;
        pulled.and_then(|_| self.own(target))
    }

    /// Makes a directory inside that belongs to [`USER`], and those above it.
    pub(crate) async fn make_directory_inside(&self, path: &Path) -> Result<(), TaskError> {
        let path = path.display().to_string();
        let script = r#"mkdir --mode=755 --parents "$1" && chown "$2:" "$1""#;
        self.output_inside(&Inside::as_root(["sh", "-c", script, "mkdir", &path, USER])).await.map(drop)
    }

    /// Before the task's command: the user, the directories, and what was downloaded.
    pub(super) async fn furnish_instance(&mut self) -> Result<(), TaskError> {
        if self.instance.is_none() {
            return Ok(());
        }
        let script = "if [ ! -x /usr/sbin/useradd ]; then apt-get update && apt-get -y install passwd; fi\n\
             getent passwd \"$1\" > /dev/null || /usr/sbin/useradd \"$1\"";
        self.output_inside(&Inside::as_root(["sh", "-c", script, "useradd", USER])).await?;
        let (fetch, exec): (PathBuf, PathBuf) = (self.fetch.clone(), self.exec.clone());
        self.make_directory_inside(&self.surroundings.directory).await?;
        self.push_directory(&fetch).await?;
        self.make_directory_inside(&exec).await
    }

    /// Whatever happened before.
    pub(super) async fn stop_instance(&mut self) -> Result<(), TaskError> {
        match self.instance.take() {
            Some(mut instance) => instance.stop(self.shell()).await,
            None => Ok(()),
        }
    }

    fn inside(&self, inside: &Inside) -> Result<crate::executor::HostCommand, TaskError> {
        let instance = self.instance.as_ref();
        let instance = instance.ok_or_else(|| TaskError::Other("the task has no instance".to_owned()))?;
        Ok(instance.command(inside))
    }
}
