//! The `incus-lxc` and `incus-vm` executors: containers and virtual machines of Incus, made from an image that Incus keeps
//! under the alias `artifact/ID`. Whoever runs the commands must be allowed to use Incus (group `incus-admin`), and there
//! must be a profile `debusine` with a root disk and a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::incus_image;
use super::{Backend, HostCommand, Image, Inside, Instance, USER, User};
use crate::run::{BoxFuture, Shell, Step, TaskError};

/// The profile of all instances, which the administrator makes.
pub(super) const PROFILE: &str = "debusine";

/// How long a system may take to boot, and how often it is asked.
const BOOT: Duration = Duration::from_secs(60);
const BOOT_POLL: Duration = Duration::from_millis(200);

/// How long Incus may take to copy an image and start it, and to remove an instance. Cancelling does not end these, so that
/// without limits a daemon that hangs would keep the worker for ever.
const LAUNCH: Duration = Duration::from_secs(10 * 60);
const DELETE: Duration = Duration::from_secs(2 * 60);

/// Which of Incus's two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    VirtualMachine,
}

impl Kind {
    pub fn of(backend: Backend) -> Option<Self> {
        match backend.decided() {
            Backend::IncusLxc => Some(Self::Container),
            Backend::IncusVm => Some(Self::VirtualMachine),
            _ => None,
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Container => &[],
            Self::VirtualMachine => &["--vm"],
        }
    }
}

/// What Incus calls the image of an environment.
pub(super) fn alias(image: &Image) -> String {
    format!("artifact/{}", image.artifact.id)
}

/// The arguments of autopkgtest-virt-incus(1).
pub(super) fn virt_server_arguments(kind: Kind, image: &Image) -> Vec<String> {
    let alias = alias(image);
    words(kind.options().iter().copied().chain([alias.as_str(), "--", "--profile", PROFILE]))
}

/// An instance of Incus.
pub(super) struct Incus {
    kind: Kind,
    image: Image,
    directory: PathBuf,
    name: String,
    /// Of the commands on the worker; known when it starts.
    environment: BTreeMap<String, String>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// Whether there is something to remove is not known.
    Launching,
    Launched,
}

impl Incus {
    /// The name comes from the random part of the directory's.
    pub fn new(kind: Kind, image: Image, directory: PathBuf) -> Self {
        let path = directory.to_string_lossy().into_owned();
        let random = path.rsplit(['-', '/']).next().unwrap_or_default();
        let name = format!("debusine-{}", letters(random.bytes(), 0));
        Self { kind, image, directory, name, environment: BTreeMap::new(), state: State::New }
    }

    fn launch(&self) -> Vec<String> {
        let alias = alias(&self.image);
        let start = ["incus", "launch", "--ephemeral"].into_iter().chain(self.kind.options().iter().copied());
        words(start.chain(["--profile", PROFILE, &alias, &self.name]))
    }

    async fn launch_and_boot(&mut self, shell: Shell<'_>) -> Result<(), TaskError> {
        self.environment = shell.environment();
        incus_image::import(self.kind, &self.image, &self.directory, shell).await?;
        // Stopping must never hit an instance of somebody else.
        let first = self.name.clone();
        for shift in 1..26 {
            if !shell.attempt(Step::new(["incus", "info", &self.name])).await?.status.success() {
                break;
            }
            self.name = format!("debusine-{}", letters(first.trim_start_matches("debusine-").bytes(), shift));
        }
        self.state = State::Launching;
        // Incus would go on making the instance when its client is killed, and nobody would remove it.
        let (patient, action) = (shell.uncancellable(), format!("incus launch of {}", self.name));
        within(LAUNCH, &action, patient.output(Step::new(self.launch()))).await?;
        self.state = State::Launched;
        self.wait_for_boot(shell).await?;
        // The first thing that most tasks do is to fetch packages. An environment without systemd-networkd has nothing to
        // wait for; one without network fails where it needs it.
        shell
            .attempt(Step::of(self.command(&Inside::as_root(["systemctl", "start", "network-online.target"]))))
            .await?;
        Ok(())
    }

    async fn wait_for_boot(&self, shell: Shell<'_>) -> Result<(), TaskError> {
        let question = Inside::as_root(["systemctl", "is-system-running"]);
        let mut last = String::new();
        let booted = async {
            loop {
                let answer = shell.attempt(Step::of(self.command(&question))).await?;
                let said = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
                if ["running", "degraded", "maintenance"].contains(&said.as_str()) {
                    return Ok(());
                }
                last = if said.is_empty() { String::from_utf8_lossy(&answer.stderr).trim().to_owned() } else { said };
                shell.pause(BOOT_POLL).await?;
            }
        };
        tokio::time::timeout(BOOT, booted).await.unwrap_or_else(|_| {
            Err(TaskError::Other(format!(
                "{} hasn't booted or is missing incus-agent: after {} s systemctl is-system-running still says {last:?}",
                self.name,
                BOOT.as_secs()
            )))
        })
    }
}

