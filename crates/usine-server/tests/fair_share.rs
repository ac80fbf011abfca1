//! A day in which one user submits 3,000 builds in the morning, and others go on with their work: the real scheduler on a real
//! database, with a clock that the test moves. Nothing else of the server runs.

#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::json;
use support::{TestDatabase, databases};
use tokio_util::sync::CancellationToken;
use usine_db::account::User;
use usine_db::tenancy::{NewWorkspace, OWNERS, Workspace};
use usine_db::work_request::{NewWorkRequest, ReportOutcome, SchedulerTags};
use usine_db::{
    GroupManager, ScopeManager, UserManager, WorkRequest, WorkRequestManager, Worker, WorkerManager, WorkspaceManager,
};
use usine_model::clock::{Clock, ManualClock};
use usine_model::entropy::CountingEntropy;
use usine_model::fair_share::Share;
use usine_model::output_data::OutputData;
use usine_model::token::TokenKey;
use usine_model::work_request::Results;
use usine_model::worker::WorkerType;
use usine_server::scheduler::Scheduler;
use usine_server::{AppState, Config, Server};

/// Minutes that a build takes.
const BUILD: i64 = 4;

/// A farm whose time is the test's.
struct Farm {
    state: AppState,
    clock: Arc<ManualClock>,
    entropy: Arc<CountingEntropy>,
    scheduler: Scheduler,
    workers: Vec<Worker>,
    /// What each busy worker runs: key, and the minute in which it is done.
    running: BTreeMap<i64, (WorkRequest, TokenKey, i64)>,
    minute: i64,
    /// How long each work request waited until a worker had it, in minutes, by user.
    waits: BTreeMap<i64, Vec<i64>>,
    submitted: BTreeMap<i64, i64>,
    _directory: tempfile::TempDir,
}

impl Farm {
    async fn start(database: &TestDatabase, workers: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            bind: "127.0.0.1:0".parse().unwrap(),
            data_directory: directory.path().to_owned(),
            database: Some(database.url().to_owned()),
            ..Config::default()
        };
        let clock = Arc::new(ManualClock::at(DateTime::from_timestamp(1_790_000_000, 0).unwrap()));
        let entropy = Arc::new(CountingEntropy::default());
        let server = Server::start(config, clock.clone(), entropy.clone(), CancellationToken::new()).await.unwrap();
        let mut farm = Self {
            state: server.state().clone(),
            clock,
            entropy,
            scheduler: Scheduler::default(),
            workers: Vec::new(),
            running: BTreeMap::new(),
            minute: 0,
            waits: BTreeMap::new(),
            submitted: BTreeMap::new(),
            _directory: directory,
        };
        for number in 0..workers {
            let worker = farm.worker(&format!("w{number}")).await;
            farm.workers.push(worker);
        }
        farm
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn worker(&self, name: &str) -> Worker {
        let database = &self.state.database;
        let manager = WorkerManager(database);
        let (made, activation) =
            manager.create_with_activation(name, WorkerType::External, &*self.entropy, self.now()).await.unwrap();
        let key = TokenKey::generate(&*self.entropy);
        manager.register_with_activation(activation.key.reveal(), &key, self.now()).await.unwrap().unwrap();
        let mut worker = manager.get(made.id).await.unwrap();
        worker.set_dynamic_metadata(database, serde_json::Map::new(), self.now()).await.unwrap();
        worker.mark_connected(database, self.now()).await.unwrap();
        worker
    }

    async fn user(&self, name: &str) -> User {
        let users = UserManager(&self.state.database);
        users.create(name, &format!("{name}@example.org"), &*self.entropy, self.now()).await.unwrap().0
    }

    async fn workspace(&self, name: &str) -> Workspace {
        let database = &self.state.database;
        let scope = ScopeManager(database).get_scope_or_none("debusine").await.unwrap().unwrap();
        let owners = GroupManager(database).get_group_or_none(&scope, None, OWNERS).await.unwrap().unwrap();
        let new = NewWorkspace { name, public: true, default_expiration_delay: 0 };
        WorkspaceManager(database).create(&scope, &new, &owners, None, self.now()).await.unwrap()
    }

    async fn submit(&mut self, workspace: i64, user: &User, count: usize) {
        let manager = WorkRequestManager(&self.state.database);
        let new = NewWorkRequest::of_worker_task(workspace, user.id, "noop");
        let (tags, now) = (SchedulerTags::default(), self.now());
        let rows = join_all((0..count).map(|_| manager.create(&new, &tags, now))).await;
        self.submitted.extend(rows.into_iter().map(|row| (row.unwrap().id, self.minute)));
    }

    /// A minute passes: what is done is reported, and free workers get work.
    async fn pass(&mut self) {
        self.minute += 1;
        self.clock.advance(TimeDelta::minutes(1));
        let manager = WorkRequestManager(&self.state.database);
        if self.minute % 60 == 0 {
            for worker in &mut self.workers {
                worker
                    .set_dynamic_metadata(&self.state.database, serde_json::Map::new(), self.clock.now())
                    .await
                    .unwrap();
            }
        }
        let done: Vec<_> = self.running.extract_if(.., |_, (_, _, end)| *end <= self.minute).collect();
        let now = self.now();
        join_all(done.iter().map(async |(_, (row, key, _))| {
            let output = OutputData::default();
            let outcome = manager.report(row.id, &key.hash(), Results::Success, output, now).await.unwrap();
            assert_eq!(outcome, ReportOutcome::Accepted);
        }))
        .await;
        while self.scheduler.schedule(&self.state).await.unwrap().more {}
        let idle = self.workers.iter().filter(|worker| !self.running.contains_key(&worker.id));
        let begun = join_all(idle.map(async |worker| {
            let next = manager.get_next_for_worker(worker, &*self.entropy, now).await.unwrap();
            next.map(|next| (worker.id, next))
        }));
        for (worker, next) in begun.await.into_iter().flatten() {
            let row = next.work_request;
            let waited = self.minute - self.submitted[&row.id];
            self.waits.entry(row.created_by_id).or_default().push(waited);
            self.running.insert(worker, (row, next.key, self.minute + BUILD));
        }
    }

