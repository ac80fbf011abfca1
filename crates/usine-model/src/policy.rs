//! How long, how often: leases, deadlines and retries.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How often a work request is handed out again after workers were lost with it.
pub const MAX_AUTOMATIC_RETRIES: i64 = 3;

/// How long an activation token lives.
pub const ACTIVATION_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(15);

/// How long a work-request token lives.
pub const WORK_REQUEST_TOKEN_LIFE: TimeDelta = TimeDelta::days(7);

/// A worker whose metadata are older than this is offered no new work.
pub const METADATA_LIFE: TimeDelta = TimeDelta::minutes(65);

/// `last_seen_at` of a token is written at most this often over HTTP.
pub const LAST_SEEN_RESOLUTION: TimeDelta = TimeDelta::minutes(5);

/// Limits that whoever submits a work request puts on it. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Seconds from start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
    /// Seconds without a line of log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<u32>,
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlinePassed {
    /// It ran for longer than this many seconds.
    Total(u32),
    /// It said nothing for longer than this many seconds.
    Silence(u32),
}

impl DeadlinePassed {
    /// Code of the error in the output data.
    pub fn code(self) -> &'static str {
        match self {
            Self::Total(_) => "deadline-total-exceeded",
            Self::Silence(_) => "deadline-silence-exceeded",
        }
    }

    /// The error in words.
    pub fn message(self) -> String {
        match self {
            Self::Total(limit) => format!("The work request ran for more than {limit} s, its limit"),
            Self::Silence(limit) => format!("The work request wrote no log for more than {limit} s, its limit"),
        }
    }
}

impl Deadlines {
    /// Which limit a work request has passed at `now`, if any.
    pub fn passed(
        &self,
        started_at: DateTime<Utc>,
        last_log_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<DeadlinePassed> {
        let late = |since: DateTime<Utc>, limit: u32| now - since > TimeDelta::seconds(i64::from(limit));
        let last_sign = last_log_at.map_or(started_at, |log| log.max(started_at));
        match (self.total, self.silence) {
            (Some(limit), _) if late(started_at, limit) => Some(DeadlinePassed::Total(limit)),
            (_, Some(limit)) if late(last_sign, limit) => Some(DeadlinePassed::Silence(limit)),
            _ => None,
        }
    }
}

/// What becomes of a work request whose worker was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// Hand the same work request out again.
    HandOutAgain,
    /// Its artifacts tell of an unfinished run: abort it and put a fresh one in its place.
    Supersede,
    /// Enough is enough.
    GiveUp,
}

/// Decides what becomes of a work request that was handed out again `retry_count` times, when its worker is lost.
pub fn after_loss(retry_count: i64, has_artifacts: bool) -> AfterLoss {
    if retry_count >= MAX_AUTOMATIC_RETRIES {
        AfterLoss::GiveUp
    } else if has_artifacts {
        AfterLoss::Supersede
    } else {
        AfterLoss::HandOutAgain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_pass_one_after_the_other() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let limits = Deadlines { total: Some(100), silence: Some(10) };
        assert_eq!(limits.passed(at(0), None, at(10)), None);
        assert_eq!(limits.passed(at(0), None, at(11)), Some(DeadlinePassed::Silence(10)));
        assert_eq!(limits.passed(at(0), Some(at(5)), at(15)), None);
        assert_eq!(limits.passed(at(0), Some(at(100)), at(101)), Some(DeadlinePassed::Total(100)));
        assert_eq!(Deadlines::default().passed(at(0), None, at(1_000_000)), None);
    }

    #[test]
    fn three_losses_are_forgiven() {
        assert_eq!(after_loss(0, false), AfterLoss::HandOutAgain);
        assert_eq!(after_loss(2, true), AfterLoss::Supersede);
        assert_eq!(after_loss(3, false), AfterLoss::GiveUp);
    }
}
