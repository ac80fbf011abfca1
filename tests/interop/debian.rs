//! Systems of two releases of Debian with `debusine-client` and `debusine-worker` from backports, made by mmdebstrap once for
//! each version of these packages, and the way into them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::house;

/// What the worker's tasks need besides; a real worker has them from its administrator.
const PACKAGES: &str = "debusine-client,debusine-worker,sbuild,mmdebstrap,uidmap,iproute2,arch-test,dpkg-dev,\
    devscripts,ca-certificates";

/// Change it with [`make`], so that older systems are not used any more.
const RECIPE: &str = "1";

/// Enters a system: `ROOT PLACE USER [FROM TO]... -- COMMAND...`. The network is the machine's; the mounts and the process
/// numbers are the command's own, and end with it. It is a pivot_root(2), because a process in a chroot(2) cannot make user
/// namespaces. `PLACE` is at the same path inside.
const ENTER: &str = r#"
root=$1 place=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
mount -t tmpfs tmpfs "$root/var/tmp"
mkdir -p "$root$place"
mount --bind "$place" "$root$place"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
cd "$root"
pivot_root . .
umount -l .
cd "$place"
runuser -u "$user" -- "$@"
exit $?
"#;

/// Which of Debian's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The newest, from trixie-backports.
    New,
    /// 0.11.3, from bookworm-backports.
    Old,
}

impl Release {
    fn suite(self) -> &'static str {
        match self {
            Self::New => "trixie",
            Self::Old => "bookworm",
        }
    }

    /// Root directory of the system; makes it if it is not there yet.
    pub fn root(self) -> &'static Path {
        static ROOTS: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
        ROOTS[self as usize].get_or_init(|| ready(self))
    }

    /// A command inside, as `user`; `place` and `binds` (from, to) are there, too.
    pub fn command(self, user: &str, place: &Path, binds: &[(PathBuf, &str)], argv: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            ENTER,
            "sh",
        ]);
        command.arg(self.root()).arg(place).arg(user);
        for (from, to) in binds {
            command.arg(from).arg(to);
        }
        command.arg("--").args(argv);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command
    }

    /// Number of a user or group of the system, as its `passwd` or `group` says.
    pub fn id_of(self, file: &str, name: &str) -> u32 {
        let text = fs::read_to_string(self.root().join("etc").join(file)).unwrap();
        let line = text.lines().find(|line| line.split(':').next() == Some(name));
        line.and_then(|line| line.split(':').nth(2)).and_then(|id| id.parse().ok()).expect("the package makes its user")
    }
}

/// The system of the packages' present version.
fn ready(release: Release) -> PathBuf {
    assert!(rustix::process::geteuid().is_root(), "these tests make and enter systems of Debian: run them as root");
    let suite = release.suite();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mirror = house::mirror();
    let version = candidate(cache, &mirror, suite);
    let root = cache.join(format!("{suite}-debusine-{version}-{RECIPE}"));
    if !root.exists() {
        remove_others(cache, suite);
        let unfinished = cache.join(format!("{suite}-debusine.unfinished"));
        make(&mirror, suite, &unfinished);
        fs::rename(&unfinished, &root).unwrap();
    }
    root
}

/// The version that backports have now, asked of an apt of its own.
fn candidate(cache: &Path, mirror: &str, suite: &str) -> String {
    let apt = cache.join(format!("{suite}-apt"));
    fs::create_dir_all(apt.join("lists/partial")).unwrap();
    fs::write(apt.join("sources.list"), source(mirror, suite)).unwrap();
    let options = [
        format!("Dir::Etc::sourcelist={}", apt.join("sources.list").display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", apt.join("lists").display()),
        "Dir::State::status=/dev/null".to_owned(),
        "Dir::Cache::srcpkgcache=".to_owned(),
        "Dir::Cache::pkgcache=".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        for option in &options {
            command.args(["-o", option]);
        }
        output(command.args(&words[1..]))
    };
    run(&["apt-get", "update", "-qq"]);
    let shown = run(&["apt-cache", "show", "--no-all-versions", "debusine-worker"]);
    let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
    version.unwrap_or_else(|| panic!("{suite}-backports of {mirror} have no debusine-worker")).to_owned()
}

fn source(mirror: &str, suite: &str) -> String {
    format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite}-backports main\n")
}

fn make(mirror: &str, suite: &str, root: &Path) {
    remove(root);
    eprintln!("making a system of {suite} with Debian's debusine: some minutes");
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--variant=apt", "--format=directory"]);
    command.arg(format!("--aptopt=APT::Default-Release \"{suite}-backports\""));
    command.arg(format!("--include={PACKAGES}"));
    command.args(["--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/man/*"]);
    command.args(["--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*"]);
    command.arg(format!(
        "--setup-hook=printf '%s' '{}' >\"$1/etc/apt/sources.list.d/backports.list\"",
        source(mirror, suite)
    ));
    command.arg("--customize-hook=rm -f \"$1/etc/resolv.conf\" && touch \"$1/etc/resolv.conf\"");
    output(command.arg(suite).arg(root).arg(mirror));
}

/// Removes the systems of earlier versions.
fn remove_others(cache: &Path, suite: &str) {
    let prefix = format!("{suite}-debusine-");
    for entry in fs::read_dir(cache).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove(&entry.path());
        }
    }
}

/// Removes a system, unless something is still mounted in it.
fn remove(root: &Path) {
    if root.exists() {
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let mounted = ["dev", "proc", "sys"]
            .iter()
            .any(|name| device(&root.join(name)).is_some_and(|at| Some(at) != device(root)));
        assert!(!mounted, "something is mounted in {}: unmount it and remove the directory", root.display());
        fs::remove_dir_all(root).unwrap();
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}, {}:\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
