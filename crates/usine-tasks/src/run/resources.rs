//! What a run uses: CPU time, memory and disk space of its own processes, sampled while it runs; and the limits on that.
//!
//! With a cgroup the kernel counts CPU time and, where it has the memory controller, memory; and it knows the processes.
//! Otherwise the processes are the descendants of our commands, as /proc shows them (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usine_model::policy::{LimitPassed, ResourceLimits};

use super::Surroundings;
use super::cgroup::{Cgroup, Cgroups};

/// The unit of times in /proc: 1/100 s on every architecture of Linux that Debian has (time(7), `USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// How often samples are taken: often when a command has just begun, then once a second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where sbuild unpacks its chroot, whatever `TMPDIR` says (until 0.85).
const TEMPORARY: &str = "/tmp";

/// What a run may use, and the means to measure it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// What its commands may use. A run that passes a limit ends as a failure.
    pub limits: ResourceLimits,
    /// Where to make a cgroup for it; without, its process tree is watched.
    pub cgroups: Option<Cgroups>,
}

/// What a run has used. Memory and disk space: the most at any time, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub cpu: Duration,
    pub memory: u64,
    pub disk: u64,
}

/// Measures one run from the moment it is made. What still runs in the run's cgroup ends with it.
pub(super) struct Meter {
    shared: Arc<Shared>,
    sampler: JoinHandle<()>,
    available_disk: Option<u64>,
}

struct Shared {
    limits: ResourceLimits,
    cgroup: Option<Cgroup>,
    disks: Vec<Disk>,
    state: Mutex<State>,
    /// A command has begun.
    began: Notify,
    /// A limit is passed.
    passed: CancellationToken,
}

#[derive(Default)]
struct State {
    tree: Tree,
    used: Used,
    passed: Option<LimitPassed>,
    /// Growth of the file systems that is not the run's, in bytes.
    uncounted_disk: u64,
    is_disk_paused: bool,
}

impl Meter {
    /// Must be called in a tokio runtime.
    pub fn start(around: &Surroundings) -> Self {
        let Resources { limits, cgroups } = &around.resources;
        let cgroup = cgroups.as_ref().and_then(|cgroups| {
            let made = cgroups.make(around.work_request_id, limits.memory);
            made.inspect_err(|error| tracing::warn!(%error, "no cgroup for this run: its process tree is watched")).ok()
        });
        let shared = Arc::new(Shared {
            limits: *limits,
            cgroup,
            disks: Disk::of(&[&around.directory, Path::new(TEMPORARY)]),
            state: Mutex::default(),
            began: Notify::new(),
            passed: CancellationToken::new(),
        });
        let sampler = tokio::spawn(Arc::clone(&shared).keep_sampling());
        let available_disk = rustix::fs::statvfs(&around.directory).ok();
        let available_disk = available_disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Self { shared, sampler, available_disk }
    }

    /// Bytes that were free on the file system of the run's directory when it began.
    pub fn available_disk(&self) -> Option<u64> {
        self.available_disk
    }

    /// Whether commands must be put into the run's cgroup before they begin.
    pub fn has_cgroup(&self) -> bool {
        self.shared.cgroup.is_some()
    }

    /// A command was started; it waits until it is counted, if there is a cgroup.
    pub fn begin(&self, pid: u32) {
        if let Some(cgroup) = &self.shared.cgroup
            && let Err(error) = cgroup.add(pid)
        {
            tracing::warn!(pid, %error, "cannot put a command into its cgroup: it is not counted");
        }
        if let Ok(pid) = i32::try_from(pid) {
            self.shared.state().tree.root = Some(pid);
        }
        self.shared.began.notify_one();
    }

