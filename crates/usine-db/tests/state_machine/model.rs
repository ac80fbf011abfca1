//! The reference: what the documentation says of work requests, workers, attempts and keys, in plain data structures. It
//! knows nothing of the database, and shares no rule with the program but the words of statuses and events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use usine_model::event::EventKind;
use usine_model::work_request::{Results, Statuses};

/// Automatic retries of a work request, for lost workers and temporary failures together.
pub const RETRIES: i64 = 3;

/// Minutes of rest after a temporary failure, by the number of retries before.
const RESTS: [i64; 3] = [1, 5, 15];

/// Minutes after which a worker must have said anew what it can do.
const FRESH: i64 = 65;

/// What work requests ask for: a tag that the worker must have, and whether they have the tag that reserved workers want.
pub const KINDS: [(Option<&str>, bool); 4] =
    [(None, false), (Some("worker:cap:a"), false), (Some("worker:cap:b"), false), (None, true)];

/// What can be read in the database about one work request.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub status: Statuses,
    pub result: Results,
    pub worker: Option<i64>,
    pub retries: i64,
    pub priority: i32,
    pub supersedes: Option<i64>,
    pub rests_until: Option<DateTime<Utc>>,
    pub started: bool,
    /// In the order of their numbers.
    pub attempts: Vec<Attempt>,
    /// Hashes of the keys that would be let in for it.
    pub keys: BTreeSet<String>,
    /// All that happened, in order.
    pub history: Vec<EventKind>,
}

/// One hand-out.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub worker: i64,
    pub key: String,
    /// How it ended; none: it is live.
    pub outcome: Option<&'static str>,
    pub result: Results,
}

/// A work request.
#[derive(Debug, Clone)]
pub struct Request {
    pub facts: Facts,
    pub kind: usize,
    created: DateTime<Utc>,
    heir: Option<i64>,
    has_artifacts: bool,
}

/// A worker.
#[derive(Debug, Clone)]
pub struct Worker {
    pub id: i64,
    pub enabled: bool,
    pub connected: Option<DateTime<Utc>>,
    pub tags: BTreeSet<&'static str>,
    pub reserved: bool,
    pub told_at: DateTime<Utc>,
    /// Work requests that it may have at once.
    pub room: usize,
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    Accepted,
    Repeated,
    NotRunning,
    NotFound,
}

/// Everything.
#[derive(Default)]
pub struct Model {
    pub requests: BTreeMap<i64, Request>,
    pub workers: Vec<Worker>,
    /// Ids of work requests that the step has made in the database and the model has not made yet.
    pub newborn: VecDeque<i64>,
    /// The moment of the present step.
    pub now: DateTime<Utc>,
}

impl Worker {
    pub fn fits(&self, kind: usize) -> bool {
        let (required, mine) = KINDS[kind];
        required.is_none_or(|tag| self.tags.contains(tag)) && (mine || !self.reserved)
    }
}

impl Model {
    fn at(&mut self, id: i64) -> &mut Request {
        self.requests.get_mut(&id).expect("a work request of the model")
    }

    fn facts(&mut self, id: i64) -> &mut Facts {
        &mut self.at(id).facts
    }

    /// What a worker has, pending or running.
    pub fn held(&self, worker: i64) -> Vec<i64> {
        let holds = |facts: &Facts| {
            facts.worker == Some(worker) && matches!(facts.status, Statuses::Pending | Statuses::Running)
        };
        self.requests.iter().filter(|(_, request)| holds(&request.facts)).map(|(id, _)| *id).collect()
    }

    fn running_on(&self, worker: i64) -> Vec<i64> {
        let held = self.held(worker);
        held.into_iter().filter(|id| self.requests[id].facts.status == Statuses::Running).collect()
    }

    /// Those that nobody has yet.
    pub fn free(&self) -> Vec<i64> {
        let free = |facts: &Facts| facts.status == Statuses::Pending && facts.worker.is_none();
        self.requests.iter().filter(|(_, request)| free(&request.facts)).map(|(id, _)| *id).collect()
    }

    fn has_room(&self, worker: &Worker) -> bool {
        self.held(worker.id).len() < worker.room
    }

