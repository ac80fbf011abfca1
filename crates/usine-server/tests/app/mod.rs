//! A server for tests: its own database, directories and port, a clock that the test moves, typed clients, and workers
//! that speak the protocol but run nothing. Ends with a check of the invariants.

// Each test binary uses another part of this.
#![allow(dead_code, unused_imports, unused_macros)]

mod words;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usine_client::channel::{Channel, Received};
use usine_client::{Client, NextWork, Options};
use usine_db::account::User;
use usine_db::tenancy::{Scope, Workspace};
use usine_db::token::TokenSpec;
use usine_db::{GroupManager, ScopeManager, TokenManager, UserManager, WorkerManager, WorkspaceManager};
use usine_model::clock::{Clock, ManualClock};
use usine_model::entropy::CountingEntropy;
use usine_model::output_data::OutputData;
use usine_model::permission::{MembershipRole, WorkspaceRole};
use usine_model::token::TokenKey;
use usine_model::work_request::Results;
use usine_model::worker::WorkerType;
use usine_protocol::channel::{Notice, ServerMessage};
use usine_protocol::work_request::{Completed, CreateWorkRequest, WorkRequest};
use usine_server::{AppState, Config, Server};

pub use words::Words;

use crate::support::TestDatabase;

/// Longest that anything may take in a test before it counts as not happening.
pub const SOON: Duration = Duration::from_secs(20);

/// A running server.
pub struct App {
    pub state: AppState,
    pub clock: Arc<ManualClock>,
    pub url: String,
    config: Config,
    pub entropy: Arc<CountingEntropy>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    http: reqwest::Client,
    pub directory: TempDir,
}

/// When all tests begin.
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

