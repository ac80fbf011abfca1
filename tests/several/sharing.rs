//! What one server does, the others know.

use std::collections::BTreeMap;

use serde_json::json;
use usine_client::FileFacts;
use usine_client::channel::Received;
use usine_model::work_request::{Results, Statuses};
use usine_protocol::artifact::{Checksums, CreateArtifact, NewFile};
use usine_protocol::channel::{LogMessage, Notice, ServerMessage};

use crate::farm::{Farm, SOON};
use crate::house::until;
use crate::worker::{Worker, complete, eventually, noop};

#[test]
fn what_one_server_does_the_other_knows() {
    let mut farm = Farm::new(2);
    files_go_through_either(&farm);
    a_server_with_another_store_is_refused(&farm);
    notices_logs_and_ends_go_everywhere(&farm);
    a_worker_that_is_disabled_is_told_by_its_server(&farm);
    another_one_leads_when_the_leader_is_gone(&mut farm);
    farm.check();
}

/// An upload that was begun with one server and goes on with the other; a download from both.
fn files_go_through_either(farm: &Farm) {
    let content: Vec<u8> = (0..12_000_000u64).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = farm.path().join("big");
    std::fs::write(&path, &content).unwrap();
    let digest = std::process::Command::new("sha256sum").arg(&path).output().unwrap().stdout;
    let sha256 = String::from_utf8(digest).unwrap()[..64].to_owned();
    let file = NewFile {
        size: content.len() as u64,
        file_type: "file".to_owned(),
        checksums: Checksums { sha256: sha256.clone() },
        content_type: None,
    };
    let new = CreateArtifact {
        category: "debusine:test".to_owned(),
        workspace: Some("System".to_owned()),
        files: BTreeMap::from([("big".to_owned(), file)]),
        data: json!({}),
        work_request: None,
        expire_at: None,
    };
    farm.runtime.block_on(async {
        let (one, two) = (farm.client(0), farm.client(1));
        let created = one.create_artifact(&new).await.unwrap();
        let address = |number| format!("{}/api/1.0/artifact/{}/files/big/", farm.url(number), created.id);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let put = |number: usize, range: String, body: Vec<u8>| {
            http.put(address(number)).header("Token", &farm.token).header("Content-Range", range).body(body).send()
        };
        let sent = put(0, "bytes 0-4999999/12000000".to_owned(), content[..5_000_000].to_vec()).await.unwrap();
        assert_eq!((sent.status().as_u16(), &sent.headers()["range"]), (200, &"bytes=0-5000000".parse().unwrap()));
        // The other one says what it has, which is nothing; whoever does not ask is told, too.
        let probe = put(1, "bytes */12000000".to_owned(), Vec::new()).await.unwrap();
        assert_eq!((probe.status().as_u16(), &probe.headers()["range"]), (206, &"bytes=0-0".parse().unwrap()));
        let gap = put(1, "bytes 5000000-11999999/12000000".to_owned(), content[5_000_000..].to_vec()).await.unwrap();
        assert_eq!(gap.status(), 400);
        two.upload_file(created.id, "big", &path, &|_, _| ()).await.unwrap();
        let facts = FileFacts { size: content.len() as u64, sha256 };
        for (number, client) in [&one, &two].into_iter().enumerate() {
            let artifact = client.artifact(created.id).await.unwrap();
            let target = farm.path().join(format!("big-{number}"));
            client.download_file(&artifact.files["big"].url, &target, &facts, &|_, _| ()).await.unwrap();
            assert!(std::fs::read(&target).unwrap() == content);
        }
    });
}

/// It would not find the files, and bring its own where the others do not look.
fn a_server_with_another_store_is_refused(farm: &Farm) {
    let config = std::fs::read_to_string(farm.path().join("server-0.toml")).unwrap();
    // The first server has its address.
    let config: String = config
        .lines()
        .map(
            |line| {
                if line.starts_with("bind = ") { "bind = \"127.0.0.1:0\"\n".to_owned() } else { format!("{line}\n") }
            },
        )
        .collect();
    let (rest, _) = config.split_once("[store.s3]").unwrap();
    for (name, text) in [
        ("local.toml", rest.to_owned()),
        ("elsewhere.toml", config.replace("[store.s3]\n", "[store.s3]\nprefix = \"elsewhere\"\n")),
    ] {
        let path = farm.write(name, &text);
        for command in [&["server"][..], &["admin", "check"]] {
            let (verb, rest) = command.split_at(1);
            let (success, said) = farm.outcome(&[verb, &["--config", path.to_str().unwrap()], rest].concat());
            assert!(!success && said.contains("the files of this database are in the store S3 http"), "{said}");
        }
    }
}

