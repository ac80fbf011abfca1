//! Whose turn it is: among work requests of equal priority, the one whose owners have had least of the workers of late.
//!
//! A work request has two owners: the user who submitted it, and the workspace it is in. Each has an account of
//! worker-seconds, which fades away with time. What counts is the account divided by the owner's weight, the user's and
//! the workspace's together: whoever submits thousands takes turns with all others, and so does a workspace with many
//! users. Nothing is reserved: who is alone gets everything.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

/// The weight of who has been given none.
pub const DEFAULT_WEIGHT: i32 = 100;

/// In this time half of what was used is forgotten.
pub const HALF_LIFE: TimeDelta = TimeDelta::hours(1);

/// Worker-seconds that are charged for each work request when it is assigned: turns are taken even when all are short.
pub const ENTRY: f64 = 10.0;

/// An account below this is closed, in worker-seconds.
const NOTHING: f64 = 0.01;

/// Who has a work request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The user who submitted it.
    pub user: i64,
    /// The workspace it is in.
    pub workspace: i64,
}

/// What an owner may have. Workspaces and users have the same kind of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its part of the workers, in proportion to the others' weights.
    pub weight: i32,
    /// How many work requests it may have on workers at a time.
    pub max_running: Option<i32>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: DEFAULT_WEIGHT, max_running: None }
    }
}

/// A limit that keeps a work request waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareLimit {
    /// Its user has as many on workers as this, and may not have more.
    User(i32),
    /// The same of its workspace.
    Workspace(i32),
}

/// The first work request of a lane of the queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// Its id.
    pub id: i64,
    /// Effective priority.
    pub priority: i32,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// Whose it is.
    pub owner: Owner,
}

/// The accounts of all owners.
#[derive(Debug, Clone, Default)]
pub struct FairShare {
    users: Accounts,
    workspaces: Accounts,
    at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default)]
struct Accounts {
    used: HashMap<i64, f64>,
    occupied: HashMap<i64, i64>,
    shares: HashMap<i64, Share>,
}

impl Accounts {
    fn share(&self, owner: i64) -> Share {
        self.shares.get(&owner).copied().unwrap_or_default()
    }

    fn score(&self, owner: i64) -> f64 {
        self.used.get(&owner).copied().unwrap_or(0.0) / f64::from(self.share(owner).weight.max(1))
    }

    fn full(&self, owner: i64) -> Option<i32> {
        let limit = self.share(owner).max_running?;
        (self.occupied.get(&owner).copied().unwrap_or(0) >= i64::from(limit)).then_some(limit)
    }

    fn pass(&mut self, seconds: f64, left: f64) {
        self.used.retain(|_, used| {
            *used *= left;
            *used > NOTHING
        });
        for (owner, count) in &self.occupied {
            *self.used.entry(*owner).or_default() += seconds * *count as f64;
        }
    }
}

impl FairShare {
    /// Says what owners may have: all that differ from the default.
    pub fn set_shares(&mut self, users: HashMap<i64, Share>, workspaces: HashMap<i64, Share>) {
        self.users.shares = users;
        self.workspaces.shares = workspaces;
    }

    /// Lets time pass until `now`, with the workers as they were, and then says who has them from now on: how many work
    /// requests of each owner.
    pub fn advance(&mut self, now: DateTime<Utc>, occupied: impl IntoIterator<Item = (Owner, i64)>) {
        let passed = self.at.map_or(TimeDelta::zero(), |at| (now - at).max(TimeDelta::zero()));
        let seconds = passed.as_seconds_f64();
        let left = left_after(passed);
        self.users.pass(seconds, left);
        self.workspaces.pass(seconds, left);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        self.users.occupied.clear();
        self.workspaces.occupied.clear();
        for (owner, count) in occupied {
            *self.users.occupied.entry(owner.user).or_default() += count;
            *self.workspaces.occupied.entry(owner.workspace).or_default() += count;
        }
    }

    /// Charges what was used at an earlier time, of which the program knows from its records.
    pub fn recall(&mut self, owner: Owner, seconds: f64, ago: TimeDelta) {
        self.add(owner, seconds * left_after(ago));
    }

    /// Charges for a work request that has just been assigned.
    pub fn assign(&mut self, owner: Owner) {
        self.add(owner, ENTRY);
        *self.users.occupied.entry(owner.user).or_default() += 1;
        *self.workspaces.occupied.entry(owner.workspace).or_default() += 1;
    }

    /// The limit that keeps the owner's work requests waiting, if one does.
    pub fn limit(&self, owner: Owner) -> Option<ShareLimit> {
        let user = self.users.full(owner.user).map(ShareLimit::User);
        user.or_else(|| self.workspaces.full(owner.workspace).map(ShareLimit::Workspace))
    }

    /// What decides between work requests of equal priority: the lower comes first.
    pub fn score(&self, owner: Owner) -> f64 {
        self.users.score(owner.user) + self.workspaces.score(owner.workspace)
    }

    /// Which of these is next: higher priority first, then whose owners had least, then the oldest. Those of owners that
    /// have reached a limit are passed by.
    pub fn next<'a>(&self, heads: impl IntoIterator<Item = &'a Head>) -> Option<&'a Head> {
        heads.into_iter().filter(|head| self.limit(head.owner).is_none()).min_by(|one, other| self.compare(one, other))
    }

    fn compare(&self, one: &Head, other: &Head) -> Ordering {
        Reverse(one.priority)
            .cmp(&Reverse(other.priority))
            .then_with(|| self.score(one.owner).total_cmp(&self.score(other.owner)))
            .then_with(|| one.created_at.cmp(&other.created_at))
            .then_with(|| one.id.cmp(&other.id))
    }

    fn add(&mut self, owner: Owner, seconds: f64) {
        *self.users.used.entry(owner.user).or_default() += seconds;
        *self.workspaces.used.entry(owner.workspace).or_default() += seconds;
    }
}

