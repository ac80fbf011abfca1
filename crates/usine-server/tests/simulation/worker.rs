//! Workers, as `usine-worker` behaves: `session.rs`, `daemon.rs`, `job.rs` and `delivery.rs`, with its times and its order of
//! things, but without the tasks.

use axum::http::Method;
use serde_json::{Value, json};
use usine_protocol::channel::{Notice, ServerMessage};

use crate::network::{Actor, Call, Outcome, Purpose, Request};
use crate::plan::SECOND;
use crate::world::{Event, World};

/// How often a worker asks by itself, and looks whether its work is still its own.
const POLL: i64 = 60 * SECOND;

/// Longest wait between two tries.
const LONGEST: i64 = 60 * SECOND;

/// A worker.
pub struct Worker {
    pub id: i64,
    pub key: String,
    pub up: bool,
    /// It will not come back.
    gone: bool,
    /// How often it was started.
    pub life: u64,
    pub connection: Option<u64>,
    accepted: bool,
    wake: bool,
    pub doing: Doing,
    /// What it has made and not delivered, on its disk.
    pub spool: Vec<Spooled>,
    /// Counts changes of what it does, so that timers of the past do nothing.
    stamp: u64,
    back_off: i64,
}

/// What a worker is at.
#[derive(Debug, Clone, PartialEq)]
pub enum Doing {
    Waiting,
    Asking,
    Running { id: i64, token: String },
    Delivering { id: i64 },
}

/// What is left of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooled {
    pub id: i64,
    pub token: String,
    pub result: &'static str,
    /// There is an artifact to be made.
    pub artifact: bool,
    /// An earlier try may have made it.
    again: bool,
}

/// What a worker waits for.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    Poll,
    AskAgain,
    Check,
    Ended,
    DeliverAgain,
    Redial,
    TellAgain,
}

impl Worker {
    pub fn new(id: i64, key: &str) -> Self {
        Self {
            id,
            key: key.to_owned(),
            up: false,
            gone: false,
            life: 0,
            connection: None,
            accepted: false,
            wake: false,
            doing: Doing::Waiting,
            spool: Vec::new(),
            stamp: 0,
            back_off: SECOND,
        }
    }
}

