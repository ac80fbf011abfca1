//! How long, how much, how often: leases, deadlines, limits and retries.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a work request is handed out again after workers were lost with it.
pub const MAX_AUTOMATIC_RETRIES: i64 = 3;

/// How long a work request rests after a temporary failure: after its first, second and third run.
pub const TEMPORARY_FAILURE_DELAYS: [TimeDelta; 3] =
    [TimeDelta::minutes(1), TimeDelta::minutes(5), TimeDelta::minutes(15)];

/// How long an activation token lives.
pub const ACTIVATION_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(15);

/// How long a work-request token lives.
pub const WORK_REQUEST_TOKEN_LIFE: TimeDelta = TimeDelta::days(7);

/// A worker whose metadata are older than this is offered no new work.
pub const METADATA_LIFE: TimeDelta = TimeDelta::minutes(65);

/// `last_seen_at` of a token is written at most this often over HTTP.
pub const LAST_SEEN_RESOLUTION: TimeDelta = TimeDelta::minutes(5);

/// Limits that whoever submits a work request puts on it. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// What the commands of a work request may use, as whoever submits it says: enforced by the worker. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceLimits {
    /// Bytes of memory, of all processes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes of disk space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

impl ResourceLimits {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Which limit is passed by what is used, if any: of memory first.
    pub fn passed(&self, memory: u64, disk: u64) -> Option<LimitPassed> {
        match (self.memory, self.disk) {
            (Some(limit), _) if memory > limit => Some(LimitPassed::Memory { limit, used: memory }),
            (_, Some(limit)) if disk > limit => Some(LimitPassed::Disk { limit, used: disk }),
            _ => None,
        }
    }
}

/// A limit of resources that was passed. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitPassed {
    /// Its processes used too much memory.
    Memory {
        /// What was allowed.
        limit: u64,
        /// What was seen.
        used: u64,
    },
    /// It used too much disk space.
    Disk {
        /// What was allowed.
        limit: u64,
        /// What was seen.
        used: u64,
    },
}

impl LimitPassed {
    /// Code of the error in the output data.
    pub fn code(self) -> &'static str {
        match self {
            Self::Memory { .. } => "memory-limit-exceeded",
            Self::Disk { .. } => "disk-limit-exceeded",
        }
    }

    /// The error in words.
    pub fn message(self) -> String {
        match self {
            // The kernel keeps a cgroup at its limit: more than that is never seen there.
            Self::Memory { limit, used } if used <= limit => {
                format!("The task needed more than {limit} bytes of memory, its limit")
            }
            Self::Memory { limit, used } => format!("The task used {used} bytes of memory; its limit is {limit}"),
            Self::Disk { limit, used } => format!("The task used {used} bytes of disk space; its limit is {limit}"),
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

/// How long a work request that was automatically retried `retry_count` times rests after a temporary failure, until it is
/// retried once more; `None`: not any more. Losses of workers count, too.
pub fn after_temporary_failure(retry_count: i64) -> Option<TimeDelta> {
    if retry_count >= MAX_AUTOMATIC_RETRIES {
        return None;
    }
    TEMPORARY_FAILURE_DELAYS.get(usize::try_from(retry_count).unwrap_or(0)).copied()
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

    #[test]
    fn temporary_failures_are_retried_with_growing_delays() {
        let delays: Vec<_> =
            (0..5).map(|count| after_temporary_failure(count).map(|delay| delay.num_minutes())).collect();
        assert_eq!(delays, [Some(1), Some(5), Some(15), None, None]);
        assert_eq!(after_temporary_failure(-1), after_temporary_failure(0));
    }

    #[test]
    fn limits_are_passed_by_one_byte() {
        let limits = ResourceLimits { memory: Some(100), disk: Some(1000) };
        assert_eq!(limits.passed(100, 1000), None);
        assert_eq!(limits.passed(101, 1001), Some(LimitPassed::Memory { limit: 100, used: 101 }));
        let disk = limits.passed(0, 1001).unwrap();
        assert_eq!(
            (disk.code(), disk.message().as_str()),
            ("disk-limit-exceeded", "The task used 1001 bytes of disk space; its limit is 1000",)
        );
        assert_eq!(ResourceLimits::default().passed(u64::MAX, u64::MAX), None);
        let kept = LimitPassed::Memory { limit: 5, used: 5 };
        assert_eq!(kept.message(), "The task needed more than 5 bytes of memory, its limit");
    }
}