    /// When the command has ended but was not yet waited for: only then does the system know what it used in all. What it
    /// left running is killed.
    pub fn end_of(&self, pid: Option<u32>) -> JoinHandle<()> {
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            if let Some(pid) = pid {
                let _ = rustix::io::retry_on_intr(|| {
                    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
                });
            }
            shared.sample();
            // Stragglers would keep the pipes open, and the machine busy.
            shared.kill();
        })
    }

    /// The command was waited for: its id may belong to others now.
    pub fn forget(&self) {
        self.shared.state().tree.forget_command();
    }

    /// Comes back when a limit is passed.
    pub async fn limit_passed(&self) -> LimitPassed {
        loop {
            self.shared.passed.cancelled().await;
            if let Some(passed) = self.passed() {
                return passed;
            }
        }
    }

    /// The limit that was passed, if any.
    pub fn passed(&self) -> Option<LimitPassed> {
        self.shared.state().passed
    }

    /// Kills all processes of the present command.
    pub fn kill(&self) {
        self.shared.kill();
    }

    /// Until the answer is dropped, the growth of file systems is not the run's.
    pub fn pause_disk(&self) -> UncountedDisk<'_> {
        let growth = self.shared.disk_growth();
        self.shared.state().is_disk_paused = true;
        UncountedDisk { shared: &self.shared, growth }
    }

    /// What was used until now.
    pub fn used(&self) -> Used {
        self.shared.sample();
        self.shared.state().used
    }
}

/// See [`Meter::pause_disk`].
pub(super) struct UncountedDisk<'a> {
    shared: &'a Shared,
    /// When it began.
    growth: u64,
}

impl Drop for UncountedDisk<'_> {
    fn drop(&mut self) {
        let more = self.shared.disk_growth().saturating_sub(self.growth);
        let mut state = self.shared.state();
        state.uncounted_disk += more;
        state.is_disk_paused = false;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.sampler.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        match &self.cgroup {
            Some(cgroup) => cgroup.kill(),
            None => self.state().tree.look().into_iter().for_each(kill_one),
        }
    }

    fn disk_growth(&self) -> u64 {
        self.disks.iter().map(Disk::growth).sum()
    }

    async fn keep_sampling(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.sample();
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.began.notified() => pause = FIRST_PAUSE,
            }
        }
    }

    fn sample(&self) {
        let disk = self.disk_growth();
        let mut state = self.state();
        let disk = if state.is_disk_paused { 0 } else { disk.saturating_sub(state.uncounted_disk) };
        let processes = match &self.cgroup {
            Some(cgroup) if cgroup.memory_peak().is_some() => Vec::new(),
            Some(cgroup) => cgroup.pids(),
            None => state.tree.look(),
        };
        let memory: Vec<(u64, i32)> = processes.into_iter().map(|pid| (memory_of(pid), pid)).collect();
        let (counted, out_of_memory) = match &self.cgroup {
            Some(cgroup) => (cgroup.memory_peak(), cgroup.limits_memory() && cgroup.was_out_of_memory()),
            None => (None, false),
        };
        let now = counted.unwrap_or_else(|| memory.iter().map(|(bytes, _)| bytes).sum());
        let cpu = self.cgroup.as_ref().and_then(Cgroup::cpu_time).unwrap_or_else(|| state.tree.cpu_time());
        let used = &mut state.used;
        (used.cpu, used.memory, used.disk) = (used.cpu.max(cpu), used.memory.max(now), used.disk.max(disk));
        // With a limit in the kernel it is for the kernel to say when memory was not enough.
        let watched = if self.cgroup.as_ref().is_some_and(Cgroup::limits_memory) { 0 } else { now };
        let passed = match self.limits.memory {
            Some(limit) if out_of_memory => Some(LimitPassed::Memory { limit, used: now.min(limit) }),
            _ => self.limits.passed(watched, disk),
        };
        let Some(passed) = passed else { return };
        if let (LimitPassed::Memory { .. }, Some((_, largest))) = (passed, memory.iter().max()) {
            // At once, as the kernel does it: memory may be gone sooner than the command has ended.
            kill_one(*largest);
        }
        state.passed.get_or_insert(passed);
        self.passed.cancel();
    }
}

fn kill_one(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended in this moment.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// What is used on a file system, by whomever.
struct Disk {
    path: PathBuf,
    used_at_start: u64,
}

impl Disk {
    /// The file systems of these directories, each once.
    fn of(paths: &[&Path]) -> Vec<Self> {
        use std::os::unix::fs::MetadataExt;
        let mut disks = BTreeMap::new();
        for path in paths {
            if let (Ok(metadata), Some(used)) = (fs::metadata(path), used_on(path)) {
                disks.entry(metadata.dev()).or_insert(Self { path: path.to_path_buf(), used_at_start: used });
            }
        }
        disks.into_values().collect()
    }

    /// Bytes more than at the start.
    fn growth(&self) -> u64 {
        used_on(&self.path).map_or(0, |used| used.saturating_sub(self.used_at_start))
    }
}

/// statvfs(3): blocks are of `f_frsize` bytes.
fn used_on(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize))
}

