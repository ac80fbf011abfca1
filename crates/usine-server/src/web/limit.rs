//! How often somebody may try a password: a few times for each name, then slowly.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::overload::Lane;

/// So many failures of one name are forgiven within [`WINDOW`].
const FAILURES: u32 = 10;

/// After this time without a failure all are forgotten.
const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// Names that are remembered. Beyond that, those that failed longest ago are forgotten.
const NAMES: usize = 10_000;

/// Passwords that are verified at the same time: each takes a core and 19 MiB.
const AT_ONCE: usize = 2;

/// And that may wait for it.
const WAITING: usize = 16;

/// The failures of late.
pub struct LoginLimit {
    failures: Mutex<HashMap<String, (u32, DateTime<Utc>)>>,
    /// Held while a password is verified.
    pub(crate) turns: Lane,
}

impl Default for LoginLimit {
    fn default() -> Self {
        Self { failures: Mutex::default(), turns: Lane::new(AT_ONCE, WAITING) }
    }
}

impl LoginLimit {
    /// How long this name must wait before its next try, if it must.
    pub fn wait(&self, name: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = failures.get(name)?;
        let rest = *last + WINDOW - now;
        (*count >= FAILURES && rest > TimeDelta::zero()).then_some(rest)
    }

    /// Notes a failure, or that it went well.
    pub fn note(&self, name: &str, success: bool, now: DateTime<Utc>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, last)| *last + WINDOW > now);
        if success {
            failures.remove(name);
            return;
        }
        if failures.len() >= NAMES
            && let Some(oldest) = failures.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone())
        {
            failures.remove(&oldest);
        }
        let entry = failures.entry(name.to_owned()).or_insert((0, now));
        *entry = (entry.0.saturating_add(1), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_are_forgiven_and_others_not_touched() {
        let limit = LoginLimit::default();
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        for _ in 0..FAILURES {
            assert_eq!(limit.wait("alice", now), None);
            limit.note("alice", false, now);
        }
        assert_eq!(limit.wait("alice", now), Some(WINDOW));
        assert_eq!(limit.wait("bob", now), None);
        assert_eq!(limit.wait("alice", now + WINDOW), None);
        limit.note("alice", true, now);
        assert_eq!(limit.wait("alice", now), None);
    }
}
