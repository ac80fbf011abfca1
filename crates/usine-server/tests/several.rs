//! Several servers on one PostgreSQL, in one process: events of others at any rate, logs that two of them write.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::time::Duration;

use app::{App, SOON, eventually};
use chrono::DateTime;
use futures::StreamExt;
use sea_orm::{ConnectionTrait, TransactionTrait};
use support::TestDatabase;
use tokio::sync::broadcast::error::RecvError;
use usine_db::{Database, EventManager, LiveLogManager};
use usine_protocol::channel::{LogMessage, LogStream};
use usine_server::AppState;

/// Writes events as another server does, whose number is 99.
fn insert(count: u32) -> String {
    format!(
        "INSERT INTO event (created_at, kind, origin) SELECT now(), 'worker-metadata', 99 FROM generate_series(1, {count})"
    )
}

/// Ten thousand in a moment, in the middle of own ones; and one that becomes visible when higher numbers have been read.
#[tokio::test]
async fn all_events_of_others_are_heard_once() {
    const MANY: u32 = 10_000;
    let database = TestDatabase::postgres().await;
    let app = App::start(&database).await;
    let other = Database::connect(database.url()).await.unwrap();
    let mut events = app.state.database.events();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            match events.recv().await {
                Ok(event) if event.origin == Some(99) => heard.send(event.id).unwrap(),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => panic!("{missed} missed: the test is too slow"),
                Err(RecvError::Closed) => return,
            }
        }
    });
    // The server looks from some moment on; what it hears of these is not counted.
    while hears.try_recv().is_err() {
        other.reader().execute_unprepared(&insert(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    while hears.try_recv().is_ok() {}
    let mut hear = async |count: usize| {
        let mut ids = HashSet::new();
        while ids.len() < count {
            let id = tokio::time::timeout(SOON, hears.recv()).await.expect("another event").unwrap();
            assert!(ids.insert(id), "{id} a second time");
        }
        ids
    };

    let late = other.reader().begin().await.unwrap();
    late.execute_unprepared(&insert(1)).await.unwrap();
    for _ in 0..10 {
        other.reader().execute_unprepared(&insert(MANY / 10)).await.unwrap();
        app.worker_event().await;
    }
    let higher = hear(MANY as usize).await;
    // Another poll, so that it counts as read.
    tokio::time::sleep(Duration::from_secs(2)).await;
    late.commit().await.unwrap();
    let last = hear(1).await;
    assert!(last.iter().next().unwrap() < higher.iter().min().unwrap());
    let newest = EventManager(&other).newest().await.unwrap();
    assert!(newest >= i64::from(MANY));

    app.shutdown_only().await;
    other.close().await;
    database.remove().await;
}

impl App {
    /// Something happens here.
    async fn worker_event(&self) {
        let name = format!("w{}.example.org", self.entropy_number());
        self.activation(&name, usine_model::worker::WorkerType::External).await;
    }

    fn entropy_number(&self) -> String {
        self.new_key().chars().rev().take(8).collect()
    }
}

fn line(text: &str) -> LogMessage {
    let timestamp = DateTime::from_timestamp(0, 0).unwrap();
    LogMessage::LogData { data: text.to_owned(), stream: LogStream::Stdout, timestamp }
}

async fn text(state: &AppState, id: i64) -> String {
    match state.live_logs.text(id).await.unwrap() {
        Some(stream) => {
            let pieces: Vec<_> = stream.map(Result::unwrap).collect().await;
            String::from_utf8(pieces.concat()).unwrap()
        }
        None => String::new(),
    }
}

/// A worker moves from one server to the other, and for a moment both write its log: it is the same everywhere, and nothing is
/// lost or there twice.
#[tokio::test]
async fn two_servers_write_one_log() {
    let database = TestDatabase::postgres().await;
    let (one, two) = (App::start(&database).await, App::start(&database).await);
    let alice = one.user("alice").await;
    let id = one.noop(&alice).await.id;
    // Before the servers know of each other.
    one.state.live_logs.append(id, &line("0\n")).await.unwrap();
    eventually(async || one.state.live_logs.is_shared() && two.state.live_logs.is_shared()).await;
    let told = async || LiveLogManager(&database).lengths(&[id]).await.unwrap().remove(&id).unwrap_or(0);
    eventually(async || told().await > 0).await;
    assert_eq!(text(&two.state, id).await, "0\n");

    let mut expected = vec!["0".to_owned()];
    for round in 0..6 {
        let writers = if round % 2 == 0 { [&two, &one] } else { [&one, &two] };
        for (turn, writer) in writers.into_iter().enumerate() {
            let words = format!("{round}.{turn}");
            writer.state.live_logs.append(id, &line(&format!("{words}\n"))).await.unwrap();
            expected.push(words);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // A long one, in several pieces.
    for number in 0..3000 {
        let words = format!("{number} {}", "x".repeat(200));
        two.state.live_logs.append(id, &line(&format!("{words}\n"))).await.unwrap();
        expected.push(words);
    }
    expected.sort();
    eventually(async || {
        let (here, there) = (text(&one.state, id).await, text(&two.state, id).await);
        let mut lines: Vec<_> = here.lines().map(str::to_owned).collect();
        lines.sort();
        here == there && lines == expected
    })
    .await;

    // Ended by one, at an end for the other.
    one.state.live_logs.close(id);
    two.state.live_logs.close(id);
    two.state.live_logs.settled(id).await;
    let files =
        [&one, &two].map(|app| std::fs::read(app.directory.path().join(format!("live-logs/{id}.jsonl"))).unwrap());
    assert!(files[0] == files[1]);
    one.end().await;
    two.end().await;
    database.remove().await;
}

/// A server ends before it has told all; it tells the rest when it comes back. If another one has gone on meanwhile, that one
/// is right.
#[tokio::test]
async fn a_server_that_comes_back_agrees_with_the_others() {
    let database = TestDatabase::postgres().await;
    let (mut one, two) = (App::start(&database).await, App::start(&database).await);
    let alice = one.user("alice").await;
    let (rest, other) = (one.noop(&alice).await.id, one.noop(&alice).await.id);
    eventually(async || one.state.live_logs.is_shared() && two.state.live_logs.is_shared()).await;
    for id in [rest, other] {
        one.state.live_logs.append(id, &line("first\n")).await.unwrap();
        eventually(async || text(&two.state, id).await == "first\n").await;
    }
    // The other one goes on with one of them.
    two.state.live_logs.append(other, &line("second\n")).await.unwrap();
    let told = async || LiveLogManager(&database).lengths(&[other]).await.unwrap()[&other];
    let first = told().await;
    eventually(async || told().await > first).await;
    // As if it had been killed: a line that nobody was told, and half of another one.
    let path = |id: i64| one.directory.path().join(format!("live-logs/{id}.jsonl"));
    let (paths, rest_line) = ([path(rest), path(other)], serde_json::to_string(&line("rest\n")).unwrap());
    one.restart_with(|_| {
        for (path, more) in paths.iter().zip([&format!("{rest_line}\n{{\"type\":\"log_da"), "{\"type\":\"log_da"]) {
            let text = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, text + more).unwrap();
        }
    })
    .await;
    assert_eq!(text(&two.state, rest).await, "first\nrest\n");
    for app in [&one, &two] {
        assert_eq!(text(&app.state, other).await, "first\nsecond\n");
    }
    one.end().await;
    two.end().await;
    database.remove().await;
}
