//! The server: its configuration, and that it keeps everything when it ends and begins again.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::house::House;
use crate::support::send;

#[test]
fn a_wrong_configuration_is_told() {
    let house = House::new(None);
    let file = house.path().join("wrong.toml");
    let file = file.to_str().unwrap();
    let data = house.path().join("server");
    for (text, words) in [
        ("colour = \"red\"\n", &["wrong.toml", "unknown field `colour`", "data-directory"][..]),
        ("lease = 1\n", &["wrong.toml", "lease = 1", "at least 30"]),
        ("lease = \"long\"\n", &["wrong.toml", "lease", "invalid type"]),
        ("database = \"mysql:x\"\n", &["wrong.toml", "mysql:x", "use sqlite:PATH or postgres://"]),
        ("bind = \"nowhere\"\n", &["wrong.toml", "bind", "invalid socket address"]),
        ("colour\n", &["wrong.toml", "line 1"]),
    ] {
        house.write("wrong.toml", &format!("{text}data-directory = {data:?}\n"), 0o644);
        for command in [&["server"][..], &["standalone"], &["admin", "worker", "list"]] {
            let outcome = house.try_usine(&[command, &["--config", file]].concat(), "");
            outcome.assert_failed(3, words, text);
        }
    }
    let missing = house.try_usine(&["server", "--config", "/nonexistent.toml"], "");
    missing.assert_failed(3, &["cannot read the configuration /nonexistent.toml", "No such file"], "no file");
}

#[test]
fn a_server_keeps_everything() {
    let mut house = House::at_work();
    let ended = house.noop("failure");
    assert_eq!(house.wait_code(ended), 10);
    house.write("notes.txt", "hello\n", 0o644);
    let notes = house.path().join("notes.txt");
    house.client(&["artifact", "create", "debusine:test", "--upload", notes.to_str().unwrap()]);
    let before = house.holdings();

    // A second one on the same port.
    let config = house.path().join("server.toml");
    let second = house.try_usine(&["server", "--config", config.to_str().unwrap()], "");
    second.assert_failed(3, &["127.0.0.1:", "in use"], "a second server");

    // Asked to end, it ends; killed, it has lost nothing either.
    send(house.server.as_ref().unwrap(), Signal::TERM);
    let begin = Instant::now();
    let status = house.server.as_mut().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", house.logs());
    assert!(begin.elapsed() < Duration::from_secs(10), "a few seconds");
    house.server = None;
    house.start_server();
    assert_eq!(house.holdings(), before);
    house.kill_server();
    house.start_server();
    assert_eq!(house.holdings(), before);
    assert_eq!(house.client(&["work-request", "logs", "1"]).lines().last().unwrap(), "Cleaning up");

    // The worker comes back by itself.
    let id = house.noop("success");
    assert_eq!(house.wait_code(id), 0);
    house.admin(&["check"]);
}
