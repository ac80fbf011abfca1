//! `on-completed` runs a command for each end, and knows next time how far it came.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use usine_protocol::time::from_text;

use crate::house::{House, until};
use crate::support::SOON;

#[test]
fn a_command_hears_of_every_end_once() {
    let house = House::at_work();
    let (heard, last) = (house.path().join("heard"), house.path().join("last"));
    let script = script(&house, "tell", &format!("echo \"$@\" >> {}", heard.display()));
    let last_text = last.to_str().unwrap();
    let listen = ["work-request", "on-completed", "--last-completed-at", last_text, script.to_str().unwrap(), "-x"];
    let told = |text: &str| {
        let said = || std::fs::read_to_string(&heard).unwrap_or_default();
        until(&format!("{text:?}"), SOON, || said().len() >= text.len());
        assert_eq!(said(), text);
    };

    let mut listener = house.follow("listener", &listen);
    listener.wait_for("Connected");
    assert_eq!(std::fs::read_to_string(&last).unwrap(), "{\n  \"last_completed_at\": null\n}\n");
    let first = house.noop("success");
    told("-x 1 success\n");
    let second = house.noop("temporary failure");
    told("-x 1 success\n-x 2 temporary failure\n");
    assert_eq!((first, second), (1, 2));
    let completed_at = || {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&last).unwrap()).unwrap();
        from_text(file["last_completed_at"].as_str().unwrap()).unwrap()
    };
    let row = house.show(second);
    let expected = from_text(row["completed_at"].as_str().unwrap()).unwrap();
    until("the time in the file", SOON, || completed_at() == expected);
    listener.signal(Signal::TERM);
    assert_eq!(listener.end().code(), Some(0), "{}", listener.stderr());

    // 3 takes the place of the second, and rests. What ends meanwhile is told when it comes back, and nothing twice.
    let third = house.noop("failure");
    assert_eq!(house.wait_code(third), 10);
    let mut listener = house.follow("listener", &listen);
    told("-x 1 success\n-x 2 temporary failure\n-x 4 failure\n");
    listener.signal(Signal::TERM);
    assert_eq!(listener.end().code(), Some(0));

    // The command may end its parent.
    let stop = self::script(&house, "stop", "kill $PPID");
    let mut listener = house.follow("stopped", &["work-request", "on-completed", stop.to_str().unwrap()]);
    listener.wait_for("Connected");
    house.noop("success");
    assert_eq!(listener.end().code(), Some(0), "{}", listener.stderr());
}

#[test]
fn a_file_that_cannot_be_used_is_told_at_once() {
    let mut house = House::new(None);
    house.start_server();
    house.write("last", "soon\n", 0o644);
    let last = house.path().join("last");
    let listen = |last: &str| {
        let arguments = ["work-request", "on-completed", "--last-completed-at", last, "true"];
        house.try_client(&arguments, "")
    };
    listen(last.to_str().unwrap()).assert_failed(3, &["last: expected value at line 1"], "no JSON");
    assert_eq!(std::fs::read_to_string(&last).unwrap(), "soon\n");
    let nowhere = house.path().join("no/last");
    listen(nowhere.to_str().unwrap()).assert_failed(3, &["Error: write access denied for directory"], "no directory");
}

fn script(house: &House, name: &str, body: &str) -> PathBuf {
    house.write(name, &format!("#!/bin/sh\n{body}\n"), 0o755);
    house.path().join(name)
}
