//! What a stage finds: numbers with a unit, some with a target.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// A number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// The stage that found it.
    pub stage: &'static str,
    /// The database, or nothing where there is none.
    pub database: &'static str,
    /// Under which circumstances, such as `100 workers`.
    pub case: String,
    /// What was measured.
    pub what: &'static str,
    /// How much.
    pub value: f64,
    /// Of what: `/s`, `ms`, `MB`, `MB/s`, `%` (of one CPU), `×`.
    pub unit: &'static str,
    /// What it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// What a number should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Target {
    /// Whether a value is as it should be.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {}", number(*least)),
            Self::AtMost(most) => write!(f, "≤ {}", number(*most)),
        }
    }
}

impl Measure {
    /// The value with its unit, for people.
    pub fn shown(&self) -> String {
        format!("{} {}", number(self.value), self.unit)
    }

    /// Target and verdict, for people; empty if there is none.
    pub fn verdict(&self) -> String {
        self.target.map_or_else(String::new, |target| {
            format!("{target}: {}", if target.is_met(self.value) { "met" } else { "missed" })
        })
    }
}

/// Three digits that mean something, and thousands whole.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Measures of one case, as they are found.
pub(crate) struct Sheet {
    stage: &'static str,
    database: &'static str,
    case: String,
    /// What was found.
    pub measures: Vec<Measure>,
}

impl Sheet {
    /// An empty one.
    pub fn new(stage: &'static str, database: &'static str, case: impl Into<String>) -> Self {
        Self { stage, database, case: case.into(), measures: Vec::new() }
    }

    /// Notes a number.
    pub fn note(&mut self, what: &'static str, value: f64, unit: &'static str) {
        self.aim(what, value, unit, None);
    }

    /// Notes a number that has, perhaps, a target.
    pub fn aim(&mut self, what: &'static str, value: f64, unit: &'static str, target: Option<Target>) {
        let measure =
            Measure { stage: self.stage, database: self.database, case: self.case.clone(), what, value, unit, target };
        tracing::info!(
            "{} · {} · {}: {what}: {} {}",
            measure.stage,
            measure.database,
            measure.case,
            measure.shown(),
            measure.verdict()
        );
        self.measures.push(measure);
    }
}

/// A number of things in words, such as `1 worker` and `10 workers`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The smallest of the values that is as large as this part of them, in milliseconds. 0 if there are none.
pub(crate) fn percentile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let rank = (times.len() as f64 * part).ceil() as usize;
    times.get(rank.saturating_sub(1)).map_or(0.0, |time| milliseconds(*time))
}

/// In milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// In millions of bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let mut times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 0.5), 50.0);
        assert_eq!(percentile(&mut times, 0.99), 99.0);
        assert_eq!(percentile(&mut times[..1], 0.99), 1.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }

    #[test]
    fn targets() {
        assert!(Target::AtLeast(2000.0).is_met(2000.0) && !Target::AtLeast(2000.0).is_met(1999.9));
        assert!(Target::AtMost(5.0).is_met(4.9) && !Target::AtMost(5.0).is_met(5.1));
        let mut sheet = Sheet::new("throughput", "SQLite", "100 workers");
        sheet.aim("work requests", 1234.5, "/s", Some(Target::AtLeast(2000.0)));
        assert_eq!(sheet.measures[0].shown(), "1234 /s");
        assert_eq!(sheet.measures[0].verdict(), "≥ 2000: missed");
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [0.0, 0.0123, 1.234, 12.34, 1234.5].map(number).to_vec();
        assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "1234"]);
    }
}
