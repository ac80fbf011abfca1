//! The network between everybody and the server. Each request is a connection of its own: it arrives or not, once or twice,
//! and so does its answer. Channels keep the order of their messages until they break.

use axum::http::Method;
use serde_json::Value;

use crate::plan::SECOND;
use crate::world::{Event, World};

/// Longest that a caller waits for an answer, as the client's `read` time-out.
const PATIENCE: i64 = 30 * SECOND;

/// Longest that a caller waits for a connection.
const CONNECT: i64 = 5 * SECOND;

/// Who talks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Worker(usize),
    People,
}

/// How bad the network is, in percent of all messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub lost: usize,
    pub doubled: usize,
    pub slow: usize,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub token: String,
    pub body: Option<Value>,
    /// Whether somebody between may send it twice. What makes something is not repeated by anybody.
    pub may_double: bool,
}

/// What a caller hears.
#[derive(Debug, Clone)]
pub enum Outcome {
    Answer {
        status: u16,
        body: Vec<u8>,
    },
    /// The server has certainly not seen it.
    Unseen,
    /// Nobody knows whether the server has seen it.
    Unknown,
}

impl Outcome {
    /// Whether the same call may well succeed later, as the client sees it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Answer { status, .. } => *status == 429 || (500..600).contains(status),
            Self::Unseen | Self::Unknown => true,
        }
    }

    pub fn status(&self) -> u16 {
        if let Self::Answer { status, .. } = self { *status } else { 0 }
    }

    pub fn json(&self) -> Value {
        match self {
            Self::Answer { body, .. } => serde_json::from_slice(body).unwrap_or_default(),
            Self::Unseen | Self::Unknown => Value::Null,
        }
    }
}

/// A request under way.
#[derive(Debug, Clone)]
pub struct Call {
    pub from: Actor,
    /// The life of the actor that waits for it: after a crash nobody does.
    pub life: u64,
    pub purpose: Purpose,
    pub request: Request,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Metadata,
    Next,
    Report,
    ListArtifacts,
    MakeArtifact,
    AskWhetherOurs,
    Submit { tries: u32 },
    Show,
    Change,
}

impl World<'_> {
    fn chance(&mut self, percent: usize) -> bool {
        self.dice.roll(100) < percent
    }

    /// Milliseconds on the way.
    pub fn delay(&mut self) -> i64 {
        if self.chance(self.weather.slow) { self.roll(12 * SECOND) } else { 1 + self.roll(40) }
    }

    /// A number of milliseconds below this.
    pub fn roll(&mut self, limit: i64) -> i64 {
        self.dice.roll(usize::try_from(limit).unwrap()) as i64
    }

    /// Sends a request; the outcome comes back as an event.
    pub fn call(&mut self, call: Call) {
        let number = self.number();
        let from = call.from;
        let may_double = call.request.may_double;
        self.calls.insert(number, call);
        if self.cut.contains(&from) {
            self.after(CONNECT, Event::Outcome { call: number, outcome: Outcome::Unseen });
            return;
        }
        self.after(PATIENCE, Event::Outcome { call: number, outcome: Outcome::Unknown });
        if self.chance(self.weather.lost) {
            // It gets nowhere; or breaks, sooner than the caller's patience.
            if self.dice.toss() {
                let when = self.roll(PATIENCE);
                self.after(when, Event::Outcome { call: number, outcome: Outcome::Unknown });
            }
            return;
        }
        let delay = self.delay();
        self.after(delay, Event::Arrive { call: number });
        if may_double && self.chance(self.weather.doubled) {
            let later = self.roll(60 * SECOND);
            self.note(|| format!("request {number} will arrive once more"));
            let copy = self.number();
            let call = self.calls[&number].clone();
            self.doubles.insert(copy, call);
            self.after(delay + later, Event::Arrive { call: copy });
        }
    }

    /// A request reaches the server.
    pub async fn arrive(&mut self, number: u64) -> Result<(), String> {
        let double = self.doubles.remove(&number);
        let Some(call) = double.clone().or_else(|| self.calls.get(&number).cloned()) else {
            // Its sender has lost patience: the connection is closed, but what it says is read all the same.
            return Ok(());
        };
        if self.cut.contains(&call.from) {
            return Ok(());
        }
        let Some(answer) = self.serve(&call).await? else {
            let delay = self.delay();
            self.after(delay, Event::Outcome { call: number, outcome: Outcome::Unseen });
            return Ok(());
        };
        if let Some(back) = self.crash_before_answer.take() {
            self.crash_server(back).await;
            self.after(1, Event::Outcome { call: number, outcome: Outcome::Unknown });
        } else if double.is_none() && !self.chance(self.weather.lost) {
            let delay = self.delay();
            self.after(delay, Event::Outcome { call: number, outcome: answer });
        }
        Ok(())
    }

    /// The first outcome of a call counts.
    pub async fn outcome(&mut self, number: u64, outcome: Outcome) -> Result<(), String> {
        let Some(call) = self.calls.remove(&number) else { return Ok(()) };
        match call.from {
            Actor::Worker(worker) if self.workers[worker].life == call.life => {
                self.worker_hears(worker, call.purpose, &outcome);
            }
            Actor::Worker(_) => {}
            Actor::People => self.people_hear(&call, &outcome),
        }
        Ok(())
    }

    /// Somebody can reach the server no more. Channels break; either side notices in its own time.
    pub fn cut_off(&mut self, who: Actor) {
        self.cut.insert(who);
        if let Actor::Worker(worker) = who {
            let noticed_there = self.roll(60 * SECOND);
            self.sever(worker, 90 * SECOND, noticed_there);
        }
    }

    /// The channels of a worker carry nothing from now on. The server notices within the first time, the worker after the
    /// second.
    pub fn sever(&mut self, worker: usize, server_within: i64, worker_after: i64) {
        let now = self.time();
        let connections: Vec<u64> = self.server.connections_of(worker);
        for connection in connections {
            if self.severed.insert(connection, now).is_none() {
                let when = self.roll(server_within);
                self.after(when, Event::ServerMisses { connection });
            }
        }
        if let Some(connection) = self.workers[worker].connection {
            self.severed.entry(connection).or_insert(now);
            self.after(worker_after, Event::WorkerMisses { worker, connection });
        }
    }
}
