//! Why a work request does not run yet, and what an administrator does about it: on a running server it takes effect
//! within seconds.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::house::{House, until};
use crate::support::SOON;

const WORKER: &str = "worker-example-org";

#[test]
fn every_reason_to_wait_is_told() {
    let mut house = House::at_work();
    let warm = house.noop("success");
    assert_eq!(house.wait_code(warm), 0, "the worker has said what it can do");
    house.kill_worker();
    let first = house.submit("noop", &json!({}));
    house.wait_for_reason(first, "1 worker could run it but is not connected");
    let shown = house.client(&["work-request", "show", &first.to_string()]);
    assert!(shown.contains(&format!("{WORKER}: is not connected")), "{shown}");
    house.start_worker();
    assert_eq!(house.wait_code(first), 0);

    // A worker that hears nothing holds what it was given.
    house.signal_worker(Signal::STOP);
    let (held, next) = (house.noop("success"), house.noop("failure"));
    house.wait_for_reason(held, "assigned to worker-example-org, which is being told to fetch it");
    house.wait_for_reason(next, "1 worker could run it but is at work: it is next in line");
    let verdicts = house.details(next)["pending_reason"]["workers"].clone();
    assert_eq!(verdicts, json!([{"worker": WORKER, "verdict": {"kind": "busy", "work_requests": [held]}}]));

    // Disabled, it loses it.
    assert_eq!(house.admin(&["worker", "disable", WORKER]), "");
    for id in [held, next] {
        house.wait_for_reason(id, "1 worker could run it but is disabled");
        assert_eq!(house.show(id)["worker"], Value::Null);
    }
    assert_eq!(worker(&house)["enabled"], false);
    house.signal_worker(Signal::CONT);
    let waited = house.try_client(&["work-request", "wait", &held.to_string(), "--timeout", "3"], "");
    assert_eq!(waited.code, Some(14), "a disabled worker gets nothing: {waited:?}");

    // Enabled again, it gets it back within seconds, without being started anew.
    assert_eq!(house.admin(&["worker", "enable", WORKER]), "");
    assert_eq!((house.wait_code(held), house.wait_code(next)), (0, 10));
    until("the worker to be connected", SOON, || !worker(&house)["connected"].is_null());
    assert_eq!(worker(&house)["enabled"], true);
    house.admin(&["check"]);
}

#[test]
fn metadata_of_a_worker_take_effect_at_once() {
    let house = House::at_work();
    let edit = |text: &str| {
        house.write("metadata.yaml", text, 0o644);
        let file = house.path().join("metadata.yaml");
        house.try_admin(&["worker", "edit-metadata", WORKER, "--set", file.to_str().unwrap()], "")
    };
    assert_eq!(edit("tasks_denylist: [noop]\n").success(), format!("usine: metadata set for {WORKER}\n"));
    let id = house.noop("success");
    house.wait_for_reason(id, "does not take the task noop (allow or deny list)");
    for (text, words) in [
        ("", &["Error: file is empty"][..]),
        ("- a\n", &["Error: worker metadata must be a dictionary"]),
        ("a: [\n", &["Error: ", "line 1"]),
    ] {
        edit(text).assert_failed(3, words, text);
    }
    house.wait_for_reason(id, "does not take the task noop (allow or deny list)");
    edit("provided_tags: []\n").success();
    assert_eq!(house.wait_code(id), 0);
    house.admin(&["check"]);
}

/// The worker as the administrator sees it.
fn worker(house: &House) -> Value {
    let list: Value = serde_json::from_str(&house.admin(&["worker", "list", "--json"])).unwrap();
    list.as_array().unwrap().iter().find(|worker| worker["name"] == WORKER).unwrap().clone()
}
