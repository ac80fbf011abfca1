//! Far more than the server can do, from many at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::house::House;
use crate::{assert_serves, house_with, key, memory, metric, peak};

/// Clients that never wait; the server works on 8 requests at once, and lets 16 wait.
const CLIENTS: usize = 300;

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(12);

#[derive(Default)]
struct Counts {
    right: AtomicU64,
    refused: AtomicU64,
}

/// Every answer is right, or says when to come back. Memory stays where it is, and what was accepted is there, once.
#[test]
fn a_storm_passes_over() {
    let mut house = house_with("max-requests = 8\nmax-waiting = 16\nmax-connections = 200");
    house.start_server();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let counts = Arc::new(Counts::default());
    // A breeze first: what the server needs when it works and nothing is too much.
    let mut accepted = runtime.block_on(storm(&house, 8, Duration::from_secs(3), &counts));
    let calm = memory(&house).max(peak(&house));
    assert_eq!(counts.refused.load(Ordering::Relaxed), 0, "nobody is refused in calm weather");

    let begin = counts.right.load(Ordering::Relaxed);
    accepted.extend(runtime.block_on(storm(&house, CLIENTS, STORM, &counts)));
    let (right, refused) = (counts.right.load(Ordering::Relaxed) - begin, counts.refused.load(Ordering::Relaxed));
    assert!(refused > right, "that was no storm: {right} were answered, {refused} were refused");
    let most = peak(&house);
    assert!(most <= 2 * calm + 64, "{calm} MiB in calm weather, {most} MiB in the storm");
    println!("{right} answered, {refused} refused; {calm} MiB before, at most {most} MiB in the storm");

    assert_serves(&house, "after the storm");
    let counted = metric(&house, "debusine_http_refused_total{of=\"requests\"}")
        + metric(&house, "debusine_http_refused_total{of=\"connections\"}");
    assert_eq!(counted, refused, "each refusal is counted");
    assert_eq!(metric(&house, "debusine_http_waiting{of=\"requests\"}"), 0);
    let pending = metric(&house, "debusine_work_requests{task_type=\"Worker\",status=\"pending\"}");
    assert_eq!(pending, accepted.len() as u64, "what was accepted is there, and nothing else");
    house.check();
}

/// So many clients for so long: the ids of the work requests that were accepted, none of which was given twice.
async fn storm(house: &House, clients: usize, length: Duration, counts: &Arc<Counts>) -> BTreeSet<i64> {
    let (url, key, end) = (house.url(), key(house), Instant::now() + length);
    let mut all = JoinSet::new();
    for number in 0..clients {
        let (url, key, counts) = (url.clone(), key.clone(), counts.clone());
        all.spawn(async move {
            let client = Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().unwrap();
            let mut accepted = Vec::new();
            for turn in number.. {
                if Instant::now() >= end {
                    break;
                }
                accepted.extend(one(&client, &url, &key, turn, &counts).await);
            }
            accepted
        });
    }
    let ids: Vec<i64> = all.join_all().await.into_iter().flatten().collect();
    let distinct: BTreeSet<i64> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "an id was given twice");
    distinct
}

/// One request of one kind; the id of what it made.
async fn one(client: &Client, url: &str, key: &str, turn: usize, counts: &Counts) -> Option<i64> {
    let kind = turn % 4;
    let (method, path) = match kind {
        0 => (Method::POST, "/api/1.0/work-request/"),
        1 => (Method::GET, "/api/1.0/work-request/"),
        2 => (Method::GET, "/api/1.0/whoami/"),
        _ => (Method::GET, "/debusine/System/"),
    };
    let mut request = client.request(method, format!("{url}{path}")).header("token", key);
    if kind == 0 {
        request = request.json(&json!({"task_name": "noop", "task_data": {}}));
    } else if kind == 3 {
        request = client.get(format!("{url}{path}")).header("accept", "text/html");
    }
    let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
        assert!((1..=5).contains(&seconds), "{seconds}");
        response.bytes().await.unwrap();
        counts.refused.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let text = response.text().await.unwrap();
    counts.right.fetch_add(1, Ordering::Relaxed);
    if kind == 3 {
        assert!(text.contains("</html>") && text.contains("System"), "{text}");
        return None;
    }
    let answer: Value = serde_json::from_str(&text).unwrap();
    match kind {
        0 => {
            assert_eq!((&answer["task_name"], &answer["status"]), (&json!("noop"), &json!("pending")), "{answer}");
            return answer["id"].as_i64();
        }
        1 => assert!(answer["results"].as_array().unwrap().len() <= 10, "{answer}"),
        _ => assert_eq!(answer["user"], "alice", "{answer}"),
    }
    None
}