/// Bytes that a process has for itself (`RssAnon` in proc_pid_status(5)): what it shares with others, each of them would
/// count once more. 0 if it has ended.
fn memory_of(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The descendants of the present command, also those whose parents have ended since they were first seen.
#[derive(Default)]
struct Tree {
    root: Option<i32>,
    /// Id and start of each process, and its time with that of the children it has waited for.
    members: BTreeMap<(i32, u64), u64>,
    /// Ticks of the present command; of those that have ended.
    present: u64,
    past: u64,
}

/// A line of /proc/PID/stat. Times are in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    started: u64,
    /// Its own time, and that of the children it has waited for.
    time: u64,
}

impl Tree {
    /// Finds the members anew.
    fn look(&mut self) -> Vec<i32> {
        let Some(root) = self.root else { return Vec::new() };
        let processes: Vec<Process> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter_map(|pid| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
            .collect();
        self.members = members(&processes, root, &self.members);
        self.present = self.present.max(self.members.values().sum());
        self.members.keys().map(|(pid, _)| *pid).collect()
    }

    fn cpu_time(&self) -> Duration {
        Duration::from_millis((self.past + self.present) * (1000 / TICKS_PER_SECOND))
    }

    /// Its time is kept.
    fn forget_command(&mut self) {
        self.past += std::mem::take(&mut self.present);
        self.root = None;
        self.members.clear();
    }
}

/// Those of `processes` that are `root`, were members before, or descend from members.
fn members(processes: &[Process], root: i32, before: &BTreeMap<(i32, u64), u64>) -> BTreeMap<(i32, u64), u64> {
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process);
    }
    let known = |process: &&Process| process.pid == root || before.contains_key(&(process.pid, process.started));
    let mut open: Vec<&Process> = processes.iter().filter(known).collect();
    let mut found = BTreeMap::new();
    while let Some(process) = open.pop() {
        if found.insert((process.pid, process.started), process.time).is_none() {
            open.extend(children.get(&process.pid).into_iter().flatten());
        }
    }
    found
}

/// proc_pid_stat(5). The second field, the name, may have blanks and parentheses.
fn parse_stat(line: &str) -> Option<Process> {
    let (begin, rest) = line.rsplit_once(')')?;
    let pid = begin.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first one here is the third of the manual page.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let time = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Process { pid, parent: fields.get(1)?.parse().ok()?, started: number(22)?, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Surroundings {
        /// Of a run without limits and cgroups.
        pub(in crate::run) fn of_test(directory: &Path) -> Self {
            Self {
                work_request_id: 1,
                workspace: "System".to_owned(),
                directory: directory.to_owned(),
                path: "/usr/bin:/bin".to_owned(),
                environment: BTreeMap::new(),
                http_read_timeout: 30,
                identity: None,
                resources: Resources::default(),
                cancel: CancellationToken::new(),
            }
        }
    }

    #[test]
    fn stat_lines_are_read() {
        let line = "1234 (a (b) c) S 17 1234 1234 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 1 0 98765 1000 200 18446744073709551615\n";
        let process = Process { pid: 1234, parent: 17, started: 98765, time: 575 };
        assert_eq!(parse_stat(line), Some(process));
        assert_eq!(parse_stat("1 (x) S 1"), None);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(parse_stat(&own).unwrap().pid.unsigned_abs(), std::process::id());
    }

    #[test]
    fn orphans_stay_members_and_others_do_not_become_any() {
        let process = |pid, parent, started| Process { pid, parent, started, time: 1 };
        let ids = |members: &BTreeMap<(i32, u64), u64>| members.keys().map(|(pid, _)| *pid).collect::<Vec<_>>();
        let first = members(
            &[process(1, 0, 0), process(10, 1, 5), process(11, 10, 6), process(12, 11, 7), process(20, 1, 5)],
            10,
            &BTreeMap::new(),
        );
        assert_eq!(ids(&first), [10, 11, 12]);
        // 11 has ended: 12 belongs to init, and has a child of its own; 11 is another process now.
        let then = [process(1, 0, 0), process(10, 1, 5), process(12, 1, 7), process(13, 12, 8), process(11, 1, 9)];
        assert_eq!(ids(&members(&then, 10, &first)), [10, 12, 13]);
    }
}