    /// Workers that can be given work now.
    pub fn waiting(&self) -> BTreeSet<i64> {
        let waits = |worker: &&Worker| {
            worker.enabled
                && worker.connected.is_some()
                && self.now - worker.told_at <= TimeDelta::minutes(FRESH)
                && self.has_room(worker)
        };
        self.workers.iter().filter(waits).map(|worker| worker.id).collect()
    }

    /// Somebody submits.
    pub fn submit(&mut self, kind: usize, priority: i32) -> Option<i64> {
        let id = self.be_born(kind, priority, 0, None);
        self.facts(id).history.push(EventKind::Pending);
        Some(id)
    }

    fn be_born(&mut self, kind: usize, priority: i32, retries: i64, supersedes: Option<i64>) -> i64 {
        let id = self.newborn.pop_front().expect("the database has made a work request where the model makes one");
        let facts = Facts {
            status: Statuses::Pending,
            result: Results::None,
            worker: None,
            retries,
            priority,
            supersedes,
            rests_until: None,
            started: false,
            attempts: Vec::new(),
            keys: BTreeSet::new(),
            history: vec![EventKind::Created],
        };
        let request = Request { facts, kind, created: self.now, heir: None, has_artifacts: false };
        self.requests.insert(id, request);
        id
    }

    /// Gives a work request to a worker, whatever it is.
    pub fn assign(&mut self, id: i64, worker: usize, outdated: bool) -> bool {
        let worker = &self.workers[worker];
        let facts = &self.requests[&id].facts;
        let may = facts.status == Statuses::Pending && facts.worker.is_none() && self.has_room(worker) && !outdated;
        if may {
            let worker = worker.id;
            let facts = self.facts(id);
            facts.worker = Some(worker);
            facts.history.push(EventKind::Assigned);
        }
        may
    }

    /// What a run of the scheduler must not have done. The order among equals is the scheduler's own affair.
    pub fn schedule(&mut self, assigned: &[(i64, i64)]) -> Result<(), String> {
        let waiting = self.waiting();
        for &(id, to) in assigned {
            let index =
                self.workers.iter().position(|worker| worker.id == to).ok_or("an unknown worker has got work")?;
            let worker = &self.workers[index];
            if !waiting.contains(&to) {
                return Err(format!("worker {to} does not wait for work, and has got {id}"));
            }
            let chosen = &self.requests[&id];
            if !worker.fits(chosen.kind) {
                return Err(format!("{id} does not fit worker {to}"));
            }
            let passed_by = |other: &&i64| {
                let other = &self.requests[other];
                worker.fits(other.kind) && other.facts.priority > chosen.facts.priority
            };
            if let Some(other) = self.free().iter().find(passed_by) {
                return Err(format!("{other}, of higher priority, was passed by for {id}"));
            }
            if !self.assign(id, index, false) {
                return Err(format!("{id} cannot be given to worker {to}"));
            }
        }
        let free = self.free();
        for worker in self.workers.iter().filter(|worker| waiting.contains(&worker.id) && self.has_room(worker)) {
            if let Some(id) = free.iter().find(|id| worker.fits(self.requests[id].kind)) {
                return Err(format!("{id} waits, and so does worker {}", worker.id));
            }
        }
        Ok(())
    }

    /// A worker asks for work: what it still runs, it has lost.
    pub fn fetch(&mut self, worker: usize, key: &str, own: bool) -> Option<i64> {
        let worker = self.workers[worker].id;
        for id in self.running_on(worker) {
            let request = self.at(id);
            if request.facts.retries >= RETRIES {
                self.end(id, Statuses::Aborted, Results::None, "aborted");
            } else if request.has_artifacts {
                let retries = request.facts.retries + 1;
                self.replace(id, retries, None);
            } else {
                self.end_attempt(id, "worker-restarted", Results::None);
                self.facts(id).retries += 1;
                self.begin_attempt(id, worker, key, own);
                self.facts(id).history.push(EventKind::HandedOutAgain);
                return Some(id);
            }
        }
        let order = |id: &i64| {
            let request = &self.requests[id];
            (-request.facts.priority, request.created, *id)
        };
        let next = self.held(worker).into_iter().min_by_key(order)?;
        let facts = self.facts(next);
        facts.status = Statuses::Running;
        facts.started = true;
        facts.history.push(EventKind::Running);
        self.begin_attempt(next, worker, key, own);
        Some(next)
    }

