//! Workers before 0.13: fetched with GET, told in their own words, and with one token for everything.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use app::{App, FakeWorker, Words, stories};
use reqwest::Method;
use serde_json::{Value, json};
use usine_model::matching::{Misfit, Verdict};
use usine_protocol::channel::Notice;
use usine_protocol::work_request::CreateWorkRequest;

const GET_NEXT: &str = "/api/1.0/work-request/get-next-for-worker/";
const ARTIFACTS: &str = "/api/1.0/artifact/";

/// A worker that sends what 0.11.3 sends, instead of tags.
async fn old_worker(app: &App) -> FakeWorker {
    let worker = app.worker("old", &[]).await;
    let metadata = json!({
        "system:cpu_count": 2, "system:worker_type": "external", "system:host_architecture": "amd64",
        "system:architectures": ["amd64", "i386"], "executor:unshare:available": true, "noop:version": 1,
        "sbuild:version": 1, "sbuild:available": true,
    });
    let put = app.request(Method::PUT, "/api/1.0/worker/dynamic-metadata/").key(&worker.key);
    put.json(&metadata).empty(204).await;
    worker
}

async fn submit(app: &App, key: &str, result: Value) -> i64 {
    let new = CreateWorkRequest {
        task_name: "noop".to_owned(),
        task_data: json!({"result": result}),
        ..CreateWorkRequest::default()
    };
    app.client(Some(key)).create_work_request(&new).await.unwrap().id
}

/// The body of a request that makes an artifact of one file of two bytes.
fn of_work_request(id: i64) -> Value {
    let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let file = json!({"size": 6, "checksums": {"sha256": sha256}, "type": "file"});
    json!({"category": "debusine:work-request-debug-logs", "workspace": "System", "files": {"a.log": file}, "data": {},
        "work_request": id, "expire_at": null})
}

stories! {
    async fn an_old_worker_does_a_task_with_its_own_token(app: App) {
        let alice = app.user_key("alice").await;
        let mut worker = old_worker(&app).await;
        let key = worker.key.clone();
        let make = |id: i64| app.post(ARTIFACTS, of_work_request(id)).key(&key);
        let id = submit(&app, &alice, json!("failure")).await;
        while worker.hear().await != Notice::WorkRequestAvailable {}
        assert_eq!(make(id).refused(403).await, "Error | You do not have permission to perform this action.", "too early");

        let fetched = app.get(GET_NEXT).key(&worker.key).answers(200).await;
        assert_eq!((&fetched["id"], &fetched["status"]), (&json!(id), &json!("pending")));
        assert_eq!(fetched["task_data"], json!({"result": false}), "a boolean, as it was then");
        assert_eq!(fetched["dynamic_task_data"], json!({}), "without keys that it would refuse");
        assert_eq!(fetched.get("token"), None);

        let artifact = make(id).answers(201).await["id"].as_i64().unwrap();
        let file = app.request(Method::PUT, &format!("{ARTIFACTS}{artifact}/files/a.log/")).key(&worker.key);
        file.header("Content-Range", "bytes 0-5/6").body("hello\n").empty(201).await;
        let shown = app.get(&format!("{ARTIFACTS}{artifact}/")).key(&worker.key).answers(200).await;
        assert_eq!(shown["files_to_upload"], json!([]));
        let download = app.get(&format!("/debusine/System/artifact/{artifact}/download/a.log")).key(&worker.key);
        assert_eq!(download.says(200).await, "hello\n");
        let relation = json!({"artifact": artifact, "target": artifact, "type": "relates-to"});
        app.post("/api/1.0/artifact-relation/", relation).key(&worker.key).answers(201).await;

        let foreign = app.post(ARTIFACTS, of_work_request(id + 1)).key(&worker.key).refused(400).await;
        assert_eq!(foreign, format!("WorkRequest {} does not exist", id + 1));
        let report = |id: i64| {
            let path = format!("/api/1.0/work-request/{id}/completed/");
            app.request(Method::PUT, &path).key(&worker.key).json(&json!({"result": "failure", "output_data": {}}))
        };
        report(id).empty(200).await;
        report(id).empty(200).await;
        make(id).refused(403).await;
        app.get(&format!("{ARTIFACTS}{artifact}/")).key(&worker.key).refused(404).await;
        app.get(GET_NEXT).key(&worker.key).empty(204).await;
        let who = app.get("/api/1.0/whoami/").key(&worker.key).answers(200).await;
        assert_eq!((&who["worker"], &who["work_request"]), (&json!(true), &json!(null)), "on other routes it is itself");
        let row = app.client(Some(&alice)).work_request(id).await.unwrap();
        assert_eq!(row.task_data, json!({"result": "failure"}), "people see what was sent");
        app.end().await;
    }

    async fn a_worker_of_today_hears_nothing_old(app: App) {
        let alice = app.user_key("alice").await;
        let mut worker = app.worker("new", &[]).await;
        let id = submit(&app, &alice, json!(false)).await;
        let fetched = worker.take().await;
        assert_eq!((fetched.id, &fetched.task_data), (id, &json!({"result": "failure"})));
        let shown = app.client(Some(&alice)).work_request(id).await.unwrap();
        assert_eq!(shown.task_data, json!({"result": false}), "people see what was sent");
        app.end().await;
    }

    async fn what_it_has_no_words_for_waits_for_another(app: App) {
        let alice_key = app.user_key("alice").await;
        let alice = app.client(Some(&alice_key));
        let mut worker = old_worker(&app).await;
        let skipped = submit(&app, &alice_key, json!("skipped")).await;
        let plain = submit(&app, &alice_key, json!(true)).await;
        while worker.hear().await != Notice::WorkRequestAvailable {}
        let fetched = app.get(GET_NEXT).key(&worker.key).answers(200).await;
        assert_eq!(fetched["id"], plain, "the later one");
        let reason = alice.work_request_details(skipped).await.unwrap().pending_reason.unwrap();
        assert_eq!(reason.workers[0].verdict, Verdict::DoesNotFit { misfits: vec![Misfit::TooOld] });
        app.end().await;
    }
}
