//! Control groups, version 2: one for each run, where the system lets us make one (cgroups(7); in the kernel's
//! documentation `admin-guide/cgroup-v2.rst`). It knows all processes of a run, also those that left their parents.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use walkdir::WalkDir;

/// Where the worker itself goes when it must make room: a cgroup that gives controllers to others cannot have processes.
const OWN_PLACE: &str = "usine-worker";

/// How long the kernel may take until a killed process has left its cgroup, in steps.
const DEATH: [Duration; 40] = [Duration::from_millis(5); 40];

/// Where a worker makes the cgroups of its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    base: PathBuf,
    prefix: String,
    limits_memory: bool,
}

impl Cgroups {
    /// Below the cgroup of this process; `None` where none can be made, and the log says why. Removes what an earlier
    /// process with the same `tag` (a file name) left there, and ends what still runs in it. Blocks.
    ///
    /// To limit memory, the process is moved into a cgroup of its own, unless others share its present one.
    pub fn open(tag: &str) -> Option<Self> {
        let base = match own_directory() {
            Ok(base) => base,
            Err(reason) => {
                tracing::info!(%reason, "no cgroup v2: runs are measured by their process tree");
                return None;
            }
        };
        let prefix = format!("usine-run-{tag}-");
        for left in directories_in(&base).filter(|path| file_name(path).starts_with(&prefix)) {
            tracing::warn!(cgroup = %left.display(), "removing what an earlier run left");
            kill(&left);
            remove(&left);
        }
        let limits_memory = enable_memory(&base);
        let cgroups = Self { base, prefix, limits_memory };
        match cgroups.try_out() {
            Ok(()) => {
                tracing::info!(below = %cgroups.base.display(), limits_memory, "runs get cgroups of their own");
                Some(cgroups)
            }
            Err(error) => {
                let below = cgroups.base.display();
                tracing::info!(%below, %error, "cannot make cgroups: runs are measured by their process tree");
                None
            }
        }
    }

    /// Whether the kernel keeps runs within a limit of memory; otherwise they are watched.
    pub fn limits_memory(&self) -> bool {
        self.limits_memory
    }

    /// Some systems let us make cgroups but not put processes into them.
    fn try_out(&self) -> io::Result<()> {
        let cgroup = self.make(0, None)?;
        let mut process = Command::new("sleep").arg("10").stdin(Stdio::null()).spawn()?;
        let added = cgroup.add(process.id());
        process.kill()?;
        process.wait()?;
        added
    }

    /// A new cgroup for the run of a work request.
    pub(super) fn make(&self, id: i64, memory: Option<u64>) -> io::Result<Cgroup> {
        let mut number = 0;
        let path = loop {
            let path = self.base.join(format!("{}{id}-{number}", self.prefix));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 100 => number += 1,
                made => break made.map(|()| path)?,
            }
        };
        let mut cgroup = Cgroup { path, limits_memory: false };
        if let Some(limit) = memory.filter(|_| self.limits_memory) {
            cgroup.write("memory.max", &limit.to_string())?;
            // Without swap accounting there is no such file.
            let _ = cgroup.write("memory.swap.max", "0");
            cgroup.limits_memory = true;
        }
        Ok(cgroup)
    }
}

/// The cgroup of one run. Removed, with all that runs in it, when it goes out of scope.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    limits_memory: bool,
}

impl Cgroup {
    /// Moves a process into it; its children will be born there.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// All processes in it and below, as far as they are in our pid namespace.
    pub fn pids(&self) -> Vec<i32> {
        pids_below(&self.path)
    }

    /// User and system time of all that ever ran in it. Needs no controller.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.field("cpu.stat", "usage_usec").map(Duration::from_micros)
    }

    /// The most memory it ever had, in bytes, page cache included; `None` without the memory controller.
    pub fn memory_peak(&self) -> Option<u64> {
        // memory.peak: since Linux 5.19.
        self.number("memory.peak").or_else(|| self.number("memory.current"))
    }

    /// Whether it has a limit of memory of its own.
    pub fn limits_memory(&self) -> bool {
        self.limits_memory
    }

    /// Whether the kernel killed something in it to keep it within its limit.
    pub fn was_out_of_memory(&self) -> bool {
        // A whole machine without memory counts in oom_kill only.
        ["oom", "oom_kill"].iter().all(|event| self.field("memory.events", event).is_some_and(|times| times > 0))
    }

    /// Kills everything in it.
    pub fn kill(&self) {
        kill(&self.path);
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.path.join(file), text)
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }

    /// A number in a file of lines `NAME NUMBER`.
    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        kill(&self.path);
        remove(&self.path);
    }
}

/// The directory of the cgroup that this process is in, or of the one above if that is [`OWN_PLACE`].
fn own_directory() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    let (point, root) = mount_of(&read("/proc/self/mountinfo")?).ok_or("no file system of type cgroup2 is mounted")?;
    let own = read("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("this process is in no cgroup v2")?;
    let below = Path::new(own).strip_prefix(&root).map_err(|_| format!("the cgroup {own} is not mounted here"))?;
    if below.components().any(|component| component.as_os_str() == "..") {
        return Err(format!("the cgroup {own} is outside of our namespace"));
    }
    let mut directory = point.join(below);
    if directory.ends_with(OWN_PLACE) {
        directory.pop();
    }
    Ok(directory)
}

