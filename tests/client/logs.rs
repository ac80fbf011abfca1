//! Logs: followed from before the start to the end, and read afterwards.

use std::time::Duration;

use crate::house::{House, until};
use crate::support::SOON;

/// What the worker logs of a noop.
const STAGES: &str = "Fetching input\nConfiguring for execution\nPreparing to run\nRunning\nChecking output\n\
    Uploading artifacts\nCleaning up\n";

#[test]
fn logs_are_followed_to_their_end() {
    let mut house = House::new(None);
    house.start_server();
    let (id, other) = (house.noop("failure"), house.noop("success"));
    let hint =
        format!("Work request {id} has no log: it is pending. Wait for its log with: usine work-request logs -f {id}");
    house.refuses(&["work-request", "logs", &id.to_string()], "", &[&hint]);

    let mut following = house.follow("logs", &["work-request", "logs", "-f", &id.to_string()]);
    let mut given_up = house.follow("given-up", &["work-request", "logs", "-f", &other.to_string()]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(following.is_running() && following.stdout().is_empty(), "it waits for the start");
    house.client(&["work-request", "abort", &other.to_string()]);
    assert_eq!(given_up.end().code(), Some(3));
    assert_eq!(given_up.stderr(), format!("Work request {other} (aborted) has left no log\n"));

    house.start_worker();
    assert!(following.end().success(), "{}", following.stderr());
    assert_eq!(lines(&following.stdout()), STAGES);
    assert_eq!(house.wait_code(id), 10);
    let id = id.to_string();
    for arguments in [&["logs"][..], &["logs", "-f"]] {
        let all = [&["work-request"], arguments, &[id.as_str()]].concat();
        assert_eq!(lines(&house.client(&all)), STAGES, "{arguments:?}");
    }
}

/// It will be tried again, but the log that was asked for is there.
#[test]
fn the_log_of_a_temporary_failure_stays_readable() {
    let house = House::at_work();
    let id = house.noop("temporary failure");
    until("its heir", SOON, || house.details(id)["superseded_by"] == 2);
    assert_eq!(house.status(2), "blocked");
    assert_eq!(lines(&house.client(&["work-request", "logs", &id.to_string()])), STAGES);
    house.refuses(&["work-request", "logs", "2"], "", &["Work request 2 has no log: it is blocked"]);
}

/// The lines without the times before them, if there are any.
fn lines(log: &str) -> String {
    let time = regex::Regex::new(r"(?m)^\d{4}-\S+ ").unwrap();
    time.replace_all(log, "").into_owned()
}