impl World<'_> {
    /// Whether no worker has anything to do.
    pub fn everybody_rests(&self) -> bool {
        self.workers.iter().all(|worker| worker.spool.is_empty() && !matches!(worker.doing, Doing::Running { .. }))
    }

    pub fn start_worker(&mut self, worker: usize) {
        if self.workers[worker].up || self.workers[worker].gone {
            return;
        }
        self.note(|| format!("worker {worker} starts"));
        let one = &mut self.workers[worker];
        (one.up, one.accepted, one.wake, one.connection) = (true, false, false, None);
        one.life += 1;
        self.dial(worker);
        self.deliver_or_wait(worker, true);
    }

    pub fn crash_worker(&mut self, worker: usize, back: i64, silent: bool) {
        if !self.workers[worker].up {
            return;
        }
        self.done.worker_crashes += 1;
        // Its machine closes the connection, or is gone as well.
        self.sever(worker, if silent { 90 * SECOND } else { 100 }, 0);
        let one = &mut self.workers[worker];
        (one.up, one.connection, one.doing) = (false, None, Doing::Waiting);
        one.life += 1;
        for entry in &mut one.spool {
            entry.again = true;
        }
        self.after(back, Event::WorkerBack { worker });
    }

    /// Its machine burns down, with its disk.
    pub fn lose_worker(&mut self, worker: usize) {
        self.crash_worker(worker, 0, true);
        let one = &mut self.workers[worker];
        one.gone = true;
        one.spool.clear();
    }

    fn dial(&mut self, worker: usize) {
        let (delay, life) = (self.delay(), self.workers[worker].life);
        self.after(delay, Event::Dial { worker, life });
    }

    pub fn redial(&mut self, worker: usize) {
        let wait = SECOND + self.roll(5 * SECOND);
        let one = &mut self.workers[worker];
        (one.connection, one.accepted) = (None, false);
        let (life, stamp) = (one.life, 0);
        self.after(wait, Event::Timer { worker, life, stamp, timer: Timer::Redial });
    }

    pub fn worker_misses(&mut self, worker: usize, connection: u64) {
        if self.workers[worker].up && self.workers[worker].connection == Some(connection) {
            self.redial(worker);
        }
    }

    /// A message on the channel.
    pub fn worker_is_told(&mut self, worker: usize, connection: u64, message: ServerMessage) {
        let one = &mut self.workers[worker];
        if !one.up || one.connection != Some(connection) || self.severed.contains_key(&connection) {
            return;
        }
        match message {
            ServerMessage::Notice(Notice::Connected) => {
                one.accepted = true;
                // The server is there: no need to wait longer with a delivery.
                if matches!(one.doing, Doing::Delivering { .. }) && !self.is_delivering(worker) {
                    self.deliver(worker);
                }
            }
            ServerMessage::Notice(Notice::RequestDynamicMetadata) => self.tell_metadata(worker),
            ServerMessage::Notice(Notice::WorkRequestAvailable) => {
                one.wake = true;
                if one.doing == Doing::Waiting {
                    self.wait(worker);
                }
            }
            ServerMessage::Notice(Notice::WorkRequestAborted { work_request_id: wanted }) => match &one.doing {
                Doing::Running { id, .. } | Doing::Delivering { id } if *id == wanted => self.drop_it(worker),
                _ => {}
            },
            ServerMessage::Notice(_) => {}
            ServerMessage::Rejected { .. } | ServerMessage::Closed { .. } => self.redial(worker),
        }
    }

    fn tell_metadata(&mut self, worker: usize) {
        let tags = json!({"provided_tags": ["worker:task:worker:noop:version:1"]});
        let path = "/api/1.0/worker/dynamic-metadata/";
        self.ask(worker, Purpose::Metadata, Method::PUT, path, None, Some(tags));
    }

    /// Whether an answer is awaited that a delivery goes on with.
    fn is_delivering(&self, worker: usize) -> bool {
        let life = self.workers[worker].life;
        let steps = [Purpose::Report, Purpose::MakeArtifact, Purpose::ListArtifacts];
        let theirs = |call: &Call| call.from == Actor::Worker(worker) && call.life == life;
        self.calls.values().any(|call| theirs(call) && steps.contains(&call.purpose))
    }

    fn ask(
        &mut self,
        worker: usize,
        purpose: Purpose,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) {
        let one = &self.workers[worker];
        let token = token.unwrap_or(&one.key).to_owned();
        let may_double = purpose != Purpose::MakeArtifact;
        let request = Request { method, path: path.to_owned(), token, body, may_double };
        let call = Call { from: Actor::Worker(worker), life: one.life, purpose, request };
        self.call(call);
    }

    fn begin(&mut self, worker: usize, doing: Doing) {
        let one = &mut self.workers[worker];
        (one.doing, one.back_off) = (doing, SECOND);
        one.stamp += 1;
    }

    fn timer_in(&mut self, worker: usize, milliseconds: i64, timer: Timer) {
        let one = &self.workers[worker];
        let (life, stamp) = (one.life, one.stamp);
        self.after(milliseconds, Event::Timer { worker, life, stamp, timer });
    }

    fn back_off(&mut self, worker: usize, timer: Timer) {
        let wait = self.workers[worker].back_off;
        self.workers[worker].back_off = (wait * 2).min(LONGEST);
        self.timer_in(worker, wait, timer);
    }

    /// Waits for a notice, or asks by itself after a while.
    fn wait(&mut self, worker: usize) {
        self.begin(worker, Doing::Waiting);
        if std::mem::take(&mut self.workers[worker].wake) {
            self.next(worker);
        } else {
            self.timer_in(worker, POLL, Timer::Poll);
        }
    }

    fn next(&mut self, worker: usize) {
        self.begin(worker, Doing::Asking);
        self.send_next(worker);
    }

    fn send_next(&mut self, worker: usize) {
        let path = "/api/1.0/work-request/get-next-for-worker/";
        self.ask(worker, Purpose::Next, Method::POST, path, None, Some(json!({})));
    }

    fn deliver_or_wait(&mut self, worker: usize, starting: bool) {
        match self.workers[worker].spool.first().map(|entry| entry.id) {
            Some(id) => {
                self.begin(worker, Doing::Delivering { id });
                self.deliver(worker);
            }
            None if starting => self.wait(worker),
            None => self.next(worker),
        }
    }

    fn deliver(&mut self, worker: usize) {
        let Some(entry) = self.workers[worker].spool.first().cloned() else { return };
        let id = entry.id;
        if entry.artifact && entry.again {
            let path = format!("/api/usine/1.0/artifact/?work_request={id}");
            self.ask(worker, Purpose::ListArtifacts, Method::GET, &path, Some(&entry.token), None);
        } else if entry.artifact {
            let body = json!({
                "category": "debusine:test", "workspace": "System", "files": {}, "data": {}, "work_request": id,
            });
            let path = "/api/1.0/artifact/";
            self.ask(worker, Purpose::MakeArtifact, Method::POST, path, Some(&entry.token), Some(body));
        } else {
            let path = format!("/api/1.0/work-request/{id}/completed/");
            let body = json!({"result": entry.result, "output_data": {}});
            self.ask(worker, Purpose::Report, Method::PUT, &path, Some(&entry.token), Some(body));
        }
    }

    /// It is not ours any more, or done.
    fn drop_it(&mut self, worker: usize) {
        let (Doing::Running { id, .. } | Doing::Delivering { id }) = self.workers[worker].doing else { return };
        self.workers[worker].spool.retain(|entry| entry.id != id);
        self.deliver_or_wait(worker, false);
    }

    pub fn timer(&mut self, worker: usize, life: u64, stamp: u64, timer: Timer) {
        let one = &self.workers[worker];
        if one.life != life || !one.up {
            return;
        }
        // What the connection is about goes on whatever the worker does.
        match timer {
            Timer::Redial if one.connection.is_none() => return self.dial(worker),
            Timer::TellAgain if one.connection.is_some() => return self.tell_metadata(worker),
            Timer::Redial | Timer::TellAgain => return,
            _ => {}
        }
        if one.stamp != stamp {
            return;
        }
        match (timer, one.doing.clone()) {
            (Timer::Poll, Doing::Waiting) if one.accepted => self.next(worker),
            (Timer::Poll, Doing::Waiting) => self.wait(worker),
            (Timer::AskAgain, Doing::Asking) => self.send_next(worker),
            (Timer::Check, Doing::Running { token, .. }) => {
                self.ask(worker, Purpose::AskWhetherOurs, Method::GET, "/api/1.0/whoami/", Some(&token), None);
                self.timer_in(worker, POLL, Timer::Check);
            }
            (Timer::Ended, Doing::Running { id, token }) => {
                let result = *self.dice.pick(&[
                    "success",
                    "success",
                    "success",
                    "success",
                    "success",
                    "success",
                    "failure",
                    "temporary failure",
                    "error",
                ]);
                let artifact = self.dice.toss();
                self.note(|| format!("worker {worker} has a {result} of {id}"));
                self.judge.ran(id, &token, result, artifact);
                self.workers[worker].spool.push(Spooled { id, token, result, artifact, again: false });
                self.begin(worker, Doing::Delivering { id });
                self.deliver(worker);
            }
            (Timer::DeliverAgain, Doing::Delivering { .. }) if !self.is_delivering(worker) => {
                self.done.delivered_from_spool += 1;
                self.deliver(worker);
            }
            _ => {}
        }
    }

    /// The outcome of a call.
    pub fn worker_hears(&mut self, worker: usize, purpose: Purpose, outcome: &Outcome) {
        if matches!(outcome, Outcome::Unknown) {
            self.done.lost_answers += 1;
        }
        match (purpose, self.workers[worker].doing.clone()) {
            (Purpose::Metadata, _) if outcome.is_transient() => self.timer_in(worker, SECOND, Timer::TellAgain),
            (Purpose::Next, Doing::Asking) => match outcome {
                Outcome::Answer { status: 200, .. } => {
                    let body = outcome.json();
                    let (id, token) = (body["id"].as_i64().unwrap(), body["token"].as_str().unwrap().to_owned());
                    self.begin(worker, Doing::Running { id, token });
                    let lasts = if self.dice.roll(5) == 0 { self.roll(200 * SECOND) } else { self.roll(20 * SECOND) };
                    self.timer_in(worker, lasts, Timer::Ended);
                    self.timer_in(worker, POLL, Timer::Check);
                }
                other if other.is_transient() => self.back_off(worker, Timer::AskAgain),
                _ => self.wait(worker),
            },
            (Purpose::AskWhetherOurs, Doing::Running { id, .. }) => {
                let body = outcome.json();
                let lost = outcome.status() == 200
                    && (body["auth"] == false || body["work_request"].as_i64().is_some_and(|other| other != id));
                if lost || refuses(outcome) {
                    self.note(|| format!("worker {worker} hears that {id} is not its own any more"));
                    self.drop_it(worker);
                }
            }
            (Purpose::Report | Purpose::MakeArtifact | Purpose::ListArtifacts, Doing::Delivering { .. }) => {
                self.delivered(worker, purpose, outcome);
            }
            _ => {}
        }
    }

    fn delivered(&mut self, worker: usize, purpose: Purpose, outcome: &Outcome) {
        let Some(entry) = self.workers[worker].spool.first_mut() else { return };
        match (purpose, outcome.status()) {
            (Purpose::Report, 200) => self.drop_it(worker),
            (Purpose::MakeArtifact, 201) => {
                entry.artifact = false;
                self.done.artifacts += 1;
                self.deliver(worker);
            }
            (Purpose::ListArtifacts, 200) => {
                entry.again = false;
                entry.artifact = outcome.json().as_array().is_none_or(Vec::is_empty);
                self.deliver(worker);
            }
            _ if outcome.is_transient() => {
                entry.again = true;
                self.back_off(worker, Timer::DeliverAgain);
            }
            _ => {
                self.note(|| format!("worker {worker} is refused: {}", String::from_utf8_lossy(&body_of(outcome))));
                self.drop_it(worker);
            }
        }
    }
}

fn body_of(outcome: &Outcome) -> Vec<u8> {
    if let Outcome::Answer { body, .. } = outcome { body.clone() } else { Vec::new() }
}

/// Whether the server says that something is not ours.
fn refuses(outcome: &Outcome) -> bool {
    matches!(outcome.status(), 403 | 404)
}
