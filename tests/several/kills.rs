//! Servers are killed at random moments, the leader among them, while workers work, clients submit and files come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use usine_client::{Client, Error, FileFacts, file_facts};
use usine_model::work_request::{Results, Statuses};
use usine_protocol::artifact::{Checksums, CreateArtifact, NewFile};
use usine_protocol::work_request::WorkRequest;

use crate::farm::{Farm, LEASE, SOON};
use crate::house::until;
use crate::worker::{Worker, complete, eventually, noop};

/// Real workers, clients, and work requests of each client.
const WORKERS: usize = 2;
const CLIENTS: usize = 3;
const EACH: usize = 40;

/// One in so many submissions brings a file, too.
const FILES: usize = 8;

/// Another one shows another story: `USINE_TEST_SEED`.
const SEED: u64 = 6;

/// Numbers that look random, the same for each seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn one_killed_at_any_moment_loses_nothing() {
    let seed = std::env::var("USINE_TEST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("USINE_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let mut farm = Farm::new(2);
    let url = format!("http://{}", farm.balancer);

    // One work request runs from the beginning to the end, with a worker that goes from server to server.
    let activation = farm.admin(&["worker", "create", "patient.example.org"]).trim().to_owned();
    let (long, patient) = farm.runtime.block_on(async {
        let mut patient = Worker::connect(&farm, &url, "patient.example.org", &activation).await;
        farm.client(0).create_work_request(&noop()).await.unwrap();
        (patient.fetch().await, patient)
    });
    let begin = Instant::now();
    let over = Arc::new(AtomicBool::new(false));
    let handle = farm.runtime.handle().clone();
    let patient = {
        let (handle, over) = (handle.clone(), over.clone());
        std::thread::spawn(move || handle.block_on(stay(patient, over)))
    };

    for _ in 0..WORKERS {
        farm.start_worker();
    }
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = farm.client_of(&url, &farm.token);
            let directory = farm.path().join(format!("client-{number}"));
            let handle = handle.clone();
            std::thread::spawn(move || handle.block_on(submit(client, number, directory)))
        })
        .collect();

    // All of one lease, so that whoever was wrongly taken for lost would be.
    let mut kills = 0;
    while begin.elapsed() < LEASE + Duration::from_secs(12) || clients.iter().any(|client| !client.is_finished()) {
        assert!(begin.elapsed() < 4 * SOON, "clients do not come to an end");
        std::thread::sleep(Duration::from_millis(500 + dice.below(3000)));
        let victim = if kills % 2 == 0 { farm.leader() } else { dice.below(2) as usize };
        farm.kill(victim);
        std::thread::sleep(Duration::from_millis(dice.below(2500)));
        farm.start(victim);
        kills += 1;
    }
    let mut submitted = Vec::new();
    for client in clients {
        submitted.extend(client.join().unwrap());
    }
    println!("{kills} kills, {} work requests", submitted.len());
    assert!(kills >= 5 && submitted.len() == CLIENTS * EACH);

    // Whoever got no answer has submitted once more: there may be more than were counted, and all end.
    let open = "SELECT COUNT(*) FROM work_request WHERE status NOT IN ('completed', 'aborted')";
    until("the end of all but one", 2 * SOON, || farm.count(open) == 1);
    over.store(true, Ordering::Relaxed);
    let patient = patient.join().unwrap();
    farm.runtime.block_on(async {
        complete(&patient.client, &long).await.unwrap();
        let row = farm.client(0).work_request(long.id).await.unwrap();
        assert_eq!((row.status, row.result), (Statuses::Completed, Results::Success));
        for id in &submitted {
            let row = farm.client(1).work_request(*id).await.unwrap();
            assert_eq!((row.status, row.result), (Statuses::Completed, Results::Success), "{id}");
        }
    });
    let none = |what: &str, sql: &str| assert_eq!(farm.count(sql), 0, "{what}");
    none(
        "ended twice",
        "SELECT COUNT(*) FROM (SELECT 1 FROM event WHERE kind = 'completed' GROUP BY work_request_id HAVING COUNT(*) > 1) e",
    );
    none("was lost", "SELECT COUNT(*) FROM event WHERE kind = 'worker-lost'");
    none("attempts of the long one", &format!("SELECT COUNT(*) - 1 FROM attempt WHERE work_request_id = {}", long.id));
    farm.check();
}

/// Is connected as long as it can be, and comes back whenever it is not. What it has runs on.
async fn stay(mut worker: Worker, over: Arc<AtomicBool>) -> Worker {
    while !over.load(Ordering::Relaxed) {
        let heard = tokio::time::timeout(Duration::from_millis(200), worker.channel.receive()).await;
        let closed = matches!(heard, Ok(Err(_) | Ok(usine_client::channel::Received::Closed)));
        if closed {
            worker.channel =
                eventually("a server for the patient worker", async || worker.client.worker_channel().await.ok()).await;
        }
    }
    worker
}

/// Submits until all are submitted, whatever happens to the servers; gives their ids. Files are brought and fetched again.
async fn submit(client: Client, number: usize, directory: std::path::PathBuf) -> Vec<i64> {
    std::fs::create_dir(&directory).unwrap();
    let mut ids = Vec::new();
    for round in 0..EACH {
        let row: WorkRequest = persist("a submission", async || client.create_work_request(&noop()).await).await;
        ids.push(row.id);
        if round % FILES == 0 {
            let text = format!("file {round} of client {number}\n").repeat(50_000);
            bring_and_fetch(&client, &directory, &text).await;
        }
        // So that there are submissions at all times.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    ids
}

async fn bring_and_fetch(client: &Client, directory: &std::path::Path, text: &str) {
    let (path, target) = (directory.join("file"), directory.join("fetched"));
    std::fs::write(&path, text).unwrap();
    let facts: FileFacts = file_facts(&path).await.unwrap();
    let file = NewFile {
        size: facts.size,
        file_type: "file".to_owned(),
        checksums: Checksums { sha256: facts.sha256.clone() },
        content_type: None,
    };
    let new = CreateArtifact {
        category: "debusine:test".to_owned(),
        workspace: Some("System".to_owned()),
        files: BTreeMap::from([("file".to_owned(), file)]),
        data: json!({}),
        work_request: None,
        expire_at: None,
    };
    let created = persist("an artifact", async || client.create_artifact(&new).await).await;
    persist("an upload", async || client.upload_file(created.id, "file", &path, &|_, _| ()).await).await;
    let artifact = persist("an answer", async || client.artifact(created.id).await).await;
    persist("a download", async || {
        client.download_file(&artifact.files["file"].url, &target, &facts, &|_, _| ()).await
    })
    .await;
    assert_eq!(std::fs::read_to_string(&target).unwrap(), text);
    std::fs::remove_file(&target).unwrap();
}

/// As a user does who got no answer: once more. What a server that is there refuses is a fault.
async fn persist<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> T {
    eventually(what, async || match attempt().await {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.is_transient(), "{what}: {error:?}");
            None
        }
    })
    .await
}
