//! `usine standalone`: a factory from nothing, and the same one again.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::house::{House, until};
use crate::support::{Background, SOON};

/// A place that the users of tasks can walk down to.
fn place() -> TempDir {
    let place = tempfile::Builder::new().prefix("usine-test-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    place
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(place: &Path, address: SocketAddr) -> Background {
    let (data, address) = (place.join("data"), address.to_string());
    let arguments = ["standalone", "--data-directory", data.to_str().unwrap(), "--bind", &address];
    let mut factory = Background::start(place, "standalone", &arguments);
    factory.wait_for("connected");
    factory
}

fn usine(place: &Path, arguments: &[&str], stdin: &str) -> String {
    let mut command = assert_cmd::Command::cargo_bin("usine").unwrap();
    let output = command.args(arguments).env("HOME", place).write_stdin(stdin).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Submits a noop and waits for it.
fn noop(place: &Path) -> i64 {
    let config = place.join("data/client.ini");
    let client = ["--config-file", config.to_str().unwrap(), "work-request"];
    let created = usine(place, &[&client[..], &["create", "noop", "--json"]].concat(), "");
    let id = serde_json::from_str::<Value>(&created).unwrap()["id"].as_i64().unwrap();
    usine(place, &[&client[..], &["wait", &id.to_string(), "--timeout", "60"]].concat(), "");
    id
}

/// Users, tokens of people, workers.
fn registers(place: &Path) -> [Vec<Value>; 3] {
    let data = place.join("data");
    ["user", "token", "worker"].map(|what| {
        let list = usine(place, &["admin", "--data-directory", data.to_str().unwrap(), what, "list", "--json"], "");
        let mut list: Vec<Value> = serde_json::from_str(&list).unwrap();
        // When a worker connected last is not what it is.
        list.iter_mut().for_each(|row| row["connected"] = Value::Null);
        list
    })
}

fn stop(mut factory: Background) {
    let begin = Instant::now();
    factory.signal(Signal::TERM);
    assert_eq!(factory.end().code(), Some(0), "{}", factory.stderr());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}:\n{}", begin.elapsed(), factory.stderr());
}

#[test]
fn a_factory_begins_and_goes_on() {
    let place = place();
    let place = place.path();
    let client = place.join("data/client.ini");
    let address = free_address();

    let factory = start(place, address);
    assert_eq!(noop(place), 1);
    assert_eq!(fs::metadata(&client).unwrap().permissions().mode() & 0o777, 0o600, "it has a key");
    let made = registers(place);
    let [users, tokens, workers] = &made;
    assert_eq!((users.len(), tokens.len()), (1, 1));
    assert_eq!(workers.iter().filter(|worker| worker["type"] == "external").count(), 1);
    let written = fs::read_to_string(&client).unwrap();
    stop(factory);

    // The same user, token and worker; nothing is written anew.
    let factory = start(place, address);
    assert_eq!(noop(place), 2);
    assert_eq!(registers(place), made);
    assert_eq!(fs::read_to_string(&client).unwrap(), written);
    stop(factory);

    // At another address the client is told of it.
    let other = free_address();
    let factory = start(place, other);
    assert_eq!(noop(place), 3);
    assert_eq!(registers(place), made);
    let moved = written.replace(&address.to_string(), &other.to_string());
    assert_eq!(fs::read_to_string(&client).unwrap(), moved);
    let data = place.join("data");
    usine(place, &["admin", "--data-directory", data.to_str().unwrap(), "check"], "");
    stop(factory);
}

#[test]
fn a_factory_without_place_or_address_says_so() {
    let house = House::new(None);
    let try_start = |data: &Path, address: &str| {
        let data = data.to_str().unwrap();
        house.try_usine(&["standalone", "--data-directory", data, "--bind", address], "")
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = house.path().join("data");
    try_start(&data, &address).assert_failed(3, &[&address, "in use"], "a port that is taken");
    assert!(!data.join("client.ini").exists(), "nobody is told of a server that does not run");

    let free = free_address().to_string();
    house.write("file", "", 0o644);
    let file = house.path().join("file");
    try_start(&file, &free).assert_failed(3, &[file.to_str().unwrap()], "a file");
    try_start(&file.join("below"), &free).assert_failed(3, &[file.to_str().unwrap()], "below a file");
    try_start(Path::new("/proc/usine"), &free).assert_failed(3, &["/proc/usine"], "nothing can be made there");
    until("the port to be free again", SOON, || TcpListener::bind(&free).is_ok());
}