impl Instance for Incus {
    fn start<'a>(&'a mut self, shell: Shell<'a>) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(self.launch_and_boot(shell))
    }

    /// When the client is killed, Incus kills the command.
    fn command(&self, inside: &Inside) -> HostCommand {
        let directory = inside.directory.as_ref().map_or("/".to_owned(), |path| path.display().to_string());
        let mut argv = words(["incus", "exec", &self.name, "--force-noninteractive", "--cwd", &directory]);
        for (name, value) in inside.environment.iter().filter(|(name, _)| *name != "PATH") {
            argv.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        argv.push("--".to_owned());
        if inside.user == User::Ordinary {
            // Not --user: that would keep root's groups and home.
            argv.extend(words(["/sbin/runuser", "-u", USER, "--"]));
        }
        argv.extend(inside.argv.iter().cloned());
        HostCommand { argv, environment: self.environment.clone() }
    }

    fn stop<'a>(&'a mut self, shell: Shell<'a>) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            let delete = Step::new(["incus", "delete", "--force", &self.name]);
            // The stop belongs to a cancelled run, too. Nothing in there is worth an orderly shutdown.
            let shell = shell.uncancellable();
            let action = format!("incus delete of {}", self.name);
            let deleted = match self.state {
                State::New => Ok(()),
                State::Launching => within(DELETE, &action, shell.attempt(delete)).await.map(drop),
                State::Launched => within(DELETE, &action, shell.output(delete)).await.map(drop),
            };
            self.state = State::New;
            let removed = fs::remove_dir_all(&self.directory)
                .map_err(TaskError::io(format!("cannot remove {}", self.directory.display())));
            deleted.and(removed)
        })
    }
}

/// What Incus does, unless it takes too long.
async fn within<T>(
    limit: Duration,
    action: &str,
    work: impl Future<Output = Result<T, TaskError>>,
) -> Result<T, TaskError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(TaskError::Other(format!(
            "{action} has not ended after {} s: Incus may hang, and the instance may be left (incus list)",
            limit.as_secs()
        )))
    })
}

/// Lower-case letters, one for each byte.
fn letters(bytes: impl Iterator<Item = u8>, shift: u8) -> String {
    bytes.map(|byte| char::from(b'a' + (byte % 26 + shift) % 26)).collect()
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::tests::image;
    use super::*;

    fn incus(kind: Kind) -> Incus {
        Incus::new(kind, image(7, json!({}), "/images/system.tar.xz"), PathBuf::from("/w/incus-lxc-aZ3x9Q"))
    }

    fn line(command: &[String]) -> String {
        command.join(" ")
    }

    #[tokio::test(start_paused = true)]
    async fn incus_may_not_take_for_ever() {
        let begin = tokio::time::Instant::now();
        let endless = within::<()>(LAUNCH, "incus launch of debusine-abc", std::future::pending()).await;
        assert_eq!(begin.elapsed().as_secs(), 600);
        assert_eq!(
            endless.unwrap_err().to_string(),
            "incus launch of debusine-abc has not ended after 600 s: \
             Incus may hang, and the instance may be left (incus list)"
        );
        assert_eq!(within(DELETE, "incus delete", async { Ok(7) }).await.unwrap(), 7);
    }

    #[test]
    fn names_are_letters() {
        let name = incus(Kind::Container).name;
        let random = name.strip_prefix("debusine-").unwrap();
        assert_eq!(random.len(), 6);
        assert!(random.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
        assert_ne!(letters(random.bytes(), 1), letters(random.bytes(), 2));
    }

    #[test]
    fn instances_are_launched_with_the_profile() {
        let (container, machine) = (incus(Kind::Container), incus(Kind::VirtualMachine));
        let name = &container.name;
        assert_eq!(line(&container.launch()), format!("incus launch --ephemeral --profile debusine artifact/7 {name}"));
        assert_eq!(
            line(&machine.launch()),
            format!("incus launch --ephemeral --vm --profile debusine artifact/7 {name}")
        );
    }

    #[test]
    fn commands_run_as_either_user_with_their_own_environment() {
        let incus = incus(Kind::Container);
        let exec = format!("incus exec {} --force-noninteractive", incus.name);
        let root = Inside::as_root(["apt-get", "update"]).with("DEBIAN_FRONTEND", "noninteractive").with("PATH", "/x");
        assert_eq!(
            line(&incus.command(&root).argv),
            format!("{exec} --cwd / --env DEBIAN_FRONTEND=noninteractive -- apt-get update")
        );
        let user = Inside::new(["blhc", "--all"]).within(Path::new("/w/exec"));
        assert_eq!(
            line(&incus.command(&user).argv),
            format!("{exec} --cwd /w/exec -- /sbin/runuser -u _debusine -- blhc --all")
        );
    }
}
