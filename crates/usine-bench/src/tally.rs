//! What was submitted and what was reported, each with its times: the ground of every number, and of the check that nothing
//! was lost or done twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::{Error, Result};

/// Without any report for this long, nothing more will come. Longer than the server's lease.
const PATIENCE: Duration = Duration::from_secs(120);

/// A work request that the server has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submission {
    pub id: i64,
    /// When it should have been sent.
    pub due: Instant,
    /// Just before the request was sent.
    pub sent: Instant,
    /// When the answer was there.
    pub answered: Instant,
}

/// A work request that a worker has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub id: i64,
    /// When the notice came that made the worker ask for work.
    pub noticed: Instant,
    /// When the server had acknowledged the result.
    pub reported: Instant,
}

/// What became of everything.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Submitted and reported.
    pub pairs: Vec<(Submission, Report)>,
    /// Submitted, not reported.
    pub open: usize,
    /// Reported, and there before.
    pub earlier: usize,
}

/// The two lists.
pub(crate) struct Tally {
    submitted: Mutex<Vec<Submission>>,
    reported: Mutex<Vec<Report>>,
    /// How many more work requests may be submitted now. A report makes room for another.
    pub room: Semaphore,
}

impl Tally {
    /// Empty, for at most so many work requests between submission and report.
    pub fn new(in_flight: usize) -> Self {
        Self { submitted: Mutex::default(), reported: Mutex::default(), room: Semaphore::new(in_flight) }
    }

    /// Notes a submission.
    pub fn submitted(&self, submission: Submission) {
        lock(&self.submitted).push(submission);
    }

    /// Notes a report.
    pub fn reported(&self, report: Report) {
        lock(&self.reported).push(report);
        self.room.add_permits(1);
    }

    /// How many have been reported.
    pub fn count(&self) -> usize {
        lock(&self.reported).len()
    }

    /// How many were reported between two moments.
    pub fn count_between(&self, begin: Instant, end: Instant) -> usize {
        lock(&self.reported).iter().filter(|report| begin <= report.reported && report.reported < end).count()
    }

    /// Waits until all that was submitted is reported. Nobody may submit any more.
    pub async fn drain(&self) -> Result<()> {
        let (mut last, mut since) = (self.count(), Instant::now());
        loop {
            let submitted = lock(&self.submitted).len();
            let reported = self.count();
            if reported >= submitted {
                return Ok(());
            }
            if reported != last {
                (last, since) = (reported, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(Error::Inconsistent(format!(
                    "{submitted} work requests were submitted, {reported} reported, and nothing has come for {} s",
                    PATIENCE.as_secs()
                )));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Each submission with its report. `earlier` tells which work requests were there before.
    ///
    /// # Errors
    /// If something was submitted or reported twice, or reported and neither submitted nor there before.
    pub fn account(&self, earlier: impl Fn(i64) -> bool) -> Result<Account> {
        let twice = |what: &str, id: i64| Error::Inconsistent(format!("work request {id} was {what} twice"));
        let mut reports = HashMap::new();
        for report in lock(&self.reported).iter() {
            if reports.insert(report.id, *report).is_some() {
                return Err(twice("reported", report.id));
            }
        }
        let mut account = Account::default();
        let mut ids = HashSet::new();
        for submission in lock(&self.submitted).iter() {
            if !ids.insert(submission.id) {
                return Err(twice("submitted", submission.id));
            }
            match reports.remove(&submission.id) {
                Some(report) => account.pairs.push((*submission, report)),
                None => account.open += 1,
            }
        }
        if let Some(id) = reports.keys().find(|id| !earlier(**id)) {
            return Err(Error::Inconsistent(format!("work request {id} was reported, but not submitted")));
        }
        account.earlier = reports.len();
        Ok(account)
    }
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(submitted: &[i64], reported: &[i64]) -> Tally {
        let (tally, now) = (Tally::new(0), Instant::now());
        submitted.iter().for_each(|id| tally.submitted(Submission { id: *id, due: now, sent: now, answered: now }));
        reported.iter().for_each(|id| tally.reported(Report { id: *id, noticed: now, reported: now }));
        tally
    }

    #[test]
    fn what_does_not_agree_is_found() {
        let account = tally(&[1, 2, 4], &[2, 1, 3]).account(|id| id == 3).unwrap();
        assert_eq!((account.pairs.len(), account.open, account.earlier), (2, 1, 1));
        for (submitted, reported, words) in [
            (&[1][..], &[1, 1][..], "1 was reported twice"),
            (&[1], &[1, 3], "3 was reported, but not submitted"),
            (&[1, 1], &[1], "1 was submitted twice"),
        ] {
            let error = tally(submitted, reported).account(|_| false).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_report_makes_room() {
        assert_eq!(tally(&[1], &[1]).room.available_permits(), 1);
    }
}
