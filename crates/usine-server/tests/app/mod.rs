//! A server for tests: its own database, directories and port, a clock that the test moves, typed clients, and workers
//! that speak the protocol but run nothing. Ends with a check of the invariants.

// Each test binary uses another part of this.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usine_client::channel::{Channel, Received};
use usine_client::{Client, NextWork, Options};
use usine_db::token::TokenSpec;
use usine_db::{TokenManager, UserManager, WorkerManager};
use usine_model::clock::{Clock, ManualClock};
use usine_model::entropy::CountingEntropy;
use usine_model::output_data::OutputData;
use usine_model::token::TokenKey;
use usine_model::work_request::Results;
use usine_model::worker::WorkerType;
use usine_protocol::channel::{Notice, ServerMessage};
use usine_protocol::work_request::{Completed, CreateWorkRequest, WorkRequest};
use usine_server::{AppState, Config, Server};

use crate::support::TestDatabase;

/// Longest that anything may take in a test before it counts as not happening.
pub const SOON: Duration = Duration::from_secs(20);

/// A running server.
pub struct App {
    pub state: AppState,
    pub clock: Arc<ManualClock>,
    pub url: String,
    config: Config,
    entropy: Arc<CountingEntropy>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    directory: TempDir,
}

/// When all tests begin.
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

impl App {
    /// A server on this database.
    pub async fn start(database: &TestDatabase) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            bind: "127.0.0.1:0".parse().unwrap(),
            data_directory: directory.path().to_owned(),
            database: Some(database.url().to_owned()),
            upkeep_interval: 1,
            ..Config::default()
        };
        let clock = Arc::new(ManualClock::at(noon()));
        let entropy = Arc::new(CountingEntropy::default());
        let shutdown = CancellationToken::new();
        let (state, url, running) = launch(&config, &clock, &entropy, &shutdown).await;
        Self { state, clock, url, config, entropy, shutdown, running, directory }
    }

    /// Stops the server and starts another one on the same database, directories and port.
    pub async fn restart(&mut self) {
        self.shutdown.cancel();
        (&mut self.running).await.unwrap();
        self.shutdown = CancellationToken::new();
        self.config.bind = self.url.strip_prefix("http://").unwrap().parse().unwrap();
        let (state, url, running) = launch(&self.config, &self.clock, &self.entropy, &self.shutdown).await;
        (self.state, self.url, self.running) = (state, url, running);
    }

    /// Checks the invariants and stops.
    pub async fn end(self) {
        assert_eq!(usine_db::invariants::check(&self.state.database).await.unwrap(), vec![]);
        self.shutdown.cancel();
        self.running.await.unwrap();
    }

    /// Moves the clock.
    pub fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// A client with any token, or none.
    pub fn client(&self, token: Option<&str>) -> Client {
        let options = Options { token: token.map(str::to_owned), ..Options::new(format!("{}/api", self.url)) };
        Client::new(options).unwrap()
    }

    /// A client of a new user.
    pub async fn user(&self, name: &str) -> Client {
        let database = &self.state.database;
        let mail = format!("{name}@example.org");
        let (user, _) = UserManager(database).create(name, &mail, &*self.entropy, self.clock.now()).await.unwrap();
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_user(user.id) };
        let token = TokenManager(database).create(spec, &*self.entropy, self.clock.now()).await.unwrap();
        self.client(Some(token.key.reveal()))
    }

    /// A connected worker of this name, with these tags besides its type.
    pub async fn worker(&self, name: &str, tags: &[&str]) -> FakeWorker {
        let (_, activation) = WorkerManager(&self.state.database)
            .create_with_activation(name, WorkerType::External, &*self.entropy, self.clock.now())
            .await
            .unwrap();
        let key = TokenKey::generate(&*self.entropy);
        let register = usine_protocol::worker::Register {
            token: key.reveal().to_owned(),
            fqdn: name.to_owned(),
            worker_type: WorkerType::External,
        };
        self.client(Some(activation.key.reveal())).register(&register).await.unwrap();
        let client = self.client(Some(key.reveal()));
        let mut worker = FakeWorker { name: name.to_owned(), tags: json!(tags), client, channel: None };
        worker.connect().await;
        worker
    }

    /// Submits a noop.
    pub async fn noop(&self, client: &Client) -> WorkRequest {
        let new = CreateWorkRequest { task_name: "noop".to_owned(), task_data: json!({}), ..Default::default() };
        client.create_work_request(&new).await.unwrap()
    }

    /// Waits until a work request is as the test wants it.
    pub async fn until(&self, client: &Client, id: i64, wanted: impl Fn(&WorkRequest) -> bool) -> WorkRequest {
        let mut last = None;
        for _ in 0..400 {
            let row = client.work_request(id).await.unwrap();
            if wanted(&row) {
                return row;
            }
            last = Some(row);
            tokio::time::sleep(SOON / 400).await;
        }
        panic!("work request {id} did not become what the test waits for: {last:?}");
    }
}

