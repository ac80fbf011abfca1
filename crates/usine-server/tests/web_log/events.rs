//! News of logs that grow.

use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use usine_protocol::channel::LogStream::Stdout;

use crate::app::{SOON, eventually, stories};
use crate::page;
use crate::server::{TestServer, Words};

/// Somebody who listens.
struct Listener {
    stream: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Listener {
    async fn of(server: &TestServer, id: i64) -> Self {
        let response: Response = server.get(&format!("{}log/events/", page(id))).sent(200).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event: its name and its data; `None` when the stream ends.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let heard =
                    field("event: ").map(|name| (name, serde_json::from_str(&field("data: ").unwrap()).unwrap()));
                self.text = rest.to_owned();
                match heard {
                    Some(heard) => return Some(heard),
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(SOON, self.stream.next()).await.expect("news")?.ok()?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn hears(&mut self, name: &str, data: Value) {
        assert_eq!(self.next().await, Some((name.to_owned(), data)));
    }
}

stories! {
    async fn a_growing_log_is_told_of_to_its_end(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        let mut listener = Listener::of(&server, id).await;
        listener.hears("lines", json!({"total": 0, "open": false})).await;
        server.log(id, Stdout, "one\ntw").await;
        listener.hears("lines", json!({"total": 2, "open": true})).await;
        server.log(id, Stdout, "o").await;
        listener.hears("lines", json!({"total": 2, "open": true})).await;

        // However fast it grows, there are few events.
        let begun = Instant::now();
        let mut heard = 0;
        for n in 0..500 {
            server.log(id, Stdout, &format!("\n{n}")).await;
        }
        loop {
            let (_, data) = listener.next().await.unwrap();
            heard += 1;
            if data["total"] == 502 {
                break;
            }
        }
        let most = begun.elapsed().as_millis() / 200 + 2;
        assert!(heard <= most, "{heard} events in {:?}", begun.elapsed());

        server.ends(id, 0).await;
        server.ends(id, 7).await;
        server.complete(id, &key).await;
        let end = loop {
            let heard = listener.next().await.unwrap();
            if heard.0 == "end" {
                break heard.1;
            }
        };
        assert_eq!(end, json!({"exit_code": 7}));
        assert_eq!(listener.next().await, None, "that was all");

        let mut late = Listener::of(&server, id).await;
        late.hears("lines", json!({"total": 502, "open": false})).await;
        late.hears("end", json!({"exit_code": 7})).await;
        assert_eq!(late.next().await, None);
        server.stop().await;
    }

    async fn a_log_that_is_not_there_yet_is_waited_for(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        let mut listener = Listener::of(&server, id).await;
        listener.hears("lines", json!({"total": 0, "open": false})).await;
        server.complete(id, &key).await;
        listener.hears("end", json!({"exit_code": null})).await;
        assert_eq!(listener.next().await, None);
        server.stop().await;
    }

    async fn followers_are_bounded_and_let_go(server: TestServer) {
        let (id, _) = server.running(&[]).await;
        let mut listeners = Vec::new();
        for _ in 0..256 {
            listeners.push(Listener::of(&server, id).await);
        }
        let refused = server.get(&format!("{}log/events/", page(id))).sent(503).await;
        assert_eq!(refused.headers()["retry-after"], "10");
        listeners.truncate(10);
        eventually(async || server.get(&format!("{}log/events/", page(id))).send().await.unwrap().status() == 200).await;

        let mut last = listeners.pop().unwrap();
        last.hears("lines", json!({"total": 0, "open": false})).await;
        let begun = Instant::now();
        let ended = tokio::spawn(async move { last.next().await });
        server.stop().await;
        assert_eq!(ended.await.unwrap(), None);
        assert!(begun.elapsed() < Duration::from_secs(4), "followers do not hold the server up");
    }
}
