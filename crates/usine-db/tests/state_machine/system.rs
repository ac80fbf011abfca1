//! The program under test, and what can be read of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, QueryOrder, Set};
use serde_json::json;
use usine_db::entity::{attempt, event, token, work_request, worker};
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{Database, EventManager, QueueManager, WorkRequest, WorkRequestManager, Worker, WorkerManager};
use usine_model::entropy::CountingEntropy;
use usine_model::tags::Tags;
use usine_model::token::TokenKey;

use crate::farm::{Farm, at, head, object, tags};
use crate::model::{self, Attempt, Facts, KINDS};

/// Leaves nothing of an earlier case.
const CLEAN: [&str; 8] = [
    "DELETE FROM event",
    "DELETE FROM attempt",
    "DELETE FROM token WHERE work_request_id IS NOT NULL",
    "DELETE FROM artifact",
    "UPDATE work_request SET supersedes_id = NULL",
    "DELETE FROM work_request",
    "DELETE FROM worker",
    "DELETE FROM token",
];

/// One factory of one case.
pub struct System<'a> {
    pub db: &'a Database,
    pub entropy: CountingEntropy,
    now: DateTime<Utc>,
    /// The event that was read last, and what happened to each work request.
    last_event: i64,
    histories: BTreeMap<i64, Vec<usine_model::event::EventKind>>,
    /// Workers as they were before they last connected, and before they last said something.
    pub before: Vec<Worker>,
    pub outdated: Vec<Worker>,
}

/// The tags behind the bits of a command.
pub fn told_tags(bits: u8) -> BTreeSet<&'static str> {
    ["worker:cap:a", "worker:cap:b"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, tag)| tag)
        .collect()
}

impl<'a> System<'a> {
    /// An empty factory with some workers, as they are in the database and as the model has them. What an earlier case left
    /// is removed.
    pub async fn new(db: &'a Database, workers: usize) -> (Self, Vec<model::Worker>, Vec<TokenKey>) {
        for statement in CLEAN {
            db.reader().execute_unprepared(statement).await.unwrap();
        }
        let farm = Farm::new(db);
        let (mut modelled, mut rows, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["one", "two", "three"].into_iter().take(workers) {
            let (mut row, key) = farm.registered(name).await;
            row.token(db).await.unwrap().unwrap().enable(db, farm.now()).await.unwrap();
            row.mark_connected(db, farm.now()).await.unwrap();
            row.set_dynamic_metadata(db, object(json!({})), farm.now()).await.unwrap();
            modelled.push(model::Worker {
                id: row.id,
                enabled: true,
                connected: row.connected_at,
                tags: BTreeSet::new(),
                reserved: false,
                told_at: row.dynamic_metadata_updated_at.unwrap(),
                room: 1,
            });
            rows.push(row);
            keys.push(key);
        }
        let system = Self {
            db,
            entropy: farm.entropy,
            now: at(3_600_000),
            last_event: 0,
            histories: BTreeMap::new(),
            before: rows.clone(),
            outdated: rows,
        };
        (system, modelled, keys)
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
    }

    pub fn manager(&self) -> WorkRequestManager<'a> {
        WorkRequestManager(self.db)
    }

    pub async fn request(&self, id: i64) -> WorkRequest {
        self.manager().get(id).await.unwrap()
    }

    pub async fn worker(&self, id: i64) -> Worker {
        WorkerManager(self.db).get(id).await.unwrap()
    }

    pub async fn submit(&self, kind: usize, priority: i32) {
        let (required, mine) = KINDS[kind];
        let scheduler = SchedulerTags {
            required: required.into_iter().map(str::to_owned).collect::<Tags>(),
            provided: if mine { tags(&["task:mine"]) } else { Tags::new() },
        };
        let new = NewWorkRequest { priority_base: priority, ..NewWorkRequest::of_worker_task(1, 1, "noop") };
        self.manager().create(&new, &scheduler, self.now).await.unwrap();
    }