/// Mount point and root of the first cgroup2 file system in the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
fn mount_of(mountinfo: &str) -> Option<(PathBuf, String)> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let root = unescape(fields.nth(3)?);
        let point = unescape(fields.next()?);
        kind.starts_with("cgroup2 ").then(|| (PathBuf::from(point), root))
    })
}

/// Blanks, tabs, newlines and backslashes are written in octal.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Gives the memory controller to the cgroups below `base`, if that can be done. The worker moves out of the way only if
/// it is alone there: nobody else's processes are moved.
fn enable_memory(base: &Path) -> bool {
    let has = |file: &str| {
        fs::read_to_string(base.join(file)).is_ok_and(|text| text.split_whitespace().any(|name| name == "memory"))
    };
    if has("cgroup.subtree_control") {
        return true;
    }
    if !has("cgroup.controllers") {
        return false;
    }
    let enable = || fs::write(base.join("cgroup.subtree_control"), "+memory").is_ok();
    if enable() {
        return true;
    }
    let own = std::process::id();
    let alone = i32::try_from(own).is_ok_and(|own| pids_in(base) == [own]);
    let place = base.join(OWN_PLACE);
    if !alone || fs::create_dir(&place).is_err_and(|error| error.kind() != ErrorKind::AlreadyExists) {
        return false;
    }
    let go = |to: &Path| fs::write(to.join("cgroup.procs"), own.to_string()).is_ok();
    if go(&place) && enable() {
        return true;
    }
    go(base);
    remove(&place);
    false
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn directories_in(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn pids_in(path: &Path) -> Vec<i32> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process outside of our pid namespace.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

fn pids_below(path: &Path) -> Vec<i32> {
    let groups = WalkDir::new(path).into_iter().filter_entry(|entry| entry.file_type().is_dir());
    groups.filter_map(Result::ok).flat_map(|group| pids_in(group.path())).collect()
}

/// Kills everything in a cgroup and below.
fn kill(path: &Path) {
    // Since Linux 5.14.
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for pid in pids_below(path).into_iter().filter_map(Pid::from_raw) {
        // It may have ended in this moment.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Removes a cgroup whose processes are about to end. What cannot be removed is left to [`Cgroups::open`].
fn remove(path: &Path) {
    for step in DEATH {
        let groups = WalkDir::new(path).contents_first(true).into_iter().filter_map(Result::ok);
        let groups = groups.filter(|entry| entry.file_type().is_dir());
        let removed = groups.map(|group| fs::remove_dir(group.path())).all(|removed| removed.is_ok());
        if removed || !path.exists() {
            return;
        }
        sleep(step);
    }
    tracing::warn!(cgroup = %path.display(), "cannot be removed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found() {
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 /a\\040b /sys/fs/cgroup/uni\\134fied rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(hybrid), Some(("/sys/fs/cgroup/uni\\fied".into(), "/a b".into())));
        assert_eq!(mount_of("1 2 0:3 / /sys rw - sysfs sysfs rw\ngarbage\n"), None);
    }

    /// With plain files in place of the kernel's, for machines whose kernel has no memory controller to give.
    #[test]
    fn the_kernel_is_asked_in_its_words() {
        let base = tempfile::tempdir().unwrap();
        let cgroups = Cgroups { base: base.path().to_owned(), prefix: "usine-run-x-".to_owned(), limits_memory: true };
        let cgroup = cgroups.make(7, Some(4096)).unwrap();
        assert_eq!(cgroup.path, base.path().join("usine-run-x-7-0"));
        assert!(cgroup.limits_memory());
        assert_eq!(fs::read_to_string(cgroup.path.join("memory.max")).unwrap(), "4096");
        assert_eq!(fs::read_to_string(cgroup.path.join("memory.swap.max")).unwrap(), "0");

        assert_eq!((cgroup.memory_peak(), cgroup.was_out_of_memory(), cgroup.cpu_time()), (None, false, None));
        cgroup.write("memory.current", "100\n").unwrap();
        assert_eq!(cgroup.memory_peak(), Some(100));
        cgroup.write("memory.peak", "4096\n").unwrap();
        assert_eq!(cgroup.memory_peak(), Some(4096));
        cgroup.write("memory.events", "low 0\nhigh 0\nmax 9\noom 0\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert!(!cgroup.was_out_of_memory(), "the machine was, not the run");
        cgroup.write("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert!(cgroup.was_out_of_memory());
        cgroup.write("cpu.stat", "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n").unwrap();
        assert_eq!(cgroup.cpu_time(), Some(Duration::from_millis(1500)));
        cgroup.write("cgroup.procs", "0\n").unwrap();
        assert_eq!(cgroup.pids(), Vec::<i32>::new(), "nothing of another pid namespace");

        let second = cgroups.make(7, None).unwrap();
        assert!(second.path.ends_with("usine-run-x-7-1") && !second.limits_memory());
        // Plain files would keep their directories from being removed.
        std::mem::forget((cgroup, second));
    }
}
