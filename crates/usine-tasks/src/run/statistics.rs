//! What a run costs: time by phase, and what its processes use.

use chrono::{DateTime, TimeDelta, Utc};
use usine_model::output_data::RuntimeStatistics;

use super::resources::Meter;

/// What a phase is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PhaseKind {
    Setup,
    Run,
    Teardown,
}

/// Times of a run, and what it uses.
pub(super) struct Watch {
    pub meter: Meter,
    started: DateTime<Utc>,
    setup: TimeDelta,
    run: TimeDelta,
    teardown: TimeDelta,
    available_memory: Option<i64>,
}

impl Watch {
    pub fn start(now: DateTime<Utc>, meter: Meter) -> Self {
        let none = TimeDelta::zero();
        let available_memory =
            std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_memory_of(&text));
        Self { meter, started: now, setup: none, run: none, teardown: none, available_memory }
    }

    pub fn add(&mut self, kind: PhaseKind, time: TimeDelta) {
        *match kind {
            PhaseKind::Setup => &mut self.setup,
            PhaseKind::Run => &mut self.run,
            PhaseKind::Teardown => &mut self.teardown,
        } += time;
    }

    pub fn finish(&self, now: DateTime<Utc>) -> RuntimeStatistics {
        let used = self.meter.used();
        let bytes = |bytes: u64| i64::try_from(bytes).ok();
        RuntimeStatistics {
            duration: Some(seconds(now - self.started)),
            duration_setup: Some(seconds(self.setup)),
            duration_run: Some(seconds(self.run)),
            duration_teardown: Some(seconds(self.teardown)),
            cpu_time: TimeDelta::from_std(used.cpu).ok().map(seconds),
            // Nothing: no command ran, or none that lasted until it was looked at.
            memory: bytes(used.memory).filter(|memory| *memory > 0),
            disk_space: bytes(used.disk),
            available_memory: self.available_memory,
            available_disk_space: self.meter.available_disk().and_then(bytes),
            cpu_count: std::thread::available_parallelism().ok().and_then(|count| i64::try_from(count.get()).ok()),
            ..RuntimeStatistics::default()
        }
    }
}

/// Rounded, and never negative: the clock may be set while a task runs.
fn seconds(time: TimeDelta) -> i64 {
    ((time.num_milliseconds() + 500) / 1000).max(0)
}

/// What programs can still get, in bytes: of /proc/meminfo, whose numbers are KiB (proc_meminfo(5)).
fn available_memory_of(text: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(rest.split_ascii_whitespace().next()?.parse::<i64>().ok()?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Surroundings;

    #[test]
    fn proc_is_read() {
        let text = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    400 kB\n";
        assert_eq!(available_memory_of(text), Some(409_600));
        assert_eq!(available_memory_of("MemTotal: 1 kB\n"), None);
    }

    #[tokio::test]
    async fn durations_are_rounded_by_phase() {
        let start = DateTime::from_timestamp(1_000, 0).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(start, Meter::start(&Surroundings::of_test(directory.path())));
        watch.add(PhaseKind::Setup, TimeDelta::milliseconds(700));
        watch.add(PhaseKind::Setup, TimeDelta::milliseconds(800));
        watch.add(PhaseKind::Run, TimeDelta::milliseconds(400));
        let statistics = watch.finish(start + TimeDelta::milliseconds(1_900));
        assert_eq!(statistics.duration, Some(2));
        assert_eq!(statistics.duration_setup, Some(2));
        assert_eq!(statistics.duration_run, Some(0));
        assert_eq!(statistics.duration_teardown, Some(0));
        assert_eq!((statistics.cpu_time, statistics.memory), (Some(0), None), "nothing ran");
        assert!(statistics.available_memory > Some(0) && statistics.available_disk_space > Some(0));
        assert!(statistics.cpu_count > Some(0) && statistics.disk_space.is_some());
        assert_eq!(watch.finish(start - TimeDelta::hours(1)).duration, Some(0));
    }
}
