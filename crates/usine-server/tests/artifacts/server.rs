//! The server of these tests: one with a user, and short words for artifacts and their files.

use std::ops::Deref;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use usine_db::token::TokenSpec;
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{TokenManager, UserManager, WorkRequestManager, WorkerManager};
use usine_model::permission::WorkspaceRole;
use usine_model::token::TokenType;
use usine_model::worker::WorkerType;

use crate::app::App;
pub use crate::app::Words;
use crate::support::TestDatabase;

pub fn now() -> DateTime<Utc> {
    "2026-03-01T10:20:30.123456Z".parse().unwrap()
}

/// A server with an empty database, and a user.
pub struct TestServer {
    app: App,
    /// Key of a user.
    pub alice: String,
}

impl Deref for TestServer {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl TestServer {
    pub async fn start(database: &TestDatabase) -> Self {
        let app = App::start_at(database, now()).await;
        let alice = app.user_key("alice").await;
        Self { app, alice }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// Ends the server, and finds what only then is found.
    pub async fn stop(self) {
        self.app.end().await;
    }

    /// Makes a user an owner of the workspace.
    pub async fn promote(&self, name: &str) {
        let (scope, workspace) = self.system().await;
        self.has_role(name, &workspace, &scope, WorkspaceRole::Owner).await;
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
