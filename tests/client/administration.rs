//! Tokens on a running server.

use serde_json::Value;

use crate::house::House;

#[test]
fn a_disabled_token_is_refused_at_once() {
    let mut house = House::new(None);
    house.start_server();
    let id = house.noop("success").to_string();
    let tokens = house.admin(&["token", "list", "--username", "alice", "--json"]);
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let hash = tokens[0]["hash"].as_str().unwrap();

    house.admin(&["token", "disable", hash]);
    let before: Value = serde_json::from_str(&house.admin(&["work-request", "list", "--json"])).unwrap();
    for arguments in [
        &["work-request", "list"][..],
        &["work-request", "show", &id],
        &["work-request", "create", "noop"],
        &["work-request", "abort", &id],
        &["work-request", "wait", &id],
        &["work-request", "logs", &id],
        &["artifact", "create", "debusine:test"],
    ] {
        let words = ["Error (403): ", "credentials were not provided", "unknown, disabled or expired"];
        house.refuses(arguments, "", &words);
    }
    let after: Value = serde_json::from_str(&house.admin(&["work-request", "list", "--json"])).unwrap();
    assert_eq!(after, before);

    house.admin(&["token", "enable", hash]);
    assert_eq!(house.status(1), "pending");

    // A second token, until it is deleted.
    let key = house.admin(&["token", "create", "alice", "--comment", "laptop"]);
    let config = std::fs::read_to_string(house.path().join("client.ini")).unwrap();
    let old = config.lines().find(|line| line.starts_with("token = ")).unwrap();
    house.write("client.ini", &config.replace(old, &format!("token = {}", key.trim())), 0o600);
    assert_eq!(house.status(1), "pending");
    house.admin(&["token", "delete", "--token", key.trim(), "--yes"]);
    house.refuses(&["work-request", "list"], "", &["unknown, disabled or expired"]);

    // One that was never there.
    house.write("client.ini", &config.replace(old, "token = 0000"), 0o600);
    house.refuses(&["work-request", "list"], "", &["unknown, disabled or expired"]);
    house.admin(&["check"]);
}
