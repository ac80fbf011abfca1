//! Processes that outlived their worker: after a `kill -9` the commands of its task still run, and must not write into
//! the directories of the next one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, kill_process_group};

/// How long they have to clean up behind themselves (sbuild removes its chroot), in steps.
const GRACE: [Duration; 25] = [Duration::from_millis(200); 25];

/// Ends every process group that works below `directory`, and says how many there were. Blocks, for up to 5 seconds.
pub(crate) fn end(directory: &Path) -> usize {
    let found = groups_below(directory);
    signal(&found, Signal::TERM);
    for step in GRACE {
        if groups_below(directory).is_empty() {
            return found.len();
        }
        sleep(step);
    }
    signal(&groups_below(directory), Signal::KILL);
    found.len()
}

fn signal(groups: &BTreeSet<i32>, signal: Signal) {
    for group in groups.iter().filter_map(|group| Pid::from_raw(*group)) {
        // It may have ended by itself in this moment.
        let _ = kill_process_group(group, signal);
    }
}

/// The groups of processes whose working directory is below `directory`; never our own.
fn groups_below(directory: &Path) -> BTreeSet<i32> {
    let own = getpgrp().as_raw_nonzero().get();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            // Of processes that are not ours to see, the link cannot be read: those are not ours to end either.
            let works_in = fs::read_link(process.path().join("cwd")).ok()?;
            let group = group_of(&fs::read_to_string(process.path().join("stat")).ok()?)?;
            (works_in.starts_with(directory) && group != own).then_some(group)
        })
        .collect()
}

/// The process group in a line of proc_pid_stat(5): the fifth field; the second one, the name, may have blanks and
/// parentheses. 0 is a group outside of our namespace.
fn group_of(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(2)?.parse().ok().filter(|group| *group > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_what_works_there_is_ended() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let start =
            |directory: &Path| Command::new("sleep").arg("60").current_dir(directory).process_group(0).spawn().unwrap();
        let (mut left, mut other) = (start(&here.path().canonicalize().unwrap()), start(elsewhere.path()));
        // The child is ours, so that it stays a zombie until it is waited for: that happens beside.
        let waiting = std::thread::spawn(move || left.wait().unwrap());
        assert_eq!(end(&here.path().canonicalize().unwrap()), 1);
        assert!(!waiting.join().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(end(&here.path().canonicalize().unwrap()), 0);
    }
}
