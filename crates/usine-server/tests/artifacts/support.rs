//! A real server on a free port, people and workers with tokens, and short words for requests.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usine_db::entity::user;
use usine_db::token::TokenSpec;
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{TokenManager, UserManager, WorkRequestManager, WorkerManager};
use usine_model::clock::ManualClock;
use usine_model::entropy::CountingEntropy;
use usine_model::token::TokenType;
use usine_model::worker::WorkerType;
use usine_server::{AppState, Config, Server};

pub fn now() -> DateTime<Utc> {
    "2026-03-01T10:20:30.123456Z".parse().unwrap()
}

/// A server with an empty database.
pub struct TestServer {
    pub state: AppState,
    base: String,
    client: reqwest::Client,
    directory: TempDir,
    shutdown: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
    /// Key of a user.
    pub alice: String,
}

impl TestServer {
    pub async fn start() -> Self {
        // Fails when another test has done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            bind: "127.0.0.1:0".parse().unwrap(),
            data_directory: directory.path().to_owned(),
            ..Config::default()
        };
        let shutdown = CancellationToken::new();
        let clock = Arc::new(ManualClock::at(now()));
        let server =
            Server::start(config, clock, Arc::new(CountingEntropy::default()), shutdown.clone()).await.unwrap();
        let state = server.state().clone();
        let base = format!("http://{}", server.address().unwrap());
        let running = tokio::spawn(server.run());
        let mut server = Self {
            state,
            base,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            directory,
            shutdown,
            running,
            alice: String::new(),
        };
        server.alice = server.user("alice").await;
        server
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }

    /// Ends the server, and finds what only then is found.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// A new user; the key of a token.
    pub async fn user(&self, name: &str) -> String {
        let (database, entropy) = (&self.state.database, &*self.state.entropy);
        let email = format!("{name}@example.org");
        let (user, _) = UserManager(database).create(name, &email, entropy, now()).await.unwrap();
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_user(user.id) };
        TokenManager(database).create(spec, entropy, now()).await.unwrap().key.reveal().to_owned()
    }

    /// Lets a user do everything.
    pub async fn promote(&self, name: &str) {
        let change = user::Entity::update_many()
            .col_expr(user::Column::IsSuperuser, Expr::value(true))
            .filter(user::Column::Username.eq(name));
        assert_eq!(change.exec(self.state.database.reader()).await.unwrap().rows_affected, 1);
    }

    /// A work request that runs on a worker of its own, with these inputs; its id and the key that came with it.
    pub async fn running(&self, inputs: &[i64]) -> (i64, String) {
        let (database, entropy) = (&self.state.database, &*self.state.entropy);
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_type(TokenType::Worker) };
        let token = TokenManager(database).create(spec, entropy, now()).await.unwrap().token;
        let workers = WorkerManager(database);
        let worker = workers.create_with_fqdn("host.example.org", &token, WorkerType::External, now()).await.unwrap();
        let creator = UserManager(database).get_user_or_none("alice").await.unwrap().unwrap();
        let new = NewWorkRequest::of_worker_task(1, creator.id, "noop");
        let requests = WorkRequestManager(database);
        let mut row = requests.create(&new, &SchedulerTags::default(), now()).await.unwrap();
        let dynamic = json!({"input_artifacts_ids": inputs});
        assert!(row.assign_worker(database, &worker, Some(dynamic), now()).await.unwrap());
        let handed = requests.get_next_for_worker(&worker, entropy, now()).await.unwrap().unwrap();
        (row.id, handed.key.reveal().to_owned())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.client.request(method, address)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> RequestBuilder {
        self.request(Method::POST, path).json(&body)
    }

    /// A PUT of a part of a file.
    pub fn put(&self, artifact: i64, path: &str, range: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let request = self.request(Method::PUT, &format!("/api/1.0/artifact/{artifact}/files/{path}/"));
        let request = if range.is_empty() { request } else { request.header("content-range", range) };
        request.body(body.into()).key(&self.alice)
    }

    /// An artifact of alice with these files, as answered.
    pub async fn artifact(&self, files: &[(&str, &[u8])]) -> Value {
        self.post("/api/1.0/artifact/", of(files)).key(&self.alice).answers(201).await
    }

    /// The same, with all files uploaded; its id.
    pub async fn complete_artifact(&self, files: &[(&str, &[u8])]) -> i64 {
        let id = self.artifact(files).await["id"].as_i64().unwrap();
        self.upload(id, files, &self.alice).await;
        id
    }

    /// Uploads what is asked for, each in one chunk.
    pub async fn upload(&self, id: i64, files: &[(&str, &[u8])], key: &str) {
        let shown: Value = self.get(&format!("/api/1.0/artifact/{id}/")).key(key).answers(200).await;
        for (path, content) in files {
            if shown["files_to_upload"].as_array().unwrap().contains(&json!(path)) {
                let range = format!("bytes 0-{}/{}", content.len() - 1, content.len());
                self.put(id, path, &range, *content).key(key).sent(201).await;
            }
        }
    }

    /// Where the store has a content.
    pub fn stored(&self, content: &[u8]) -> PathBuf {
        let hex = sha256(content);
        let name = format!("{hex}-{}", content.len());
        self.directory.path().join("store").join(&hex[0..2]).join(&hex[2..4]).join(&hex[4..6]).join(name)
    }

    /// Files that wait in the staging area.
    pub fn staged(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.directory.path().join("uploads")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// The body of a request that makes an artifact.
pub fn of(files: &[(&str, &[u8])]) -> Value {
    let entry = |(path, content): &(&str, &[u8])| {
        let file = json!({"size": content.len(), "type": "file", "checksums": {"sha256": sha256(content)},
            "content_type": "text/plain; charset=utf-8"});
        ((*path).to_owned(), file)
    };
    let files: serde_json::Map<_, _> = files.iter().map(entry).collect();
    json!({"category": "debusine:test", "workspace": "System", "files": files, "data": {}, "work_request": null,
        "expire_at": null})
}

/// Short words for requests and what they must be answered with.
pub trait Words {
    /// With this token.
    fn key(self, key: &str) -> RequestBuilder;
    /// Sends it; the answer, which has this status.
    async fn sent(self, status: u16) -> Response;
    /// Sends it; the JSON in the answer, which has this status.
    async fn answers(self, status: u16) -> Value;
    /// Sends it; the title of the problem, which has this status.
    async fn refused(self, status: u16) -> String;
}

impl Words for RequestBuilder {
    fn key(self, key: &str) -> RequestBuilder {
        // Replaces an earlier one.
        let (client, request) = self.build_split();
        let mut request = request.unwrap();
        request.headers_mut().insert(HeaderName::from_static("token"), HeaderValue::from_str(key).unwrap());
        RequestBuilder::from_parts(client, request)
    }

    async fn sent(self, status: u16) -> Response {
        let response = self.send().await.unwrap();
        if response.status() != status {
            let found = response.status();
            panic!("{found} instead of {status}: {}", response.text().await.unwrap());
        }
        response
    }

    async fn answers(self, status: u16) -> Value {
        let response = self.sent(status).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        response.json().await.unwrap()
    }

    async fn refused(self, status: u16) -> String {
        let response = self.sent(status).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = response.json().await.unwrap();
        let known = ["title", "detail", "validation_errors"];
        assert!(problem.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{problem}");
        let title = problem["title"].as_str().unwrap().to_owned();
        // What is wrong in detail, as one text.
        [("detail", " | "), ("validation_errors", " | ")].iter().fold(title, |text, (key, between)| {
            problem.get(key).map_or(text.clone(), |value| {
                format!("{text}{between}{}", value.as_str().map_or(value.to_string(), str::to_owned))
            })
        })
    }
}