async fn launch(
    config: &Config,
    clock: &Arc<ManualClock>,
    entropy: &Arc<CountingEntropy>,
    shutdown: &CancellationToken,
) -> (AppState, String, JoinHandle<()>) {
    let server = Server::start(config.clone(), clock.clone(), entropy.clone(), shutdown.clone()).await.unwrap();
    let (state, url) = (server.state().clone(), format!("http://{}", server.address().unwrap()));
    let running = tokio::spawn(async move { server.run().await.unwrap() });
    (state, url, running)
}

/// A worker that speaks the protocol.
pub struct FakeWorker {
    pub name: String,
    pub client: Client,
    tags: Value,
    channel: Option<Channel<ServerMessage>>,
}

impl FakeWorker {
    /// Opens the channel and says what it can do.
    pub async fn connect(&mut self) {
        self.channel = Some(self.client.worker_channel().await.unwrap());
        assert_eq!(self.hear().await, Notice::Connected);
        assert_eq!(self.hear().await, Notice::RequestDynamicMetadata);
        self.send_metadata().await;
    }

    /// Says what it can do.
    pub async fn send_metadata(&self) {
        let mut tags = self.tags.as_array().unwrap().clone();
        tags.push(json!("worker:task:worker:noop:version:1"));
        let metadata = Map::from_iter([("provided_tags".to_owned(), Value::Array(tags))]);
        self.client.put_dynamic_metadata(&metadata).await.unwrap();
    }

    /// The connection breaks.
    pub fn disconnect(&mut self) {
        self.channel = None;
    }

    /// The next message.
    pub async fn message(&mut self) -> ServerMessage {
        let channel = self.channel.as_mut().expect("a connected worker");
        match tokio::time::timeout(SOON, channel.receive()).await.expect("a message").unwrap() {
            Received::Message(message) => message,
            Received::Unknown(text) => panic!("not a message: {text}"),
            Received::Closed => panic!("the server closed the channel"),
        }
    }

    /// The next notice.
    pub async fn hear(&mut self) -> Notice {
        match self.message().await {
            ServerMessage::Notice(notice) => notice,
            other => panic!("not a notice: {other:?}"),
        }
    }

    /// Sends a message of its own.
    pub async fn say(&mut self, message: &impl serde::Serialize) {
        self.channel.as_mut().unwrap().send(message).await.unwrap();
    }

    /// Waits for work and fetches it.
    pub async fn take(&mut self) -> WorkRequest {
        loop {
            while self.hear().await != Notice::WorkRequestAvailable {}
            // A notice may come twice: then there is nothing any more.
            if let Some(work_request) = self.fetch().await {
                return work_request;
            }
        }
    }

    /// Asks for work.
    pub async fn fetch(&self) -> Option<WorkRequest> {
        match self.client.get_next().await.unwrap() {
            NextWork::Run(work_request) => Some(*work_request),
            _ => None,
        }
    }

    /// A client with the key of the work request.
    pub fn hands(&self, work_request: &WorkRequest) -> Client {
        self.client.acting_as(work_request.token.as_deref(), Some(&work_request.scope)).unwrap()
    }

    /// Reports a result.
    pub async fn report(&self, work_request: &WorkRequest, result: Results) -> Result<(), usine_client::Error> {
        let body = Completed { result, output_data: OutputData::default() };
        self.hands(work_request).complete(work_request.id, &body).await
    }
}

/// Makes two tests of each story: on SQLite and on PostgreSQL.
macro_rules! stories {
    ($($(#[$attribute:meta])* async fn $name:ident($app:ident: App) $body:block)+) => {
        $(mod $name {
            use super::*;

            $(#[$attribute])*
            async fn story(#[allow(unused_mut)] mut $app: App) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let database = crate::support::TestDatabase::sqlite().await;
                story(App::start(&database).await).await;
                database.remove().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let database = crate::support::TestDatabase::postgres().await;
                story(App::start(&database).await).await;
                database.remove().await;
            }
        })+
    };
}
pub(crate) use stories;
