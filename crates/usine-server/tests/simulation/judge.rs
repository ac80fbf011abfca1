//! What must be so, whatever has happened.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::EntityTrait;
use usine_db::entity::{artifact, event, work_request};
use usine_db::{Database, WorkRequest, WorkRequestManager, WorkerManager};
use usine_model::event::EventKind;
use usine_model::work_request::{Results, Statuses};

use crate::network::{Call, Outcome, Purpose};
use crate::plan::SECOND;
use crate::world::World;

/// Longest that a work request may wait while a worker waits that could take it: the scheduler's own interval, and some.
const FAIR: i64 = 32 * SECOND;

/// How long a worker may be silent, in milliseconds: as the server's configuration says.
const LEASE: i64 = 90 * SECOND;

/// How often a work request is tried again by itself.
const RETRIES: i64 = 3;

/// What was seen.
#[derive(Default)]
pub struct Judge {
    /// Work requests that the server has made for people.
    submitted: BTreeSet<i64>,
    /// What each key was for, and what its worker made of it.
    runs: BTreeMap<String, (i64, &'static str, bool)>,
    /// The key that was handed out last, by work request.
    keys: BTreeMap<i64, String>,
    /// The key whose report the server took, by work request.
    taken: BTreeMap<i64, String>,
    /// When the server last had a sign of life from each worker.
    heard: BTreeMap<usize, i64>,
    /// What was found wrong where nobody listened.
    objection: Option<String>,
    aborted: BTreeSet<i64>,
    /// How each ended that has.
    ended: BTreeMap<i64, (Statuses, Results)>,
    /// Since when work and workers wait for each other.
    waiting_since: Option<(i64, i64)>,
}

impl Judge {
    /// A run came to a result.
    pub fn ran(&mut self, id: i64, key: &str, result: &'static str, artifact: bool) {
        self.runs.insert(key.to_owned(), (id, result, artifact));
    }

    /// The server had a sign of life from a worker.
    pub fn heard(&mut self, worker: usize, now: i64) {
        self.heard.insert(worker, now);
    }
}

impl World<'_> {
    /// An answer of the server, whether or not it will be heard.
    pub fn judge_answer(&mut self, call: &Call, outcome: &Outcome) -> Result<(), String> {
        let (status, path) = (outcome.status(), call.request.path.as_str());
        if status >= 500 {
            return Err(format!("{path} is answered with {status}"));
        }
        let id_in_path = || path.split('/').find_map(|part| part.parse::<i64>().ok()).unwrap_or(0);
        match call.purpose {
            Purpose::Submit { .. } if status == 200 => {
                self.done.submitted += 1;
                let id = outcome.json()["id"].as_i64().unwrap();
                if !self.judge.submitted.insert(id) {
                    return Err(format!("{id} was made twice"));
                }
            }
            Purpose::Submit { .. } => return Err(format!("a submission is answered with {status}")),
            Purpose::Next if status == 200 => {
                self.done.handed_out += 1;
                let body = outcome.json();
                let (id, key) = (body["id"].as_i64().unwrap(), body["token"].as_str().unwrap());
                if let Some(end) = self.judge.ended.get(&id) {
                    return Err(format!("{id} is handed out, and has ended before: {end:?}"));
                }
                self.judge.keys.insert(id, key.to_owned());
            }
            Purpose::Report if status == 200 => {
                let id = id_in_path();
                let key = &call.request.token;
                match self.judge.taken.insert(id, key.clone()) {
                    None if self.judge.keys.get(&id) != Some(key) => {
                        return Err(format!("the result of an earlier run of {id} counts"));
                    }
                    None => self.done.accepted += 1,
                    Some(first) if first == *key => self.done.repeated += 1,
                    Some(_) => return Err(format!("two runs of {id} were both told that their result counts")),
                }
            }
            Purpose::Report => self.done.refused_reports += 1,
            Purpose::Change if status == 200 && path.ends_with("/abort/") => {
                self.done.aborts += 1;
                self.judge.aborted.insert(id_in_path());
            }
            Purpose::Change if status == 200 && path.ends_with("/retry/") => self.done.retries += 1,
            _ => {}
        }
        Ok(())
    }

    /// The server has written that something happened. What is wrong with it is said at the next look around.
    pub fn judge_event(&mut self, event: &event::Model) {
        if *event.kind != EventKind::WorkerLost {
            return;
        }
        let heard = self.workers.iter().position(|worker| Some(worker.id) == event.worker_id);
        let heard = heard.and_then(|worker| self.judge.heard.get(&worker)).copied().unwrap_or(0);
        let silent = self.time() - heard.max(self.server.started_at);
        if silent < LEASE {
            self.judge.objection = Some(format!("a worker is lost that was heard {silent} ms ago: {event:?}"));
        }
    }

    async fn rows(&self) -> Vec<WorkRequest> {
        let Some(state) = self.server.state() else { return Vec::new() };
        work_request::Entity::find().all(state.database.reader()).await.unwrap()
    }

    pub async fn all_has_ended(&self) -> bool {
        self.rows().await.iter().all(|row| row.status.is_terminal())
    }

    pub async fn what_is_left(&self) -> String {
        let rows = self.rows().await;
        let open = rows.iter().filter(|row| !row.status.is_terminal());
        let open: Vec<_> = open.map(|row| format!("{} {} {:?}", row.id, *row.status, row.worker_id)).collect();
        let doing: Vec<_> = self.workers.iter().map(|worker| (&worker.doing, &worker.spool)).collect();
        format!("{open:?}, workers {doing:?}")
    }

