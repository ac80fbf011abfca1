//! Logs after the live log was swept, and downloads.

use std::fs;

use serde_json::{Value, json};
use usine_protocol::channel::LogStream::Stdout;

use crate::app::stories;
use crate::server::{TestServer, Words, of};
use crate::{page, texts};

/// An artifact of a work request, with its files uploaded.
async fn made(server: &TestServer, id: i64, key: &str, category: &str, files: &[(&str, &[u8])]) {
    let mut body = of(files);
    (body["category"], body["work_request"]) = (json!(category), json!(id));
    if category == "debian:package-build-log" {
        body["data"] = json!({"source": "hello", "version": "1", "filename": files[0].0});
    }
    let answer: Value = server.post("/api/1.0/artifact/", body).key(key).answers(201).await;
    server.upload(answer["id"].as_i64().unwrap(), files, key).await;
}

fn sweep(server: &TestServer, id: i64) {
    fs::remove_file(server.directory.path().join(format!("live-logs/{id}.jsonl"))).unwrap();
}

stories! {
    async fn the_log_of_the_build_takes_its_place(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        server.log(id, Stdout, "live\n").await;
        let text: String = (1..=5000).map(|n| format!("line {n}\n")).collect();
        made(&server, id, &key, "debusine:work-request-debug-logs", &[("cmd-output.log", b"debug\n")]).await;
        made(&server, id, &key, "debusine:test", &[("a.log", b"test\n")]).await;
        made(&server, id, &key, "debian:package-build-log", &[("hello.build", text.as_bytes())]).await;
        server.complete(id, &key).await;
        assert_eq!(texts(&server.lines(id, 1, 10).await), ["live"], "as long as it is kept");
        sweep(&server, id);

        let answer = server.lines(id, 4_999, 10).await;
        assert_eq!(texts(&answer), ["line 4999", "line 5000"]);
        assert_eq!(answer["lines"][0], json!({"n": 4999, "text": "line 4999", "stream": "stdout", "time": null}));
        assert_eq!((&answer["total"], &answer["complete"]), (&json!(5000), &json!(true)));
        assert_eq!(server.found(id, "q=LINE%20300&limit=2").await, json!({"matches": [300, 3000], "next": 3001}));
        let sent = server.get(&format!("{}log/download/", page(id))).sent(200).await;
        assert_eq!(sent.headers()["content-length"], text.len().to_string());
        assert_eq!(sent.text().await.unwrap(), text);
        server.stop().await;
    }

    async fn the_task_has_logs_of_its_own(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        made(&server, id, &key, "debusine:work-request-debug-logs", &[("a.log", b"a\n"), ("cmd-output.log", b"cmd\n")]).await;
        let (other, other_key) = server.running(&[]).await;
        let debug: [(&str, &[u8]); 1] = [("cmd-output.log", b"debug\n")];
        made(&server, other, &other_key, "debusine:work-request-debug-logs", &debug).await;
        made(&server, other, &other_key, "debusine:test", &[("dir/log", b"of the task\xff\nopen"), ("logo.png", b"x")]).await;
        server.complete(id, &key).await;
        server.complete(other, &other_key).await;
        assert_eq!(texts(&server.lines(id, 1, 10).await), ["cmd"]);
        let answer = server.lines(other, 1, 10).await;
        assert_eq!((texts(&answer), &answer["open"]), (vec!["of the task\u{fffd}", "open"], &json!(false)));
        server.stop().await;
    }

    async fn without_a_log_there_is_none(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        let address = format!("{}log/download/", page(id));
        assert_eq!(server.get(&address).says(404).await, "No log is kept\n");
        server.log(id, Stdout, "one\n\x1b[1mtw").await;
        server.log(id, Stdout, "o\n").await;
        let sent = server.get(&address).sent(200).await;
        let headers = sent.headers();
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(headers["content-disposition"], format!("attachment; filename=\"work-request-{id}.log\""));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(sent.text().await.unwrap(), "one\n\x1b[1mtwo\n", "as it was written");
        made(&server, id, &key, "debusine:test", &[("picture.png", b"x")]).await;
        server.complete(id, &key).await;
        sweep(&server, id);
        server.get(&address).says(404).await;
        let answer = server.lines(id, 1, 10).await;
        assert_eq!((&answer["total"], &answer["complete"]), (&json!(0), &json!(true)));
        server.stop().await;
    }
}