impl App {
    /// A server on this database.
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_at(database, noon()).await
    }

    /// A server on this database whose clock shows this time.
    pub async fn start_at(database: &TestDatabase, now: DateTime<Utc>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            bind: "127.0.0.1:0".parse().unwrap(),
            data_directory: directory.path().to_owned(),
            database: Some(database.url().to_owned()),
            upkeep_interval: 1,
            ..Config::default()
        };
        let clock = Arc::new(ManualClock::at(now));
        let entropy = Arc::new(CountingEntropy::default());
        let shutdown = CancellationToken::new();
        let (state, url, running) = launch(&config, &clock, &entropy, &shutdown).await;
        // Fails when another test has done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirect).build().unwrap();
        Self { state, clock, url, config, entropy, shutdown, running, http, directory }
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

    /// The same with another configuration.
    pub async fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.restart().await;
    }

    /// Checks the invariants and stops.
    pub async fn end(self) {
        assert_eq!(usine_db::invariants::check(&self.state.database).await.unwrap(), vec![]);
        self.shutdown.cancel();
        self.running.await.unwrap();
    }

    /// Stops without looking at the invariants: the test has written rows by hand that no manager would.
    pub async fn shutdown_only(self) {
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

    /// A plain request, whose answer is looked at as it is.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        self.http.request(method, address)
    }

    /// A plain GET.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A plain POST of JSON.
    pub fn post(&self, path: &str, body: impl serde::Serialize) -> RequestBuilder {
        self.request(Method::POST, path).json(&body)
    }

    /// A client of a new user.
    pub async fn user(&self, name: &str) -> Client {
        self.client(Some(&self.user_key(name).await))
    }

    /// The key of a new user's token; the user contributes to the workspace `System`.
    pub async fn user_key(&self, name: &str) -> String {
        let key = self.stranger_key(name).await;
        self.contributes(name).await;
        key
    }

    /// The key of a new user's token; the user has no role anywhere.
    pub async fn stranger_key(&self, name: &str) -> String {
        let mail = format!("{name}@example.org");
        let users = UserManager(&self.state.database);
        let (user, _) = users.create(name, &mail, &*self.entropy, self.clock.now()).await.unwrap();
        self.token_of(&user, |_| {}).await
    }

    /// The key of a new token of a user, made as the test wants it.
    pub async fn token_of(&self, user: &User, change: impl FnOnce(&mut TokenSpec)) -> String {
        let mut spec = TokenSpec { enabled: true, ..TokenSpec::of_user(user.id) };
        change(&mut spec);
        let token = TokenManager(&self.state.database).create(spec, &*self.entropy, self.clock.now()).await.unwrap();
        token.key.reveal().to_owned()
    }

    /// The row of a user.
    pub async fn user_row(&self, name: &str) -> User {
        UserManager(&self.state.database).get_user_or_none(name).await.unwrap().unwrap()
    }

    /// The scope `debusine` with its workspace `System`.
    pub async fn system(&self) -> (Scope, Workspace) {
        let scope = ScopeManager(&self.state.database).get_scope_or_none("debusine").await.unwrap().unwrap();
        let workspaces = WorkspaceManager(&self.state.database);
        let workspace = workspaces.get_workspace_or_none(&scope, "System").await.unwrap().unwrap();
        (scope, workspace)
    }

    /// Lets a user contribute to the workspace `System`.
    pub async fn contributes(&self, name: &str) {
        let (scope, workspace) = self.system().await;
        self.has_role(name, &workspace, &scope, WorkspaceRole::Contributor).await;
    }

    /// Gives a user a role on a workspace, through a group of that role.
    pub async fn has_role(&self, name: &str, workspace: &Workspace, scope: &Scope, role: WorkspaceRole) {
        let (groups, workspaces) = (GroupManager(&self.state.database), WorkspaceManager(&self.state.database));
        let now = self.clock.now();
        let group_name = format!("{}-{role}", workspace.name);
        let group = match groups.get_group_or_none(scope, None, &group_name).await.unwrap() {
            Some(group) => group,
            None => groups.create(scope, None, &group_name, false, None, now).await.unwrap(),
        };
        workspaces.grant_role(workspace, scope, &group, role, None, now).await.unwrap();
        let user = self.user_row(name).await;
        groups.add_users(&group, &[user], MembershipRole::Member, true, None, now).await.unwrap();
    }

    /// A token that belongs to nobody yet: its key.
    pub fn new_key(&self) -> String {
        TokenKey::generate(&*self.entropy).reveal().to_owned()
    }

    /// The row of a worker.
    pub async fn worker_row(&self, name: &str) -> usine_db::Worker {
        WorkerManager(&self.state.database).get_worker_or_none(name).await.unwrap().unwrap()
    }

    /// An administrator says something of a worker.
    pub async fn administer(&self, name: &str, metadata: Value) {
        let mut row = self.worker_row(name).await;
        let metadata = metadata.as_object().unwrap().clone();
        row.set_static_metadata(&self.state.database, metadata, self.clock.now()).await.unwrap();
    }

    /// A new worker without a machine, and the activation token for one: its key.
    pub async fn activation(&self, name: &str, worker_type: WorkerType) -> String {
        let workers = WorkerManager(&self.state.database);
        let made = workers.create_with_activation(name, worker_type, &*self.entropy, self.clock.now()).await.unwrap();
        made.1.key.reveal().to_owned()
    }

    /// A connected worker of this name, with these tags besides its type.
    pub async fn worker(&self, name: &str, tags: &[&str]) -> FakeWorker {
        let activation = self.activation(name, WorkerType::External).await;
        let key = self.new_key();
        let register = usine_protocol::worker::Register {
            token: key.clone(),
            fqdn: name.to_owned(),
            worker_type: WorkerType::External,
        };
        self.client(Some(&activation)).register(&register).await.unwrap();
        let client = self.client(Some(&key));
        let mut worker = FakeWorker { name: name.to_owned(), key, tags: json!(tags), client, channel: None };
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

/// Waits until something is so.
pub async fn eventually(mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if so().await {
            return;
        }
        tokio::time::sleep(SOON / 400).await;
    }
    panic!("it did not become so within {SOON:?}");
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
    pub key: String,
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

/// Makes two tests of each story: on SQLite and on PostgreSQL. The story gets a server, an [`App`] or made from one.
macro_rules! stories {
    ($($(#[$attribute:meta])* async fn $name:ident($app:ident: $server:ty) $body:block)+) => {
        $(mod $name {
            use super::*;

            $(#[$attribute])*
            async fn story(#[allow(unused_mut)] mut $app: $server) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let database = crate::support::TestDatabase::sqlite().await;
                story(<$server>::start(&database).await).await;
                database.remove().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let database = crate::support::TestDatabase::postgres().await;
                story(<$server>::start(&database).await).await;
                database.remove().await;
            }
        })+
    };
}
pub(crate) use stories;
