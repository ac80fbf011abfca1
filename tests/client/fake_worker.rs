//! A worker that speaks the protocol and runs nothing: it answers work requests with artifacts as the tasks make them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Map, Value, json};
use usine_client::import::{LocalArtifact, new_files};
use usine_client::{Client, NextWork, Options};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_model::worker::WorkerType;
use usine_protocol::artifact::CreateArtifact;
use usine_protocol::work_request::{Completed, WorkRequest};
use usine_protocol::worker::Register;

use crate::house::{House, architecture};

/// What it says of itself besides its tasks.
const CAPABILITIES: [&str; 4] =
    ["worker:executor:unshare", "worker:cap:sbuild", "worker:cap:autopkgtest", "worker:cap:mmdebstrap"];

/// The text of a file that never arrives.
pub const WITHHELD: &str = "a text that the server never gets";

/// What a task made.
pub struct Made {
    pub category: ArtifactCategory,
    pub data: Value,
    /// Names and texts.
    pub files: Vec<(&'static str, &'static str)>,
}

/// How a work request ends.
pub struct End {
    pub result: Results,
    pub output_data: OutputData,
    pub made: Vec<Made>,
}

/// Works until it is dropped.
pub struct FakeWorker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeWorker {
    /// A worker of this house that ends its work requests so.
    pub fn start(house: &House, run: fn(&WorkRequest) -> End) -> Self {
        let activation = house.admin(&["worker", "create", "fake.example.org"]).trim().to_owned();
        let (api_url, stop) = (format!("{}/api", house.url()), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work(&api_url, &activation, run, &stopped));
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the worker failed: see above");
    }
}

async fn work(api_url: &str, activation: &str, run: fn(&WorkRequest) -> End, stop: &AtomicBool) {
    let options = |token: &str| Options { token: Some(token.to_owned()), ..Options::new(api_url) };
    let key = "5".repeat(64);
    let fqdn = "fake.example.org".to_owned();
    let register = Register { token: key.clone(), fqdn, worker_type: WorkerType::External };
    Client::new(options(activation)).unwrap().register(&register).await.unwrap();
    let client = Client::new(options(&key)).unwrap();
    let mut channel = client.worker_channel().await.unwrap();
    let tasks = usine_tasks::registered(usine_model::work_request::TaskType::Worker);
    let mut tags: Vec<String> = tasks.iter().map(|name| format!("worker:task:worker:{name}:version:1")).collect();
    tags.extend(CAPABILITIES.map(str::to_owned));
    tags.push(format!("worker:build-arch:{}", architecture()));
    client.put_dynamic_metadata(&Map::from_iter([("provided_tags".to_owned(), json!(tags))])).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        // What it says does not matter: the work is asked for.
        let _ = tokio::time::timeout(Duration::from_millis(100), channel.receive()).await;
        while let NextWork::Run(work_request) = client.get_next().await.unwrap() {
            let hands = client.acting_as(work_request.token.as_deref(), Some(&work_request.scope)).unwrap();
            deliver(&hands, &work_request, run(&work_request)).await;
        }
    }
}

async fn deliver(hands: &Client, work_request: &WorkRequest, end: End) {
    let directory = tempfile::tempdir().unwrap();
    for made in end.made {
        let mut local = LocalArtifact { category: made.category, data: made.data, files: Default::default() };
        for (name, text) in made.files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            local.files.insert(name.to_owned(), path);
        }
        // Not all rules: its packages are none.
        validate_data(local.category, &local.data).unwrap();
        let new = CreateArtifact {
            category: local.category.to_string(),
            workspace: Some(work_request.workspace.clone()),
            files: new_files(&local).await.unwrap(),
            data: local.data,
            work_request: Some(work_request.id),
            expire_at: None,
        };
        let created = hands.create_artifact(&new).await.unwrap();
        let arrives = |name: &&String| std::fs::read_to_string(&local.files[*name]).unwrap() != WITHHELD;
        for name in created.files_to_upload.iter().filter(arrives) {
            hands.upload_file(created.id, name, &local.files[name], &|_, _| ()).await.unwrap();
        }
    }
    let completed = Completed { result: end.result, output_data: end.output_data };
    hands.complete(work_request.id, &completed).await.unwrap();
}