/// A worker at the first server; users at the second one.
fn notices_logs_and_ends_go_everywhere(farm: &Farm) {
    let activation = farm.admin(&["worker", "create", "one.example.org"]).trim().to_owned();
    farm.runtime.block_on(async {
        let (first, second) = (farm.client(0), farm.client(1));
        let mut worker = Worker::connect(farm, &farm.url(0), "one.example.org", &activation).await;
        let mut ends = first.on_completed(&[], None).await.unwrap();

        let id = second.create_work_request(&noop()).await.unwrap().id;
        let work_request = worker.fetch().await;
        assert_eq!(work_request.id, id);
        worker.says(id, "first line\n").await;
        let mut log = second.follow_log(id).await.unwrap();
        let mut text = String::new();
        let mut read_until = async |end: &str| {
            while !text.ends_with(end) {
                let received = tokio::time::timeout(SOON, log.receive()).await.expect(end).unwrap();
                match received {
                    Received::Message(LogMessage::LogData { data, .. }) => text.push_str(&data),
                    Received::Message(_) => {}
                    other => panic!("{other:?} after {text:?}"),
                }
            }
        };
        read_until("first line\n").await;
        worker.says(id, "second line\n").await;
        read_until("second line\n").await;
        // The last line and the end come right after each other, by different ways.
        worker.says(id, "last line\n").await;
        eventually("the last line at the first server", async || {
            let text = std::fs::read_to_string(farm.path().join(format!("data-0/live-logs/{id}.jsonl"))).unwrap();
            text.contains("last line").then_some(())
        })
        .await;
        complete(&second, &work_request).await.unwrap();
        read_until("last line\n").await;
        loop {
            match tokio::time::timeout(SOON, ends.receive()).await.unwrap().unwrap() {
                Received::Message(ServerMessage::Notice(Notice::WorkRequestCompleted {
                    work_request_id,
                    result,
                    ..
                })) => {
                    assert_eq!((work_request_id, result), (id, Results::Success));
                    break;
                }
                Received::Message(_) => {}
                other => panic!("{other:?}"),
            }
        }

        // Given up at the second server: the worker at the first one hears it.
        let id = second.create_work_request(&noop()).await.unwrap().id;
        assert_eq!(worker.fetch().await.id, id);
        second.abort_work_request(id).await.unwrap();
        loop {
            match worker.hears().await {
                Notice::WorkRequestAborted { work_request_id } if work_request_id == id => break,
                Notice::WorkRequestAvailable => {}
                other => panic!("{other:?}"),
            }
        }
        let row = first.work_request(id).await.unwrap();
        assert_eq!(row.status, Statuses::Aborted);
    });
    // Afterwards, as plain text, from the server that never had it.
    assert_eq!(
        farm.user(1, &["work-request", "logs", "1"]).lines().last().unwrap().split(' ').next_back(),
        Some("line")
    );
}

fn a_worker_that_is_disabled_is_told_by_its_server(farm: &Farm) {
    let activation = farm.admin(&["worker", "create", "two.example.org"]).trim().to_owned();
    farm.runtime.block_on(async {
        let mut worker = Worker::connect(farm, &farm.url(1), "two.example.org", &activation).await;
        let disable = async {
            tokio::task::block_in_place(|| farm.admin(&["worker", "disable", "two-example-org"]));
        };
        let hear = async {
            loop {
                match tokio::time::timeout(SOON, worker.channel.receive()).await.unwrap().unwrap() {
                    Received::Message(ServerMessage::Closed { reason_code, .. }) => break reason_code,
                    Received::Message(ServerMessage::Notice(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        let (code, ()) = tokio::join!(hear, disable);
        assert_eq!(code, usine_protocol::channel::TOKEN_DISABLED);
    });
}

/// The leader is killed and does not come back: its workers are noted as gone, and the other one schedules.
fn another_one_leads_when_the_leader_is_gone(farm: &mut Farm) {
    let leader = farm.leader();
    let other = 1 - leader;
    let activation = farm.admin(&["worker", "create", "three.example.org"]).trim().to_owned();
    let url = farm.url(leader);
    let lost = farm.runtime.block_on(Worker::connect(farm, &url, "three.example.org", &activation));
    farm.kill(leader);
    assert_eq!(farm.leader(), other);
    drop(lost);
    let servers = "SELECT COUNT(*) FROM server";
    let connected = "SELECT COUNT(*) FROM worker WHERE connected_at IS NOT NULL";
    until("the death of the leader to be noticed", SOON, || farm.count(servers) == 1 && farm.count(connected) == 0);
    let activation = farm.admin(&["worker", "create", "four.example.org"]).trim().to_owned();
    farm.runtime.block_on(async {
        let client = farm.client(other);
        let id = client.create_work_request(&noop()).await.unwrap().id;
        let mut worker = Worker::connect(farm, &farm.url(other), "four.example.org", &activation).await;
        let work_request = worker.fetch().await;
        assert_eq!(work_request.id, id);
        complete(&client, &work_request).await.unwrap();
    });
    farm.start(leader);
    until("both", SOON, || farm.count(servers) == 2);
}
