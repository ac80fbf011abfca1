//! Kinds of workers: each registers by itself, like a machine on which the package was just installed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::client::yaml;
use crate::debian::Release;
use crate::house::{House, until};
use crate::support::SOON;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Usine,
    /// Debian's.
    Debian(Release),
}

/// A worker that runs. It is over when this is dropped.
pub struct Worker {
    pub kind: Kind,
    child: Child,
    log: PathBuf,
    /// The name that it was registered by.
    pub name: String,
}

impl Worker {
    /// Starts a worker that has never been here, and waits until it has registered.
    pub fn start(kind: Kind, house: &House) -> Self {
        let before = rows(house);
        let log = house.path().join("worker.log");
        let file = File::create(&log).unwrap();
        let mut command = match kind {
            Kind::Usine => ours(house),
            Kind::Debian(release) => debians(release, house),
        };
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut worker = Self { kind, child: command.spawn().unwrap(), log, name: String::new() };
        until(&format!("the registration; the worker says {}", worker.log.display()), SOON, || {
            let new = rows(house).into_iter().find(|row| before.iter().all(|old| old["name"] != row["name"]));
            worker.name = new.map(|row| row["name"].as_str().unwrap().to_owned()).unwrap_or_default();
            !worker.name.is_empty()
        });
        worker
    }

    /// What the server says of it.
    pub fn row(&self, house: &House) -> Value {
        rows(house).into_iter().find(|row| row["name"] == *self.name).unwrap()
    }

    /// Whether it streams what tasks say: since 0.16.
    pub fn streams(&self) -> bool {
        self.kind != Kind::Debian(Release::Old)
    }

    /// Whether it runs a program now, as a process in its own mounts.
    pub fn runs(&self, program: &str) -> bool {
        let mounts = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
        let own = mounts(&Path::new("/proc").join(self.child.id().to_string())).unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        processes.filter(|process| mounts(process).as_ref() == Some(&own)).any(|process| {
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            let ends = |word: &[u8]| {
                Path::new(&*String::from_utf8_lossy(word)).file_name().is_some_and(|name| name == program)
            };
            words.split(|byte| *byte == 0).any(ends)
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(house: &House) -> Vec<Value> {
    yaml(&house.admin(&["worker", "list", "--yaml"])).as_array().unwrap().clone()
}

fn ours(house: &House) -> Command {
    let (directory, state) = (house.path().join("ours"), house.path().join("state"));
    let config = format!("api-url = \"{}/api\"\nstate-directory = {state:?}\n", house.url());
    house.write("ours/worker.toml", &config, 0o644);
    let mut command = Command::new(env!("CARGO_BIN_EXE_usine"));
    command.args(["worker", "--config-directory"]).arg(directory);
    command
}

/// In the system, as the service of the package does it: as its user, started again when it fails.
fn debians(release: Release, house: &House) -> Command {
    const HOME: &str = "/var/lib/debusine/worker";
    const RESTART: &str = "until \"$@\"; do sleep 1; done";
    let owner = (release.id_of("passwd", "debusine-worker"), release.id_of("group", "debusine-worker"));
    let config = format!("[General]\napi-url = {}/api\n", house.url());
    house.write("theirs/config.ini", &config, 0o644);
    let place = |name: &str| house.path().join(name);
    for (name, mode) in [("theirs", 0o755), ("theirs-home", 0o755), ("theirs-tmp", 0o1777)] {
        fs::create_dir_all(place(name)).unwrap();
        fs::set_permissions(place(name), Permissions::from_mode(mode)).unwrap();
        chown(place(name), Some(owner.0), Some(owner.1)).unwrap();
    }
    let binds =
        [(place("theirs"), "/etc/debusine/worker"), (place("theirs-home"), HOME), (place("theirs-tmp"), "/tmp")];
    let log: &[&str] = if release == Release::New { &["--log-stderr"] } else { &[] };
    let argv = [&["sh", "-c", RESTART, "sh", "debusine-worker"], log].concat();
    let mut command = release.command("debusine-worker", house.path(), &binds, &argv);
    command.env("HOME", HOME);
    command
}
