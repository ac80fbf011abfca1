//! A small build farm for tests: users, workers and work requests in a few words, on a clock that moves when it is read.
//!
//! ```ignore
//! stories! {
//!     async fn a_thing_happens(db: &Database) { … }   // as `both!`, and at the end the invariants hold
//! }
//! ```

// Each test binary uses another part of this.
#![allow(dead_code, unused_macros, unused_imports)]

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, EntityTrait, NotSet, Set};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use usine_db::artifact::NewArtifact;
use usine_db::entity::{event, user};
use usine_db::token::{NewToken, TokenSpec};
use usine_db::work_request::{NewWorkRequest, ReportOutcome, SchedulerTags};
use usine_db::{
    ArtifactManager, Database, QueueManager, TokenManager, WorkRequest, WorkRequestManager, Worker, WorkerManager,
};
use usine_model::artifact::ArtifactCategory;
use usine_model::entropy::CountingEntropy;
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::tags::Tags;
use usine_model::token::TokenKey;
use usine_model::work_request::Results;
use usine_model::worker::{Metadata, WorkerType};

/// Makes two tests of each story, as `both!` does, and looks at the invariants when it is over.
macro_rules! stories {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident: &Database) $body:block)+) => {
        $crate::support::both! {
            $($(#[$attribute])* async fn $name($database: &Database) {
                $body
                $crate::farm::all_is_well($database).await;
            })+
        }
    };
}
pub(crate) use stories;

/// Fails if a row breaks an invariant.
pub async fn all_is_well(db: &Database) {
    assert_eq!(usine_db::invariants::check(db).await.unwrap(), []);
}

/// Noon of a day, and so many milliseconds.
pub fn at(milliseconds: i64) -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::milliseconds(milliseconds)
}

/// The kinds of these events.
pub fn kinds(events: &[event::Model]) -> Vec<EventKind> {
    events.iter().map(|event| *event.kind).collect()
}

/// What was published since the last look.
pub fn heard(events: &mut Receiver<event::Model>) -> Vec<event::Model> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

pub fn tags(list: &[&str]) -> Tags {
    list.iter().map(|tag| (*tag).to_owned()).collect()
}

pub fn object(value: Value) -> Metadata {
    value.as_object().unwrap().clone()
}

/// Ids of these work requests.
pub fn ids<'a>(rows: impl IntoIterator<Item = &'a WorkRequest>) -> Vec<i64> {
    rows.into_iter().map(|row| row.id).collect()
}

/// A build farm with a clock of its own.
pub struct Farm<'a> {
    pub db: &'a Database,
    pub entropy: CountingEntropy,
    clock: AtomicI64,
}

impl<'a> Farm<'a> {
    pub fn new(db: &'a Database) -> Self {
        Self { db, entropy: CountingEntropy::default(), clock: AtomicI64::new(0) }
    }

    /// The time: one second later at each look.
    pub fn now(&self) -> DateTime<Utc> {
        at(self.clock.fetch_add(1000, Ordering::Relaxed))
    }