    fn waits_of(&self, user: &User) -> &[i64] {
        self.waits.get(&user.id).map(Vec::as_slice).unwrap_or_default()
    }

    async fn end(self, database: TestDatabase) {
        assert_eq!(usine_db::invariants::check(&self.state.database).await.unwrap(), []);
        self.state.database.close().await;
        database.remove().await;
    }
}

/// Alice submits 3,000 builds at once: 20 hours of all ten workers. Bob and Carol have one every half an hour, in the same
/// workspace; Dave's team, in another, has twenty at eight and at two. Nobody waits for Alice, and Alice loses nothing that
/// others do not use.
#[tokio::test]
async fn a_day_with_3000_builds_of_one_user() {
    for (engine, database) in databases().await {
        let mut farm = Farm::start(&database, 10).await;
        let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"];
        let (alice, bob, carol, dave) =
            (farm.user(alice).await, farm.user(bob).await, farm.user(carol).await, farm.user(dave).await);
        let team = farm.workspace("team").await.id;
        farm.submit(1, &alice, 3000).await;
        let mut idle = 0;
        while farm.minute < 24 * 60 {
            if farm.minute % 30 == 7 {
                farm.submit(1, &bob, 1).await;
                farm.submit(1, &carol, 1).await;
            }
            if [8 * 60, 14 * 60].contains(&farm.minute) {
                farm.submit(team, &dave, 20).await;
            }
            farm.pass().await;
            if farm.waits_of(&alice).len() < 3000 {
                idle += 10 - farm.running.len();
            }
        }
        assert_eq!(idle, 0, "{engine}: workers were idle although something waited");
        assert_eq!(farm.waits_of(&alice).len(), 3000, "{engine}: alice's are all begun on the same day");
        for user in [&bob, &carol] {
            let waits = farm.waits_of(user);
            assert_eq!(waits.len(), 48);
            assert!(waits.iter().all(|wait| *wait <= BUILD + 1), "{engine}: {} waited {waits:?}", user.username);
        }
        // Twenty builds on the workers as they become free: at most those of Bob and Carol come between.
        let waits = farm.waits_of(&dave);
        assert_eq!(waits.len(), 40);
        assert!(waits.iter().all(|wait| *wait <= 3 * BUILD), "{engine}: dave waited {waits:?}");
        farm.end(database).await;
    }
}

/// With equal claims and twice the weight, twice as much; a limit holds even when workers are idle.
#[tokio::test]
async fn weights_and_limits() {
    for (engine, database) in databases().await {
        let mut farm = Farm::start(&database, 6).await;
        let (alice, bob) = (farm.user("alice").await, farm.user("bob").await);
        let (one, two) = (farm.workspace("one").await, farm.workspace("two").await);
        let scope = ScopeManager(&farm.state.database).get_scope_or_none("debusine").await.unwrap().unwrap();
        let heavy = Share { weight: 200, max_running: None };
        UserManager(&farm.state.database).set_share(&alice, heavy).await.unwrap();
        WorkspaceManager(&farm.state.database).set_share(&one, &scope, heavy, None, farm.now()).await.unwrap();
        farm.submit(one.id, &alice, 400).await;
        farm.submit(two.id, &bob, 400).await;
        for _ in 0..200 {
            farm.pass().await;
        }
        let (had, others) = (farm.waits_of(&alice).len(), farm.waits_of(&bob).len());
        assert!((19..=21).contains(&(had * 10 / others)), "{engine}: {had} and {others}");

        let limited = Share { weight: 100, max_running: Some(2) };
        UserManager(&farm.state.database).set_share(&bob, limited).await.unwrap();
        let abort = farm.submitted.keys().copied().collect::<Vec<_>>();
        for id in abort {
            let mut row = WorkRequestManager(&farm.state.database).get(id).await.unwrap();
            if row.created_by_id == alice.id && !row.status.is_terminal() && row.worker_id.is_none() {
                assert_eq!(row.abort(&farm.state.database, None, farm.now()).await.unwrap(), Ok(()));
            }
        }
        for _ in 0..2 * BUILD {
            farm.pass().await;
        }
        let of_bob = farm.running.values().filter(|(row, _, _)| row.created_by_id == bob.id).count();
        assert_eq!((of_bob, farm.running.len()), (2, 2), "{engine}: four workers are idle");
        let waiting = WorkRequestManager(&farm.state.database).pending(true, None).unwrap();
        let waiting = waiting.one(farm.state.database.reader()).await.unwrap().unwrap();
        let reason = usine_server::scheduler::reason::explain_pending(&farm.state, &waiting).await.unwrap();
        assert!(reason.summary.contains("its user has 2 work requests on workers"), "{engine}: {reason:?}");
        assert_eq!(json!(reason)["limit"], json!(reason.summary));
        farm.end(database).await;
    }
}
