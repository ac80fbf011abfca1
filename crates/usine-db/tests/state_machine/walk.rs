//! Command by command, the program and the model side by side.

use std::collections::BTreeMap;

use proptest::sample::Index;
use serde_json::json;
use usine_db::work_request::{Loss, ReportOutcome, RetryError};
use usine_db::{Database, Error, WorkRequest};
use usine_model::output_data::OutputData;
use usine_model::policy::DeadlinePassed;
use usine_model::token::{TokenHash, TokenKey};
use usine_model::work_request::{Results, Statuses};

use crate::command::{Command, WORKERS, Which};
use crate::farm::{Farm, object};
use crate::model::{Model, Reported};
use crate::system::{System, told_tags};

/// All that should happen in some case.
pub const ALL: &[&str] = &[
    "assign",
    "refuse to assign",
    "fetch",
    "fetch again",
    "fetch nothing",
    "accept",
    "repeat",
    "not running",
    "not found",
    "new key",
    "abort",
    "retry",
    "replace",
    "give up",
    "de-assign",
    "deadline",
    "fail",
    "lose",
    "end rest",
    "schedule",
];

/// Newest work requests and keys that commands are about.
const RECENT: usize = 10;

/// The worker that does everything with its own token, as those before 0.13.
const OLD: usize = 2;

/// One case.
pub struct Walk<'a> {
    system: System<'a>,
    model: Model,
    own: Vec<TokenKey>,
    /// All keys that were handed out, and for what.
    keys: Vec<(i64, TokenHash)>,
    /// What was done, for people.
    pub log: Vec<String>,
    /// How often each thing happened.
    pub done: BTreeMap<&'static str, u32>,
}

impl<'a> Walk<'a> {
    pub async fn new(db: &'a Database) -> Self {
        let (system, workers, own) = System::new(db, WORKERS).await;
        let model = Model { workers, ..Model::default() };
        Self { system, model, own, keys: Vec::new(), log: Vec::new(), done: BTreeMap::new() }
    }

    /// All commands, and the invariants at the end. What differs, in words.
    pub async fn walk(&mut self, commands: &[Command]) -> Result<(), String> {
        for command in commands {
            self.system.pass(1);
            self.step(command).await?;
        }
        match usine_db::invariants::check(self.system.db).await.unwrap() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(format!("invariants are broken: {violations:?}")),
        }
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn choose(&self, which: &Which) -> Option<i64> {
        let all: Vec<i64> = self.model.requests.keys().copied().collect();
        let live: Vec<i64> = self.model.workers.iter().flat_map(|worker| self.model.held(worker.id)).collect();
        let from = if which.live && !live.is_empty() { live } else { all };
        recent(&which.place, &from).copied()
    }

