//! How times, spans, sizes and states are shown: as text with the exact value in its title, and never by colour alone. Each is a
//! piece of HTML of our own making, which templates need not escape.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use usine_db::WorkRequest;
use usine_model::work_request::{Results, Statuses};

/// Pieces whose text is ours: numbers, and words of closed lists.
macro_rules! html {
    ($($name:ty),*) => { $(impl askama::filters::HtmlSafe for $name {})* };
}
html!(When, Badge, Size, Span);

/// A moment, seen from now.
#[derive(Debug, Clone, Copy)]
pub struct When {
    at: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl When {
    /// A moment that may not have come.
    pub fn maybe(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Self> {
        at.map(|at| Self::new(at, now))
    }

    /// A moment.
    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { at, now }
    }

    /// How long ago; moments to come are negative.
    pub fn age(&self) -> chrono::TimeDelta {
        self.now - self.at
    }

    /// `3 minutes ago`.
    pub fn words(&self) -> String {
        let seconds = (self.now - self.at).num_seconds();
        let (count, unit) = match seconds.unsigned_abs() {
            0..5 => return "now".to_owned(),
            count @ ..60 => (count, "second"),
            count @ ..3600 => (count / 60, "minute"),
            count @ ..86_400 => (count / 3600, "hour"),
            count @ ..2_592_000 => (count / 86_400, "day"),
            _ => return self.at.format("%Y-%m-%d").to_string(),
        };
        let plural = if count == 1 { "" } else { "s" };
        if seconds < 0 { format!("in {count} {unit}{plural}") } else { format!("{count} {unit}{plural} ago") }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let exact = self.at.format("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "<time datetime=\"{iso}\" title=\"{exact}\">{}</time>", self.words())
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Span(pub f64);

impl Span {
    /// Of a work request: what it has run, so far.
    pub fn of(row: &WorkRequest, now: DateTime<Utc>) -> Option<Self> {
        let so_far = || (*row.status == Statuses::Running).then_some(row.started_at).flatten().map(|at| now - at);
        row.duration().or_else(|| so_far().map(|span| span.num_milliseconds() as f64 / 1e3)).map(Self)
    }

    /// Between two moments.
    pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        Self((to - from).num_milliseconds() as f64 / 1e3)
    }

    /// `1 h 02 min`.
    pub fn words(&self) -> String {
        let seconds = self.0.max(0.0);
        // Far below what a number of this kind can hold.
        let whole = seconds.round() as u64;
        match whole {
            _ if seconds < 9.95 => format!("{seconds:.1} s"),
            0..60 => format!("{whole} s"),
            60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
            3600..86_400 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
            _ => format!("{} d {:02} h", whole / 86_400, whole % 86_400 / 3600),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span title=\"{:.1} seconds\">{}</span>", self.0, self.words())
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// `1.2 MiB`.
    pub fn words(&self) -> String {
        let mut size = self.0 as f64;
        let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
        let mut unit = units.next().unwrap_or_default();
        for next in units {
            if size < 1023.5 {
                break;
            }
            size /= 1024.0;
            unit = next;
        }
        let digits = usize::from(unit != "B" && size < 99.95);
        format!("{size:.digits$} {unit}")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span title=\"{} bytes\">{}</span>", self.0, self.words())
    }
}

/// A word in a frame, with a sign before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    class: &'static str,
    sign: &'static str,
    words: &'static str,
}

impl Badge {
    const fn new(class: &'static str, sign: &'static str, words: &'static str) -> Self {
        Self { class, sign, words }
    }

    /// Where a work request stands; how it ended, once it has.
    pub fn of(row: &WorkRequest) -> Self {
        match *row.status {
            Statuses::Pending if row.worker_id.is_some() => Self::new("info", "◔", "assigned"),
            Statuses::Completed => Self::result(*row.result),
            status => Self::status(status),
        }
    }

    /// A status.
    pub fn status(status: Statuses) -> Self {
        match status {
            Statuses::Blocked => Self::new("dim", "◌", "blocked"),
            Statuses::Pending => Self::new("info", "○", "pending"),
            Statuses::Running => Self::new("info", "◐", "running"),
            Statuses::Completed => Self::new("good", "●", "completed"),
            Statuses::Aborted => Self::new("dim", "⊘", "aborted"),
        }
    }

    /// A result.
    pub fn result(result: Results) -> Self {
        match result {
            Results::None => Self::new("dim", "·", "no result"),
            Results::Success => Self::new("good", "✔", "success"),
            Results::Failure => Self::new("bad", "✘", "failure"),
            Results::TemporaryFailure => Self::new("warn", "↻", "temporary failure"),
            Results::Error => Self::new("bad", "⚠", "error"),
            Results::Skipped => Self::new("dim", "↷", "skipped"),
        }
    }

    /// Something that is on or off.
    pub fn of_worker(state: WorkerState) -> Self {
        match state {
            WorkerState::Disabled => Self::new("warn", "⊘", "disabled"),
            WorkerState::Disconnected => Self::new("bad", "✘", "disconnected"),
            WorkerState::Idle => Self::new("good", "✔", "idle"),
            WorkerState::Busy => Self::new("info", "◐", "running"),
        }
    }
}

/// Data for people who know YAML.
pub fn yaml(value: &impl serde::Serialize) -> String {
    // What came from JSON can be written as YAML.
    serde_saphyr::to_string(value).unwrap_or_default()
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::EnumIter)]
#[strum(serialize_all = "lowercase")]
pub enum WorkerState {
    /// Its token is disabled.
    Disabled,
    /// It is not there.
    Disconnected,
    /// It has nothing to do.
    Idle,
    /// It runs something.
    #[strum(serialize = "running")]
    Busy,
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, sign, words } = self;
        write!(f, "<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {words}</span>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let told = |seconds| When::new(now - chrono::TimeDelta::seconds(seconds), now).words();
        assert_eq!(told(2), "now");
        assert_eq!(told(59), "59 seconds ago");
        assert_eq!(told(60), "1 minute ago");
        assert_eq!(told(7300), "2 hours ago");
        assert_eq!(told(-90_000), "in 1 day");
        assert_eq!(told(40 * 86_400), "2023-10-05");
        let html = When::new(now, now).to_string();
        assert_eq!(html, "<time datetime=\"2023-11-14T22:13:20Z\" title=\"2023-11-14 22:13:20 UTC\">now</time>");
    }

    #[test]
    fn spans_and_sizes_have_two_or_three_digits() {
        let spans = [0.04, 9.96, 61.0, 3720.0, 100_000.0, -1.0].map(|seconds| Span(seconds).words());
        assert_eq!(spans, ["0.0 s", "10 s", "1 min 01 s", "1 h 02 min", "1 d 03 h", "0.0 s"]);
        let sizes = [0, 1023, 1024, 1536, 104_857_600, u64::MAX].map(|bytes| Size(bytes).words());
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "100 MiB", "16.0 EiB"]);
    }
}
