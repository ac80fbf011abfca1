//! How work requests end, and what the exit codes tell of it; retry, abort, priorities.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::House;
use crate::support::ids;

#[test]
fn every_end_has_its_exit_code() {
    let house = House::at_work();
    let ends = [("success", 0), ("skipped", 0), ("failure", 10), ("error", 12)];
    let submitted = ends.map(|(result, code)| (house.noop(result), result, code));
    for (id, result, code) in submitted {
        assert_eq!(house.wait_code(id), code, "{result}");
        let watched = house.try_client(&["work-request", "watch", &id.to_string()], "");
        assert_eq!(watched.code, Some(code), "{result}");
        let last = format!("work request {id}: completed {result}");
        assert_eq!(watched.stdout.lines().last(), Some(last.as_str()));
        let events = ["created", "pending", "assigned", "running", "completed"];
        let told =
            watched.stdout.lines().filter(|line| events.iter().any(|event| line.contains(&format!("  {event}"))));
        assert_eq!(told.count(), events.len(), "each event is told once:\n{}", watched.stdout);
    }
    // As before debusine 0.16.
    for (old, code) in [(true, 0), (false, 10)] {
        let id = house.submit("noop", &json!({"result": old}));
        assert_eq!(house.wait_code(id), code);
        assert_eq!(house.show(id)["task_data"], json!({"result": old}), "echoed as it was submitted");
    }

    let newest_first: Vec<i64> = (1..=6).rev().collect();
    let list = |arguments: &[&str]| ids(&house.json(&[&["work-request", "list"], arguments].concat()));
    assert_eq!(list(&[]), newest_first);
    assert_eq!(list(&["--limit", "2"]), newest_first[..2]);
    assert_eq!(list(&["--status", "completed", "--task-type", "Worker"]), newest_first);
    assert_eq!(list(&["--status", "running"]), [0i64; 0]);
    let table = house.client(&["work-request", "list"]);
    for (id, result, _) in submitted {
        let row = table.lines().find(|line| line.contains(&format!("#{id} "))).unwrap();
        assert!(row.contains(&format!("completed {result}")), "{row}");
    }
    let outcome = house.try_client(&["work-request", "list", "--status", "failing"], "");
    outcome.assert_failed(2, &["blocked", "pending", "running", "completed", "aborted"], "an unknown status");
}

/// It is tried again by itself, later. Whoever waits is told, and waits for the next try.
#[test]
fn a_temporary_failure_rests() {
    let house = House::at_work();
    let id = house.noop("temporary failure");
    let mut waiting = house.follow("wait", &["work-request", "wait", &id.to_string()]);
    waiting.wait_for(&format!("work request {id}: completed temporary failure, replaced by 2\n"));
    let waited = house.try_client(&["work-request", "wait", &id.to_string(), "--timeout", "1"], "");
    assert_eq!(waited.code, Some(14), "{waited:?}");
    let details = house.details(2);
    assert_eq!((&details["supersedes"], house.status(2).as_str()), (&json!(id), "blocked"));
    let shown = house.client(&["work-request", "show", "2"]);
    assert!(shown.contains(&format!("after a temporary failure of work request {id}")), "{shown}");
    assert!(shown.contains("Automatic retries:   1 of 3"), "{shown}");
    let shown = house.client(&["work-request", "show", &id.to_string()]);
    assert!(shown.contains("retried  superseded_by: 2  reason: temporary-failure"), "{shown}");

    // What a person does is not followed.
    assert_eq!(house.client(&["work-request", "abort", "2"]), "");
    assert_eq!(waiting.end().code(), Some(13), "{}", waiting.stderr());
    house.admin(&["check"]);
}