    fn begin_attempt(&mut self, id: i64, worker: i64, key: &str, own: bool) {
        self.revoke(worker);
        let attempt = Attempt { worker, key: key.to_owned(), outcome: None, result: Results::None };
        let facts = self.facts(id);
        facts.attempts.push(attempt);
        if !own {
            facts.keys.insert(key.to_owned());
        }
    }

    /// The keys of all that the worker has stop working.
    fn revoke(&mut self, worker: i64) {
        for id in self.held(worker) {
            self.facts(id).keys.clear();
        }
    }

    /// A new key in the place of the present one.
    pub fn new_key(&mut self, id: i64, key: &str) -> bool {
        let facts = self.facts(id);
        let Some(worker) = facts.worker.filter(|_| matches!(facts.status, Statuses::Pending | Statuses::Running))
        else {
            return false;
        };
        if let Some(live) = facts.attempts.iter_mut().find(|attempt| attempt.outcome.is_none()) {
            live.key = key.to_owned();
        }
        self.revoke(worker);
        self.facts(id).keys.insert(key.to_owned());
        true
    }

    fn end_attempt(&mut self, id: i64, outcome: &'static str, result: Results) {
        for live in self.facts(id).attempts.iter_mut().filter(|attempt| attempt.outcome.is_none()) {
            (live.outcome, live.result) = (Some(outcome), result);
        }
    }

    fn end(&mut self, id: i64, status: Statuses, result: Results, outcome: &'static str) {
        let told = if outcome == "reported" { result } else { Results::None };
        self.end_attempt(id, outcome, told);
        let facts = self.facts(id);
        (facts.status, facts.result, facts.rests_until) = (status, result, None);
        facts.keys.clear();
        facts.history.push(if status == Statuses::Aborted { EventKind::Aborted } else { EventKind::Completed });
    }

    /// Another one takes its place.
    fn replace(&mut self, id: i64, retries: i64, rest: Option<TimeDelta>) {
        if !self.facts(id).status.is_terminal() {
            self.end(id, Statuses::Aborted, Results::None, "aborted");
        }
        let old = self.requests[&id].clone();
        let heir = self.be_born(old.kind, old.facts.priority, retries, Some(id));
        let until = rest.map(|rest| self.now + rest);
        let facts = self.facts(heir);
        if until.is_some() {
            (facts.status, facts.rests_until) = (Statuses::Blocked, until);
            facts.history.push(EventKind::Blocked);
        } else {
            facts.history.push(EventKind::Pending);
        }
        let old = self.at(id);
        old.heir = Some(heir);
        old.facts.history.push(EventKind::Retried);
    }

    /// A worker reports.
    pub fn report(&mut self, id: i64, key: &str, result: Results) -> Reported {
        let request = self.at(id);
        let Some(attempt) = request.facts.attempts.iter().rfind(|attempt| attempt.key == key) else {
            return Reported::NotFound;
        };
        match attempt.outcome {
            Some("reported") => Reported::Repeated,
            Some(_) => Reported::NotRunning,
            None => {
                let before = request.facts.retries;
                self.end(id, Statuses::Completed, result, "reported");
                if result == Results::TemporaryFailure && before < RETRIES {
                    let minutes = RESTS[usize::try_from(before).expect("retries are counted from 0")];
                    self.replace(id, before + 1, Some(TimeDelta::minutes(minutes)));
                }
                Reported::Accepted
            }
        }
    }

    /// A person gives it up.
    pub fn abort(&mut self, id: i64) -> bool {
        let request = self.at(id);
        if request.heir.is_some() || request.facts.status.is_terminal() {
            return false;
        }
        self.end(id, Statuses::Aborted, Results::None, "aborted");
        self.facts(id).worker = None;
        true
    }

