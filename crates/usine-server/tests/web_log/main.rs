//! The log of a work request for people: lines, search, news, download, and the panel that works without a script.

#[path = "../app/mod.rs"]
mod app;
#[path = "../artifacts/server.rs"]
#[allow(dead_code, reason = "the stories of artifacts use more of it")]
mod server;
#[path = "../../../usine-db/tests/support/mod.rs"]
mod support;

mod access;
mod events;
mod lines;
mod panel;
mod stored;

use serde_json::{Value, json};
use server::{TestServer, Words, now};
use usine_protocol::channel::{LogMessage, LogStream};

/// The address of a work request's page.
fn page(id: i64) -> String {
    format!("/debusine/System/work-request/{id}/")
}

impl TestServer {
    /// A piece of live log, as a worker sends it.
    async fn log(&self, id: i64, stream: LogStream, data: &str) {
        let message = LogMessage::LogData { data: data.to_owned(), stream, timestamp: now() };
        self.state.live_logs.append(id, &message).await.unwrap();
    }

    /// The end of a command.
    async fn ends(&self, id: i64, exit_code: i32) {
        let message = LogMessage::LogDataEnd { exit_code, timestamp: now() };
        self.state.live_logs.append(id, &message).await.unwrap();
    }

    /// The worker reports a success.
    async fn complete(&self, id: i64, key: &str) {
        let path = format!("/api/1.0/work-request/{id}/completed/");
        self.request(reqwest::Method::PUT, &path).json(&json!({"result": "success"})).key(key).sent(200).await;
    }

    /// What the log has of these lines.
    async fn lines(&self, id: i64, from: u64, count: u64) -> Value {
        self.get(&format!("{}log/lines/?from={from}&count={count}", page(id))).answers(200).await
    }

    /// What a search answers.
    async fn found(&self, id: i64, query: &str) -> Value {
        self.get(&format!("{}log/search/?{query}", page(id))).answers(200).await
    }
}

/// The texts of an answer.
fn texts(answer: &Value) -> Vec<&str> {
    answer["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect()
}
