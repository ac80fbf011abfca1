//! `debusine-worker`: its configuration, its faults, and work.

use std::process::Stdio;

use crate::house::{House, until};
use crate::names::WORKER_CONFIG;
use crate::support::{SOON, send};

#[test]
fn a_worker_of_that_name_works() {
    let mut house = House::new(None);
    house.start_server();
    let activation = house.admin(&["worker", "create", "other.example.org"]);
    let text = format!("[General]\napi-url = {}/api\nlog-file = {}\n", house.url(), house.path().join("log").display());
    house.write(WORKER_CONFIG, &text, 0o644);
    house.write(".config/debusine/worker/activation-token", &activation, 0o600);
    let log = || std::fs::read_to_string(house.path().join("log")).unwrap_or_default();
    let mut worker =
        house.command("debusine-worker", &["--log-level", "debug"]).stderr(Stdio::inherit()).spawn().unwrap();
    let id = house.noop("success");
    house.wait(id, "success");
    until("what it says, in its file", SOON, || log().contains("DEBUG") && log().contains("delivered"));
    let token = std::fs::read(house.path().join(".config/debusine/worker/token")).unwrap();
    assert_eq!(token.len(), 64, "without a new line");
    send(&worker, rustix::process::Signal::TERM);
    assert_eq!(worker.wait().unwrap().code(), Some(0), "{}", log());

    let elsewhere = house.path().join("elsewhere");
    let clean = ["--clean", "--log-stderr", "--working-directory", elsewhere.to_str().unwrap()];
    let cleaned = house.run_as("debusine-worker", &clean, "");
    assert_eq!(cleaned.code, Some(0), "{cleaned:?}");
    assert!(cleaned.stderr.contains("removed 0 directories"), "{cleaned:?}");
}

#[test]
fn faults_have_debusines_texts() {
    let house = House::new(None);
    let error = |house: &House| {
        let outcome = house.run_as("debusine-worker", &[], "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
        outcome.stderr
    };
    let path = format!("HOUSE/{WORKER_CONFIG}");
    std::fs::create_dir_all(house.path().join(".config/debusine/worker")).unwrap();
    assert_eq!(error(&house).trim(), format!("Cannot read {path}"));
    for (text, message) in [
        ("", format!("Missing required section \"General\" in the configuration file ({path})")),
        (
            "[General]\nlog-level = INFO\n",
            format!("Missing required key \"api-url\" in General section in the configuration file ({path})"),
        ),
    ] {
        house.write(WORKER_CONFIG, text, 0o644);
        assert_eq!(error(&house).trim(), message);
    }
    house.write(WORKER_CONFIG, "[General]\napi-url = http://127.0.0.1:9/api\n", 0o644);
    assert!(error(&house).contains("Could not register. Server unreachable: "), "{}", error(&house));
    house.write(".config/debusine/worker/token", "0123", 0o640);
    let open = "Permission too open for HOUSE/.config/debusine/worker/token. Make sure that the file is not accessible by \
                group or others";
    assert!(error(&house).contains(open), "{}", error(&house));
}