    /// The model takes the step that the program has taken, and both must have come to the same.
    async fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: String,
        found: T,
        follow: impl FnOnce(&mut Model) -> T,
    ) -> Result<(), String> {
        self.log.push(format!("{what}: {found:?}"));
        let view = self.system.view().await;
        self.model.now = self.system.now();
        self.model.newborn = view.keys().filter(|id| !self.model.requests.contains_key(id)).copied().collect();
        let expected = follow(&mut self.model);
        if found != expected {
            return Err(format!("{what} came to {found:?}, and should come to {expected:?}"));
        }
        if !self.model.newborn.is_empty() {
            return Err(format!("{what} made work requests that it should not make: {:?}", self.model.newborn));
        }
        for (id, request) in &self.model.requests {
            if view.get(id) != Some(&request.facts) {
                let found = view.get(id);
                return Err(format!(
                    "after {what}, work request {id}\nis        {found:?}\nshould be {:?}",
                    request.facts
                ));
            }
        }
        let (found, expected) = (self.system.waiting().await, self.model.waiting());
        if found != expected {
            return Err(format!("after {what}, the workers {found:?} wait for work, not {expected:?}"));
        }
        Ok(())
    }

    /// A command about one work request whose answer is yes or no.
    async fn judge(
        &mut self,
        (what, id): (&'static str, i64),
        found: bool,
        follow: impl FnOnce(&mut Model) -> bool,
    ) -> Result<(), String> {
        if found {
            self.did(what);
        }
        self.compare(format!("{what} {id}"), found, follow).await
    }

    async fn step(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Submit { kind, priority } => {
                self.system.submit(*kind, *priority).await;
                let newest = self.system.view().await.keys().last().copied();
                self.compare(format!("submit {kind} {priority}"), newest, |model| model.submit(*kind, *priority)).await
            }
            Command::Schedule => {
                let assigned = self.system.schedule().await;
                if !assigned.is_empty() {
                    self.did("schedule");
                }
                let what = format!("schedule {assigned:?}");
                self.compare(what, Ok(()), |model| model.schedule(&assigned)).await
            }
            Command::Fetch { worker } => self.fetch(*worker).await,
            Command::Report { key, result, elsewhere } => self.report(key, *result, elsewhere.as_ref()).await,
            Command::Assign { request, .. }
            | Command::NewKey { request }
            | Command::Abort { request }
            | Command::Retry { request }
            | Command::DeAssign { request }
            | Command::Prioritize { request, .. }
            | Command::Deadline { request }
            | Command::FailPending { request }
            | Command::Artifact { request } => match self.choose(request) {
                Some(id) => self.of_request(command, id).await,
                None => Ok(()),
            },
            Command::Lose { worker, .. }
            | Command::Connect { worker }
            | Command::Disconnect { worker }
            | Command::Enable { worker, .. }
            | Command::Tell { worker, .. }
            | Command::Reserve { worker, .. }
            | Command::Room { worker, .. } => self.of_worker(command, *worker).await,
            Command::Wait { seconds } => {
                self.system.pass(*seconds);
                let (manager, now) = (self.system.manager(), self.system.now());
                let mut ended = Vec::new();
                // Also those whose time has not come: they stay.
                for id in self.model.requests.keys() {
                    if manager.end_rest(*id, now).await.unwrap() {
                        ended.push(*id);
                    }
                }
                if !ended.is_empty() {
                    self.did("end rest");
                }
                self.compare(format!("wait {seconds}"), ended, Model::end_rests).await
            }
        }
    }

    async fn of_request(&mut self, command: &Command, id: i64) -> Result<(), String> {
        let (db, manager, now) = (self.system.db, self.system.manager(), self.system.now());
        let mut row: WorkRequest = self.system.request(id).await;
        match command {
            Command::Assign { worker, outdated, .. } => {
                let worker = *worker;
                let mut other = self.system.worker(self.model.workers[worker].id).await;
                if *outdated {
                    other = self.system.outdated[worker].clone();
                }
                let outdated = !self.system.worker(other.id).await.has_metadata_of(&other);
                let found = row.assign_worker(db, &other, None, now).await.unwrap();
                self.did(if found { "assign" } else { "refuse to assign" });
                let what = format!("assign {id} to {}", other.id);
                self.compare(what, found, |model| model.assign(id, worker, outdated)).await
            }
            // A key for one that does not run yet would belong to no attempt: nothing in the program asks for that.
            Command::NewKey { .. } if *row.status == Statuses::Pending => Ok(()),
            Command::NewKey { .. } => {
                let made = manager.create_work_request_token(id, &self.system.entropy, now).await;
                let key = match made {
                    Ok(made) => made.key.hash(),
                    Err(Error::Invalid(_)) => TokenHash(String::new()),
                    Err(error) => panic!("{error}"),
                };
                let found = !key.0.is_empty();
                if found {
                    self.keys.push((id, key.clone()));
                }
                self.judge(("new key", id), found, |model| model.new_key(id, &key.0)).await
            }
            Command::Abort { .. } => {
                let found = row.abort(db, None, now).await.unwrap().is_ok();
                self.judge(("abort", id), found, |model| model.abort(id)).await
            }
            Command::Retry { .. } => {
                let found = match row.retry(db, None, now).await {
                    Ok(heir) => Some(heir.id),
                    Err(RetryError::NotAllowed(_)) => None,
                    Err(RetryError::Database(error)) => panic!("{error}"),
                };
                if found.is_some() {
                    self.did("retry");
                }
                self.compare(format!("retry {id}"), found, |model| model.retry(id)).await
            }
            Command::DeAssign { .. } => {
                let found = row.de_assign_worker(db, now).await.unwrap();
                self.judge(("de-assign", id), found, |model| model.de_assign(id, "de-assigned")).await
            }
            Command::Prioritize { adjustment, .. } => {
                row.set_priority_adjustment(db, *adjustment, None, now).await.unwrap();
                let priority = row.priority_base + adjustment;
                self.compare(format!("prioritize {id}"), (), |model| model.prioritize(id, priority)).await
            }
            Command::Deadline { .. } => {
                let found = manager.pass_deadline(id, DeadlinePassed::Total(60), now).await.unwrap();
                self.judge(("deadline", id), found, |model| model.pass_deadline(id)).await
            }
            Command::FailPending { .. } => {
                let found = manager.fail_pending(id, "code", "message", now).await.unwrap();
                self.judge(("fail", id), found, |model| model.fail_pending(id)).await
            }
            Command::Artifact { .. } => {
                let running = *row.status == Statuses::Running;
                if running {
                    Farm::new(db).leave_artifact(&row).await;
                }
                self.judge(("artifact", id), running, |model| model.leave_artifact(id)).await
            }
            other => unreachable!("{other:?} is not about one work request"),
        }
    }

    async fn of_worker(&mut self, command: &Command, worker: usize) -> Result<(), String> {
        let (db, now) = (self.system.db, self.system.now());
        let mut row = self.system.worker(self.model.workers[worker].id).await;
        let what = format!("{command:?}");
        match command {
            Command::Lose { before, .. } => {
                let seen = if *before { self.system.before[worker].clone() } else { row };
                let lost = self.system.manager().lose_worker(&seen, Loss { silent_for: 120 }, now).await.unwrap();
                if !lost.is_empty() {
                    self.did("lose");
                }
                self.compare(what, lost, |model| model.lose(worker, seen.connected_at)).await
            }
            Command::Connect { .. } => {
                self.system.before[worker] = row.clone();
                row.mark_connected(db, now).await.unwrap();
                self.compare(what, (), |model| model.workers[worker].connected = Some(now)).await
            }
            Command::Disconnect { .. } => {
                row.mark_disconnected(db, now).await.unwrap();
                self.compare(what, (), |model| model.workers[worker].connected = None).await
            }
            Command::Enable { enabled: true, .. } => {
                row.token(db).await.unwrap().unwrap().enable(db, now).await.unwrap();
                self.compare(what, (), |model| model.workers[worker].enabled = true).await
            }
            Command::Enable { enabled: false, .. } => {
                row.disable(db, now).await.unwrap();
                self.compare(what, (), |model| model.disable(worker)).await
            }
            Command::Tell { tags, .. } => {
                self.system.outdated[worker] = row.clone();
                let tags = told_tags(*tags);
                row.set_dynamic_metadata(db, object(json!({"provided_tags": tags})), now).await.unwrap();
                let told = |model: &mut Model| {
                    (model.workers[worker].tags, model.workers[worker].told_at) = (tags, now);
                };
                self.compare(what, (), told).await
            }
            Command::Reserve { reserved, .. } => {
                self.system.outdated[worker] = row.clone();
                let metadata = if *reserved { json!({"required_tags": ["task:mine"]}) } else { json!({}) };
                row.set_static_metadata(db, object(metadata), now).await.unwrap();
                self.compare(what, (), |model| model.workers[worker].reserved = *reserved).await
            }
            Command::Room { room, .. } => {
                // Nothing in the program makes it smaller than what the worker has.
                let room = (*room).max(self.model.held(row.id).len());
                self.system.set_room(row.id, room).await;
                self.compare(what, (), |model| model.workers[worker].room = room).await
            }
            other => unreachable!("{other:?} is not about one worker"),
        }
    }

    async fn fetch(&mut self, worker: usize) -> Result<(), String> {
        let row = self.system.worker(self.model.workers[worker].id).await;
        let (manager, now) = (self.system.manager(), self.system.now());
        let own = worker == OLD;
        let (found, key) = if own {
            let key = self.own[worker].hash();
            (manager.get_next_for_old_worker(&row, &key, now).await.unwrap().map(|row| row.id), key)
        } else {
            match manager.get_next_for_worker(&row, &self.system.entropy, now).await.unwrap() {
                Some(handed) => (Some(handed.work_request.id), handed.key.hash()),
                None => (None, TokenHash(String::new())),
            }
        };
        let before = self.model.requests.len();
        let ended =
            |model: &Model| model.requests.values().filter(|request| request.facts.status.is_terminal()).count();
        let ended_before = ended(&self.model);
        self.compare(format!("fetch by {}", row.id), found, |model| model.fetch(worker, &key.0, own)).await?;
        let replaced = self.model.requests.len() > before;
        self.did(match found {
            None => "fetch nothing",
            Some(id) if self.model.requests[&id].facts.attempts.len() > 1 => "fetch again",
            Some(_) => "fetch",
        });
        if replaced {
            self.did("replace");
        } else if ended(&self.model) > ended_before {
            self.did("give up");
        }
        if let Some(id) = found {
            self.keys.push((id, key));
        }
        Ok(())
    }

    async fn report(&mut self, key: &Index, result: Results, elsewhere: Option<&Which>) -> Result<(), String> {
        let Some((mut id, key)) = recent(key, &self.keys).cloned() else { return Ok(()) };
        if let Some(other) = elsewhere.and_then(|which| self.choose(which)) {
            id = other;
        }
        let now = self.system.now();
        let answer = self.system.manager().report(id, &key, result, OutputData::default(), now).await.unwrap();
        let (found, what) = match answer {
            ReportOutcome::Accepted => (Reported::Accepted, "accept"),
            ReportOutcome::Repeated => (Reported::Repeated, "repeat"),
            ReportOutcome::NotRunning => (Reported::NotRunning, "not running"),
            ReportOutcome::NotFound => (Reported::NotFound, "not found"),
        };
        self.did(what);
        self.compare(format!("report {result} of {id}"), found, |model| model.report(id, &key.0, result)).await
    }
}

/// One of the newest, which are last.
fn recent<'a, T>(place: &Index, all: &'a [T]) -> Option<&'a T> {
    let newest = &all[all.len().saturating_sub(RECENT)..];
    if newest.is_empty() { None } else { Some(place.get(newest)) }
}
