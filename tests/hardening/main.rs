//! Whoever means no good, and far too many who do: a real server in their hands. Nothing here may take it down, fill its memory, or
//! keep it from others.

#[path = "../factory/house.rs"]
#[allow(dead_code, reason = "the stories of the factory need other parts of the house")]
mod house;

mod api;
mod bombs;
mod channels;
mod raw;
mod slow;
mod storm;
mod strange;

use serde_json::Value;

use house::House;

/// A house whose server has these lines in its configuration besides. It does not run yet.
fn house_with(lines: &str) -> House {
    let house = House::new(None);
    let config = std::fs::read_to_string(house.path().join("server.toml")).unwrap();
    house.write("server.toml", &format!("{config}{lines}\n"), 0o600);
    house
}

/// The key of alice's token.
fn key(house: &House) -> String {
    let config = std::fs::read_to_string(house.path().join("client.ini")).unwrap();
    config.lines().find_map(|line| line.strip_prefix("token = ")).unwrap().to_owned()
}

/// Resident memory of the server now, in MiB.
fn memory(house: &House) -> u64 {
    let pid = house.server.as_ref().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
    line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

/// Most resident memory that the server has had, in MiB.
fn peak(house: &House) -> u64 {
    let pid = house.server.as_ref().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

/// The server serves as ever: what a user sees, and what monitoring sees.
fn assert_serves(house: &House, when: &str) {
    let answer =
        raw::exchange(house, &format!("GET /api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\nToken: {}\r\n", key(house)));
    assert_eq!(answer.status, 200, "{when}: {answer:?}\n{}", house.logs());
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["user"], "alice", "{when}");
}

/// A number among the metrics.
fn metric(house: &House, name: &str) -> u64 {
    let answer = raw::exchange(house, "GET /api/1.0/open-metrics/ HTTP/1.1\r\nHost: h\r\n");
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = answer.body.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} is not in {}", answer.body)).trim().parse().unwrap()
}
