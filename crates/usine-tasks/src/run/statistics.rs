//! What a run costs: time by phase, CPU time and memory of the machine (proc(5)).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinHandle;
use usine_model::output_data::RuntimeStatistics;

/// The unit of times in /proc/stat: 1/100 s on every architecture of Linux that Debian has (time(7), `USER_HZ`).
const TICKS_PER_SECOND: i64 = 100;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// What a phase is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PhaseKind {
    Setup,
    Run,
    Teardown,
}

/// Times of a run, and the samples taken while an executor is in use.
pub(super) struct Watch {
    started: DateTime<Utc>,
    ticks: Option<i64>,
    setup: TimeDelta,
    run: TimeDelta,
    teardown: TimeDelta,
    samples: Arc<Mutex<Option<Memory>>>,
    sampler: Option<JoinHandle<()>>,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    total: i64,
    most_used: i64,
}

impl Watch {
    pub fn start(now: DateTime<Utc>) -> Self {
        let none = TimeDelta::zero();
        let samples = Arc::default();
        Self { started: now, ticks: cpu_ticks(), setup: none, run: none, teardown: none, samples, sampler: None }
    }

    pub fn add(&mut self, kind: PhaseKind, time: TimeDelta) {
        *match kind {
            PhaseKind::Setup => &mut self.setup,
            PhaseKind::Run => &mut self.run,
            PhaseKind::Teardown => &mut self.teardown,
        } += time;
    }

    /// Begins to watch the memory of the machine.
    pub fn start_sampling(&mut self) {
        let samples = Arc::clone(&self.samples);
        self.sampler.get_or_insert_with(|| {
            tokio::spawn(async move {
                let mut ticker = tokio::time::interval(SAMPLE_EVERY);
                loop {
                    ticker.tick().await;
                    take_sample(&samples);
                }
            })
        });
    }

    pub fn finish(&self, now: DateTime<Utc>) -> RuntimeStatistics {
        if self.sampler.is_some() {
            take_sample(&self.samples);
        }
        let memory = *self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let ticks = || Some(cpu_ticks()?.saturating_sub(self.ticks?));
        RuntimeStatistics {
            duration: Some(seconds(now - self.started)),
            duration_setup: Some(seconds(self.setup)),
            duration_run: Some(seconds(self.run)),
            duration_teardown: Some(seconds(self.teardown)),
            cpu_time: ticks().map(|ticks| (ticks + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND),
            memory: memory.map(|memory| memory.most_used),
            available_memory: memory.map(|memory| memory.total),
            cpu_count: memory.and_then(|_| i64::try_from(std::thread::available_parallelism().ok()?.get()).ok()),
            ..RuntimeStatistics::default()
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(sampler) = &self.sampler {
            sampler.abort();
        }
    }
}

/// Rounded, and never negative: the clock may be set while a task runs.
fn seconds(time: TimeDelta) -> i64 {
    ((time.num_milliseconds() + 500) / 1000).max(0)
}

fn take_sample(samples: &Mutex<Option<Memory>>) {
    let Some(now) = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_of(&text)) else { return };
    let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = samples.get_or_insert(now);
    memory.most_used = memory.most_used.max(now.most_used);
}

/// Of /proc/meminfo, whose numbers are KiB.
fn memory_of(text: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<i64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(rest.split_ascii_whitespace().next()?.parse::<i64>().ok()?.saturating_mul(1024))
    };
    let total = field("MemTotal")?;
    Some(Memory { total, most_used: total - field("MemAvailable")? })
}

fn cpu_ticks() -> Option<i64> {
    ticks_of(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// User and system time of all CPUs: first and third number of the first line of /proc/stat.
fn ticks_of(text: &str) -> Option<i64> {
    let mut numbers = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().map(str::parse::<i64>);
    let user = numbers.next()?.ok()?;
    let system = numbers.nth(1)?.ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(ticks_of("cpu  100 7 20 5000 1\ncpu0 1 1 1\n"), Some(120));
        assert_eq!(ticks_of("intr 1\n"), None);
        let memory = memory_of("MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    400 kB\n").unwrap();
        assert_eq!(memory, Memory { total: 1_024_000, most_used: 614_400 });
    }

    #[test]
    fn durations_are_rounded_by_phase() {
        let start = DateTime::from_timestamp(1_000, 0).unwrap();
        let mut watch = Watch::start(start);
        watch.add(PhaseKind::Setup, TimeDelta::milliseconds(700));
        watch.add(PhaseKind::Setup, TimeDelta::milliseconds(800));
        watch.add(PhaseKind::Run, TimeDelta::milliseconds(400));
        let statistics = watch.finish(start + TimeDelta::milliseconds(1_900));
        assert_eq!(statistics.duration, Some(2));
        assert_eq!(statistics.duration_setup, Some(2));
        assert_eq!(statistics.duration_run, Some(0));
        assert_eq!(statistics.duration_teardown, Some(0));
        assert_eq!(statistics.memory, None, "nothing was sampled");
        assert_eq!(watch.finish(start - TimeDelta::hours(1)).duration, Some(0));
    }
}