    /// A person wants it once more: which one runs then.
    pub fn retry(&mut self, id: i64) -> Option<i64> {
        let request = &self.requests[&id];
        let candidates = [Some(id), request.heir];
        let resting = candidates.into_iter().flatten().find(|id| self.requests[id].facts.rests_until.is_some());
        if let Some(resting) = resting {
            self.wake(resting);
            let facts = self.facts(resting);
            facts.retries = 0;
            if let Some(old) = facts.supersedes {
                self.facts(old).history.push(EventKind::Retried);
            }
            return Some(resting);
        }
        let bad = matches!(request.facts.result, Results::Failure | Results::TemporaryFailure | Results::Error);
        if request.heir.is_some() || !(request.facts.status == Statuses::Aborted || bad) {
            return None;
        }
        self.replace(id, 0, None);
        self.requests[&id].heir
    }

    fn wake(&mut self, id: i64) {
        let facts = self.facts(id);
        (facts.status, facts.rests_until) = (Statuses::Pending, None);
        facts.history.push(EventKind::Pending);
    }

    /// Which rests are over, and end.
    pub fn end_rests(&mut self) -> Vec<i64> {
        let over = |request: &Request| request.facts.rests_until.is_some_and(|until| until <= self.now);
        let over: Vec<_> = self.requests.iter().filter(|(_, request)| over(request)).map(|(id, _)| *id).collect();
        for id in &over {
            self.wake(*id);
        }
        over
    }

    /// Takes its worker from it.
    pub fn de_assign(&mut self, id: i64, outcome: &'static str) -> bool {
        if !matches!(self.facts(id).status, Statuses::Pending | Statuses::Running) {
            return false;
        }
        self.end_attempt(id, outcome, Results::None);
        let facts = self.facts(id);
        (facts.status, facts.worker, facts.started) = (Statuses::Pending, None, false);
        facts.keys.clear();
        facts.history.push(EventKind::DeAssigned);
        true
    }

    /// A worker fell silent, says somebody who saw it connected since `seen`.
    pub fn lose(&mut self, worker: usize, seen: Option<DateTime<Utc>>) -> Vec<i64> {
        let worker = &mut self.workers[worker];
        if worker.connected.is_some() && worker.connected != seen {
            return Vec::new();
        }
        worker.connected = None;
        let id = worker.id;
        let held = self.held(id);
        for id in &held {
            let request = self.at(*id);
            request.facts.history.push(EventKind::WorkerLost);
            if request.facts.status == Statuses::Pending {
                self.de_assign(*id, "lease-expired");
            } else if request.facts.retries >= RETRIES {
                self.end(*id, Statuses::Aborted, Results::None, "aborted");
            } else if request.has_artifacts {
                let retries = request.facts.retries + 1;
                self.replace(*id, retries, None);
            } else {
                request.facts.retries += 1;
                self.de_assign(*id, "lease-expired");
            }
        }
        held
    }

    /// An administrator wants a worker no more.
    pub fn disable(&mut self, worker: usize) {
        self.workers[worker].enabled = false;
        for id in self.held(self.workers[worker].id) {
            let request = &self.requests[&id];
            if request.has_artifacts && request.facts.status == Statuses::Running {
                self.replace(id, request.facts.retries, None);
            } else {
                self.de_assign(id, "de-assigned");
            }
        }
    }

    /// It ran for too long.
    pub fn pass_deadline(&mut self, id: i64) -> bool {
        let running = self.facts(id).status == Statuses::Running;
        if running {
            self.end(id, Statuses::Completed, Results::Error, "aborted");
        }
        running
    }

    /// It turns out that it cannot be run.
    pub fn fail_pending(&mut self, id: i64) -> bool {
        let facts = self.facts(id);
        let free = facts.status == Statuses::Pending && facts.worker.is_none();
        if free {
            self.end(id, Statuses::Completed, Results::Error, "aborted");
        }
        free
    }

    /// A person changes the priority.
    pub fn prioritize(&mut self, id: i64, priority: i32) {
        let facts = self.facts(id);
        facts.priority = priority;
        facts.history.push(EventKind::PriorityChanged);
    }

    /// A run leaves something behind. False if it does not run.
    pub fn leave_artifact(&mut self, id: i64) -> bool {
        let running = self.facts(id).status == Statuses::Running;
        self.at(id).has_artifacts |= running;
        running
    }
}