/// What is left of something after a time.
fn left_after(passed: TimeDelta) -> f64 {
    0.5_f64.powf(passed.as_seconds_f64() / HALF_LIFE.as_seconds_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn owner(user: i64, workspace: i64) -> Owner {
        Owner { user, workspace }
    }

    fn head(id: i64, priority: i32, owner: Owner) -> Head {
        Head { id, priority, created_at: at(id), owner }
    }

    /// One worker, everybody always has something waiting: how often each gets it.
    fn turns(shares: &mut FairShare, owners: &[Owner], rounds: usize, seconds: i64) -> Vec<usize> {
        let mut turns = vec![0; owners.len()];
        let heads: Vec<_> = owners.iter().zip(1..).map(|(owner, id)| head(id, 0, *owner)).collect();
        for round in 0..rounds {
            let now = at(i64::try_from(round).unwrap() * seconds);
            shares.advance(now, []);
            let next = *shares.next(&heads).unwrap();
            turns[usize::try_from(next.id).unwrap() - 1] += 1;
            shares.assign(next.owner);
            shares.advance(now, [(next.owner, 1)]);
        }
        turns
    }

    #[test]
    fn users_take_turns_and_the_oldest_begins() {
        let (one, two) = (owner(1, 1), owner(2, 1));
        assert_eq!(turns(&mut FairShare::default(), &[one, two], 10, 60), [5, 5]);
        let shares = FairShare::default();
        assert_eq!(shares.next(&[head(5, 0, one), head(4, 0, two)]).unwrap().id, 4);
    }

    #[test]
    fn priority_comes_first() {
        let (one, two) = (owner(1, 1), owner(2, 2));
        let mut shares = FairShare::default();
        for _ in 0..100 {
            shares.assign(one);
        }
        assert_eq!(shares.next(&[head(9, 1, one), head(1, 0, two)]).unwrap().id, 9);
        assert_eq!(shares.next(&[head(9, 0, one), head(10, 0, two)]).unwrap().id, 10);
    }

    #[test]
    fn weights_are_proportions() {
        let (one, two) = (owner(1, 1), owner(2, 2));
        let mut shares = FairShare::default();
        let heavy = Share { weight: 300, max_running: None };
        shares.set_shares(HashMap::from([(1, heavy)]), HashMap::from([(1, heavy)]));
        let turns = turns(&mut shares, &[one, two], 400, 60);
        assert!((295..=305).contains(&turns[0]), "{turns:?}");
    }

    /// A workspace with many users gets more than one of theirs would, but does not push the other workspace aside.
    #[test]
    fn neither_many_users_nor_many_workspaces_push_others_aside() {
        let crowd: Vec<_> = (1..=9).map(|user| owner(user, 1)).collect();
        let alone = owner(10, 2);
        let all: Vec<_> = crowd.iter().copied().chain([alone]).collect();
        let turns_of_all = turns(&mut FairShare::default(), &all, 1000, 60);
        assert!((150..=500).contains(&turns_of_all[9]), "{turns_of_all:?}");
        let spread: Vec<_> = (1..=9).map(|workspace| owner(1, workspace)).chain([owner(2, 10)]).collect();
        let turns_of_all = turns(&mut FairShare::default(), &spread, 1000, 60);
        assert!((150..=500).contains(&turns_of_all[9]), "{turns_of_all:?}");
    }

    #[test]
    fn limits_count_what_is_on_workers() {
        let (one, two) = (owner(1, 1), owner(2, 1));
        let mut shares = FairShare::default();
        let limited = |max| HashMap::from([(1, Share { max_running: Some(max), ..Share::default() })]);
        shares.set_shares(limited(1), limited(2));
        assert_eq!(shares.limit(one), None);
        shares.assign(one);
        assert_eq!((shares.limit(one), shares.limit(two)), (Some(ShareLimit::User(1)), None));
        shares.assign(two);
        assert_eq!(shares.limit(two), Some(ShareLimit::Workspace(2)));
        assert_eq!(shares.next(&[head(1, 9, one), head(2, 9, two)]), None);
        shares.advance(at(0), [(two, 1)]);
        assert_eq!(shares.next(&[head(1, 0, one), head(2, 0, two)]).unwrap().id, 1);
    }

    #[test]
    fn what_was_used_fades() {
        let one = owner(1, 1);
        let mut shares = FairShare::default();
        shares.advance(at(0), [(one, 2)]);
        shares.advance(at(3600), []);
        let then = shares.score(one);
        assert!((then - 2.0 * 7200.0 / 100.0).abs() < 1e-6, "{then}");
        shares.advance(at(7200), []);
        assert!((shares.score(one) - then / 2.0).abs() < 1e-6);
        shares.advance(at(7200 + 40 * 3600), []);
        assert!(shares.users.used.is_empty() && shares.workspaces.used.is_empty());
        // A clock that goes back gives nothing back.
        shares.advance(at(0), []);
        assert_eq!(shares.score(one), 0.0);
    }

    #[test]
    fn records_count_as_much_as_is_left_of_them() {
        let one = owner(1, 1);
        let mut shares = FairShare::default();
        shares.recall(one, 400.0, HALF_LIFE * 2);
        assert!((shares.score(one) - 2.0).abs() < 1e-9);
    }
}