#[test]
fn what_failed_can_be_retried_once() {
    let house = House::at_work();
    let id = house.noop("failure");
    assert_eq!(house.wait_code(id), 10);
    let retried = house.try_client(&["work-request", "retry", &id.to_string()], "");
    assert_eq!(retried.stderr, format!("Work request 2 takes the place of {id}.\n"));
    assert_eq!(retried.success(), "");
    assert_eq!(house.wait_code(2), 10, "it runs again, with the same data");
    assert_eq!(house.details(2)["supersedes"], json!(id));
    assert_eq!(house.details(id)["superseded_by"], json!(2));
    assert_eq!(house.wait_code(id), 10, "what has ended stays ended: its heir is another one");

    let before = house.holdings();
    let id = id.to_string();
    house.refuses(&["work-request", "retry", &id], "", &["Error (400): Cannot retry work request", "superseded"]);
    let fine = house.noop("success");
    assert_eq!(house.wait_code(fine), 0);
    let fine = fine.to_string();
    house.refuses(&["work-request", "retry", &fine], "", &["Only unsuccessful tasks can be retried"]);
    house.refuses(&["work-request", "abort", &fine], "", &["Only pending, blocked, or running tasks can be aborted"]);
    let (_, work_requests) = house.holdings();
    assert_eq!(ids(&work_requests), [3, 2, 1]);
    assert_eq!(ids(&before.1), [2, 1]);
    house.admin(&["check"]);
}

#[test]
fn waiting_and_pending_work_requests_obey_their_owner() {
    let mut house = House::new(None);
    house.start_server();
    let limits = ["--deadline-total", "60", "--deadline-silence", "30", "--memory-limit", "2G", "--disk-limit", "500M"];
    let create = [&["work-request", "create", "noop", "--json"][..], &limits].concat();
    let created: serde_json::Value = serde_json::from_str(&house.client_with(&create, "")).unwrap();
    let id = created["id"].as_i64().unwrap();
    let text = id.to_string();
    assert_eq!(house.details(id)["deadlines"], json!({"total": 60, "silence": 30}));
    assert_eq!(house.details(id)["limits"], json!({"memory": 2_147_483_648_u64, "disk": 524_288_000}));
    for wrong in ["0", "2 Gold", "-1G"] {
        let limit = format!("--memory-limit={wrong}");
        let refused = house.try_client(&["work-request", "create", "noop", &limit], "");
        refused.assert_failed(2, &["--memory-limit"], wrong);
    }

    let begin = Instant::now();
    let waited = house.try_client(&["work-request", "wait", &text, "--timeout", "1"], "");
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(14), ""));
    assert_eq!(waited.stderr, format!("work request {id}: pending when time ran out\n"));
    assert!(begin.elapsed() >= Duration::from_secs(1));

    // Its owner may step back in the queue, not forward.
    let adjust = |by: &str| house.try_client(&["work-request", "manage", &text, "--set-priority-adjustment", by], "");
    assert_eq!(adjust("-5").success(), "");
    assert_eq!(house.show(id)["priority_adjustment"], -5);
    adjust("5").assert_failed(3, &["Error (403): You are not permitted to set priority adjustments"], "forward");
    assert_eq!(house.show(id)["priority_adjustment"], -5);
    let shown = house.client(&["work-request", "show", &text]);
    for line in [
        "Status:   pending",
        "Priority:   -5",
        "Deadline:   60 s",
        "Deadline of silence:   30 s",
        "Memory limit:   2.00 GiB",
        "Disk limit:   500.00 MiB",
        "Waits because:",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }

    // A server that goes away does not keep `wait` beyond its time.
    let mut waiting = house.follow("wait", &["work-request", "wait", &text, "--timeout", "5"]);
    std::thread::sleep(Duration::from_secs(1));
    house.kill_server();
    assert_eq!(waiting.end().code(), Some(14), "{}", waiting.stderr());
    house.start_server();

    let mut waiting = house.follow("wait", &["work-request", "wait", &text]);
    let mut watching = house.follow("watch", &["work-request", "watch", &text, "--json"]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(house.client(&["work-request", "abort", &text]), "");
    assert_eq!(waiting.end().code(), Some(13), "{}", waiting.stderr());
    assert_eq!(watching.end().code(), Some(13), "{}", watching.stderr());
    assert!(watching.stdout().contains("\"status\": \"aborted\""), "{}", watching.stdout());
    assert_eq!(house.status(id), "aborted");
    house.admin(&["check"]);
}