    /// While it goes on: the invariants hold, what has ended stays so, and nobody waits for each other.
    pub async fn look_around(&mut self) -> Result<(), String> {
        let Some(state) = self.server.state() else { return Ok(()) };
        if let Some(objection) = self.judge.objection.take() {
            return Err(objection);
        }
        invariants_hold(&state.database).await?;
        let rows = self.rows().await;
        for row in rows.iter().filter(|row| row.status.is_terminal()) {
            let end = (*row.status, *row.result);
            let first = *self.judge.ended.entry(row.id).or_insert(end);
            if first != end {
                return Err(format!("{row} had ended as {first:?}, and is now {end:?}"));
            }
        }
        let waiting =
            WorkerManager(&state.database).waiting_for_work_request().all(state.database.reader()).await.unwrap();
        let free = rows.iter().find(|row| *row.status == Statuses::Pending && row.worker_id.is_none());
        let worker = waiting
            .iter()
            .find(|worker| worker.has_fresh_metadata(state.now()) && worker.profile().unwrap().provided.len() > 1);
        let now = self.time();
        match (free, worker) {
            (Some(row), Some(worker)) => {
                let (id, since) = *self.judge.waiting_since.get_or_insert((row.id, now));
                let since = since.max(self.server.started_at);
                if id == row.id && now - since > FAIR {
                    return Err(format!("{row} waits, and so does worker {}, for {} ms", worker.name, now - since));
                }
                if id != row.id {
                    self.judge.waiting_since = Some((row.id, now));
                }
            }
            _ => self.judge.waiting_since = None,
        }
        Ok(())
    }

    /// At the end.
    pub async fn verdict(&mut self) -> Result<(), String> {
        let state = self.server.state().ok_or("the server does not run")?;
        invariants_hold(&state.database).await?;
        let rows: BTreeMap<i64, WorkRequest> = self.rows().await.into_iter().map(|row| (row.id, row)).collect();
        let firsts: BTreeSet<i64> = rows.values().filter(|row| row.supersedes_id.is_none()).map(|row| row.id).collect();
        if firsts != self.judge.submitted {
            return Err(format!("submitted were {:?}, there are {firsts:?}", self.judge.submitted));
        }
        let events = event::Entity::find().all(state.database.reader()).await.unwrap();
        let artifacts = artifact::Entity::find().all(state.database.reader()).await.unwrap();
        for row in rows.values() {
            let id = row.id;
            let ends = events.iter().filter(|event| {
                event.work_request_id == Some(id) && matches!(*event.kind, EventKind::Completed | EventKind::Aborted)
            });
            if ends.count() != 1 {
                return Err(format!("{id} has not exactly one end"));
            }
            if self.judge.aborted.contains(&id) && *row.status != Statuses::Aborted {
                return Err(format!("{id} was aborted, and is {}", *row.status));
            }
            let attempts = WorkRequestManager(&state.database).attempts(id).await.unwrap();
            let reported: Vec<_> =
                attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some("reported")).collect();
            let made = artifacts.iter().filter(|artifact| artifact.created_by_work_request_id == Some(id)).count();
            match self.judge.taken.get(&id) {
                Some(key) => {
                    let (of, result, artifact) = self.judge.runs.get(key).ok_or("a report of a run that was none")?;
                    let told = (*row.status, (*row.result).to_string());
                    if *of != id || told != (Statuses::Completed, (*result).to_owned()) || reported.len() != 1 {
                        return Err(format!("{id} was reported as {result}, and is {told:?}"));
                    }
                    if made != usize::from(*artifact) {
                        return Err(format!("{id} has {made} artifacts, its run made {artifact}"));
                    }
                }
                None if !reported.is_empty() => return Err(format!("{id} has a result that nobody was told")),
                None if *row.status == Statuses::Completed => {
                    return Err(format!("{id} has a result that nobody reported"));
                }
                None => {}
            }
            if made > 1 {
                return Err(format!("{id} has {made} artifacts"));
            }
            let heirs = rows.values().filter(|other| other.supersedes_id == Some(id)).count();
            if heirs > 1 {
                return Err(format!("{id} has {heirs} heirs"));
            }
            // Who asked for an end, and who may expect another try.
            let given_up = *row.status == Statuses::Aborted && !self.judge.aborted.contains(&id);
            if row.retry_count() > RETRIES {
                return Err(format!("{id} was tried again {} times", row.retry_count()));
            }
            if given_up && heirs == 0 && row.retry_count() < RETRIES {
                return Err(format!("{id} was given up after {} tries", row.retry_count()));
            }
            if *row.result == Results::TemporaryFailure && heirs == 0 && row.retry_count() < RETRIES {
                return Err(format!("{id} failed temporarily, and was not tried again"));
            }
            self.done.given_up += u64::from(given_up && heirs == 0);
            self.done.superseded += u64::from(given_up && heirs == 1);
            let lost = attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some("lease-expired"));
            self.done.leases_lost += lost.count() as u64;
        }
        Ok(())
    }
}

async fn invariants_hold(database: &Database) -> Result<(), String> {
    let violations = usine_db::invariants::check(database).await.unwrap();
    if violations.is_empty() { Ok(()) } else { Err(format!("invariants are broken: {violations:?}")) }
}
