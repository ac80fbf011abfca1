//! What a process has used, as /proc tells (proc(5)).

use std::time::Duration;

use crate::{Error, Result};

/// USER_HZ is 100 on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used until now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// CPU time, user and system, all threads. Counted in ticks.
    pub cpu: Duration,
    /// Resident memory at this moment, in bytes.
    pub resident: u64,
    /// The most that was resident at any moment, in bytes.
    pub peak: u64,
}

impl Usage {
    /// Of this process.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).map_err(Error::io(format!("cannot read {path}")))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let unclear = || Error::Usage(format!("cannot understand /proc/{pid}/stat and status"));
        let ticks = cpu_ticks(&stat).ok_or_else(unclear)?;
        let bytes = |name| kib(&status, name).map(|kib| kib * 1024).ok_or_else(unclear);
        Ok(Self { cpu: TICK * ticks, resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}

/// Fields 14 and 15; the name of the program, field 2, may have blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 100 1000 200 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(kib("Name:\tx\nVmRSS:\t   12345 kB\nThreads:\t1\n", "VmRSS:"), Some(12345));
        assert_eq!(cpu_ticks("nothing"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 100_000 && usage.peak >= usage.resident, "{usage:?}");
        assert!(Usage::of(u32::MAX).is_err());
    }
}