    pub fn tokens(&self) -> TokenManager<'a> {
        TokenManager(self.db)
    }

    pub fn workers(&self) -> WorkerManager<'a> {
        WorkerManager(self.db)
    }

    pub fn work_requests(&self) -> WorkRequestManager<'a> {
        WorkRequestManager(self.db)
    }

    /// A person; without password, because hashing one takes long.
    pub async fn user(&self, name: &str) -> user::Model {
        let row = user::ActiveModel {
            id: NotSet,
            username: Set(name.to_owned()),
            email: Set(format!("{name}@example.org")),
            password: Set(String::new()),
            is_superuser: Set(false),
            is_active: Set(true),
            is_system: Set(false),
            date_joined: Set(self.now()),
            last_login: Set(None),
            ..Default::default()
        };
        row.insert(self.db.reader()).await.unwrap()
    }

    /// A token of a user, disabled.
    pub async fn user_token(&self, owner: &user::Model) -> NewToken {
        self.tokens().create(TokenSpec::of_user(owner.id), &self.entropy, self.now()).await.unwrap()
    }

    /// A machine that has registered: disabled, not connected.
    pub async fn registered(&self, fqdn: &str) -> (Worker, TokenKey) {
        let key = TokenKey::generate(&self.entropy);
        let worker = self.workers().register(fqdn, &key, WorkerType::External, self.now()).await.unwrap();
        (worker, key)
    }

    /// A machine that waits for work: enabled, connected, its metadata sent.
    pub async fn worker(&self, fqdn: &str) -> Worker {
        let (mut worker, _) = self.registered(fqdn).await;
        worker.token(self.db).await.unwrap().unwrap().enable(self.db, self.now()).await.unwrap();
        worker.mark_connected(self.db, self.now()).await.unwrap();
        worker.set_dynamic_metadata(self.db, Metadata::new(), self.now()).await.unwrap();
        worker
    }

    /// A request of the system's own.
    pub fn request(&self) -> NewWorkRequest {
        NewWorkRequest::of_worker_task(1, 1, "noop")
    }

    /// A pending work request.
    pub async fn pending(&self) -> WorkRequest {
        self.pending_with(0, &SchedulerTags::default()).await
    }

    pub async fn pending_with(&self, priority: i32, tags: &SchedulerTags) -> WorkRequest {
        let new = NewWorkRequest { priority_base: priority, ..self.request() };
        self.work_requests().create(&new, tags, self.now()).await.unwrap()
    }

    /// A work request that waits for something else.
    pub async fn blocked(&self) -> WorkRequest {
        self.work_requests().create_blocked(&self.request(), self.now()).await.unwrap()
    }

    /// Assigns it; the worker must have room.
    pub async fn assign(&self, row: &mut WorkRequest, worker: &Worker) {
        assert!(row.assign_worker(self.db, worker, None, self.now()).await.unwrap(), "{worker} takes {row}");
    }

    /// A new work request, assigned.
    pub async fn assigned(&self, worker: &Worker) -> WorkRequest {
        let mut row = self.pending().await;
        self.assign(&mut row, worker).await;
        row
    }

    /// A new work request, handed out, and the key that came with it.
    pub async fn running(&self, worker: &Worker) -> (WorkRequest, TokenKey) {
        let row = self.assigned(worker).await;
        let key = self.fetch(worker, &row).await;
        (self.reload(&row).await, key)
    }

    /// The worker asks for work and gets this one.
    pub async fn fetch(&self, worker: &Worker, expected: &WorkRequest) -> TokenKey {
        let handed = self.ask(worker).await.expect("there is work");
        assert_eq!(handed.work_request.id, expected.id);
        handed.key
    }

    /// The worker asks for work.
    pub async fn ask(&self, worker: &Worker) -> Option<usine_db::work_request::HandedOut> {
        self.work_requests().get_next_for_worker(worker, &self.entropy, self.now()).await.unwrap()
    }

    /// The worker reports.
    pub async fn report(&self, id: i64, key: &TokenKey, result: Results) -> ReportOutcome {
        self.work_requests().report(id, &key.hash(), result, OutputData::default(), self.now()).await.unwrap()
    }

    pub async fn complete(&self, row: &mut WorkRequest, result: Results) {
        row.mark_completed(self.db, result, OutputData::default(), self.now()).await.unwrap();
    }

    pub async fn reload(&self, row: &WorkRequest) -> WorkRequest {
        self.work_requests().get(row.id).await.unwrap()
    }

    pub async fn reload_worker(&self, worker: &Worker) -> Worker {
        self.workers().get(worker.id).await.unwrap()
    }

    /// The kinds of all that happened to it.
    pub async fn history(&self, row: &WorkRequest) -> Vec<EventKind> {
        kinds(&self.work_requests().history(row.id).await.unwrap())
    }

    /// All events that are written down.
    pub async fn all_events(&self) -> Vec<event::Model> {
        event::Entity::find().all(self.db.reader()).await.unwrap()
    }

    /// Each hand-out's number and how it ended.
    pub async fn attempts(&self, row: &WorkRequest) -> Vec<(i32, Option<String>)> {
        let attempts = self.work_requests().attempts(row.id).await.unwrap();
        attempts.into_iter().map(|attempt| (attempt.number, attempt.outcome)).collect()
    }

    /// The work request leaves an artifact behind.
    pub async fn leave_artifact(&self, row: &WorkRequest) {
        let new = NewArtifact {
            category: ArtifactCategory::Test,
            workspace_id: row.workspace_id,
            data: json!({}),
            files: Vec::new(),
            created_by: None,
            created_by_work_request: Some(row.id),
            expiration_delay: None,
        };
        ArtifactManager(self.db).create(new, self.now()).await.unwrap();
    }
}

/// The first free pending work request of these sets, in the order of the queue.
pub async fn head(db: &Database, sets: &[i64]) -> Option<WorkRequest> {
    let queue = QueueManager(db);
    let open = queue.open_lanes().await.unwrap();
    let lanes = queue.lanes(0).await.unwrap();
    let fitting = lanes.iter().filter(|lane| open.contains(&lane.id) && sets.contains(&lane.requirement_set_id));
    let heads = queue.heads(&fitting.map(|lane| lane.id).collect::<Vec<_>>(), 1).await.unwrap();
    let first = heads.into_iter().min_by_key(|head| (-head.priority, head.created_at, head.id))?;
    WorkRequestManager(db).get_or_none(first.id).await.unwrap()
}