    /// One run of the scheduler, as the server has it: who got what, in order.
    pub async fn schedule(&self) -> Vec<(i64, i64)> {
        let queue = QueueManager(self.db);
        let sets = queue.requirement_sets(0).await.unwrap();
        let waiting = WorkerManager(self.db).waiting_for_work_request().all(self.db.reader()).await.unwrap();
        let mut assigned = Vec::new();
        for worker in waiting.iter().filter(|worker| worker.has_fresh_metadata(self.now)) {
            let profile = worker.profile().unwrap();
            let fitting: Vec<_> = sets.iter().filter(|(_, set)| profile.fits_set(set)).map(|(id, _)| *id).collect();
            for _ in 0..worker.concurrency {
                let Some(mut head) = head(self.db, &fitting).await else { break };
                if !head.assign_worker(self.db, worker, None, self.now).await.unwrap() {
                    break;
                }
                assigned.push((head.id, worker.id));
            }
        }
        assigned
    }

    pub async fn set_room(&self, id: i64, room: usize) {
        let room = i32::try_from(room).unwrap();
        let change = worker::ActiveModel { id: Set(id), concurrency: Set(room), ..Default::default() };
        change.update(self.db.reader()).await.unwrap();
    }

    /// All work requests as they can be read.
    pub async fn view(&mut self) -> BTreeMap<i64, Facts> {
        let reader = self.db.reader();
        // Here nobody is a server: all events are others'.
        for event in EventManager(self.db).foreign(self.last_event, 1000).await.unwrap() {
            self.last_event = event.id;
            if let event::Model { work_request_id: Some(id), kind, .. } = event {
                self.histories.entry(id).or_default().push(*kind);
            }
        }
        let mut keys: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for token in token::Entity::find().all(reader).await.unwrap() {
            if let Some(id) = token.work_request_id {
                keys.entry(id).or_default().insert(token.hash);
            }
        }
        let mut attempts: BTreeMap<i64, Vec<Attempt>> = BTreeMap::new();
        let order =
            attempt::Entity::find().order_by_asc(attempt::Column::WorkRequestId).order_by_asc(attempt::Column::Number);
        for row in order.all(reader).await.unwrap() {
            let those = attempts.entry(row.work_request_id).or_default();
            assert_eq!(usize::try_from(row.number).unwrap(), those.len() + 1, "attempts are counted from 1");
            assert_eq!(row.ended_at.is_some(), row.outcome.is_some(), "an attempt ends with an outcome: {row:?}");
            let outcome = row.outcome.map(|outcome| {
                let known = ["reported", "aborted", "lease-expired", "worker-restarted", "de-assigned"];
                known.into_iter().find(|known| *known == outcome).unwrap_or_else(|| panic!("outcome {outcome}"))
            });
            let worker = row.worker_id.unwrap();
            those.push(Attempt { worker, key: row.token_hash, outcome, result: *row.result });
        }
        let rows = work_request::Entity::find().all(reader).await.unwrap();
        let facts = |row: &WorkRequest| Facts {
            status: *row.status,
            result: *row.result,
            worker: row.worker_id,
            retries: row.retry_count(),
            priority: row.priority_effective(),
            supersedes: row.supersedes_id,
            rests_until: row.delayed_until,
            started: row.started_at.is_some(),
            attempts: attempts.get(&row.id).cloned().unwrap_or_default(),
            keys: keys.get(&row.id).cloned().unwrap_or_default(),
            history: self.histories.get(&row.id).cloned().unwrap_or_default(),
        };
        rows.iter().map(|row| (row.id, facts(row))).collect()
    }

    /// Who is waiting for work.
    pub async fn waiting(&self) -> BTreeSet<i64> {
        let waiting = WorkerManager(self.db).waiting_for_work_request().all(self.db.reader()).await.unwrap();
        waiting.iter().filter(|worker| worker.has_fresh_metadata(self.now)).map(|worker| worker.id).collect()
    }
}
