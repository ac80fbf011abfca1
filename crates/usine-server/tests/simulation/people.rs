//! People: they submit, look, and change their minds, with the client's rules about trying again.

use axum::http::Method;
use serde_json::{Value, json};

use crate::network::{Actor, Call, Outcome, Purpose, Request};
use crate::plan::Act;
use crate::world::{Event, World};

/// Tries of a call that the server has certainly not seen.
const TRIES: u32 = 5;

/// All people, with one token.
pub struct People {
    key: String,
    /// The work requests that they were told of.
    pub known: Vec<i64>,
}

impl People {
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), known: Vec::new() }
    }
}

impl World<'_> {
    fn person(&mut self, purpose: Purpose, method: Method, path: String, body: Option<Value>) {
        let token = self.people.key.clone();
        let request = Request { method, path, token, body, may_double: purpose == Purpose::Show };
        self.call(Call { from: Actor::People, life: 0, purpose, request });
    }

    pub fn submit(&mut self, tries: u32) {
        let body = json!({"task_name": "noop", "task_data": {}});
        self.person(Purpose::Submit { tries }, Method::POST, "/api/1.0/work-request/".to_owned(), Some(body));
    }

    pub fn act(&mut self, act: Act) {
        if let Act::Submit = act {
            return self.submit(1);
        }
        if self.people.known.is_empty() {
            return;
        }
        let known = self.people.known.len();
        let id = self.people.known[self.dice.roll(known)];
        let path = format!("/api/1.0/work-request/{id}/");
        match act {
            Act::Submit | Act::Show => self.person(Purpose::Show, Method::GET, path, None),
            Act::Abort => self.person(Purpose::Change, Method::POST, format!("{path}abort/"), Some(json!({}))),
            Act::Retry => self.person(Purpose::Change, Method::POST, format!("{path}retry/"), Some(json!({}))),
            Act::Prioritize => {
                let adjustment = -(self.dice.roll(3) as i64);
                let body = json!({"priority_adjustment": adjustment});
                self.person(Purpose::Change, Method::PATCH, path, Some(body));
            }
        }
    }

    pub fn people_hear(&mut self, call: &Call, outcome: &Outcome) {
        let Purpose::Submit { tries } = call.purpose else { return };
        match outcome {
            Outcome::Answer { status: 200, .. } => {
                let id = outcome.json()["id"].as_i64().unwrap();
                self.people.known.push(id);
            }
            // Once more only if it was certainly not seen, or the server asks for it.
            Outcome::Unseen | Outcome::Answer { status: 429 | 503, .. } if tries < TRIES => {
                self.after(100 << tries, Event::Resubmit { tries: tries + 1 });
            }
            _ => {}
        }
    }
}
