//! A full disk under the server: database and store in a file system of 40 MiB, which another one fills.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::{House, until};

/// Starts the server in a mount namespace of its own, where its data directory is a small file system in memory. Needs no
/// rights that running tasks does not need.
const SERVER: &str = r#"
set -e
cp -a "$1" "$1.before"
mount -t tmpfs -o size=40m,mode=700 tmpfs "$1"
cp -a "$1.before/." "$1/"
exec "$2" server --config "$3"
"#;

struct SmallDisk {
    house: House,
    /// The data directory as a process outside sees it.
    data: PathBuf,
}

impl SmallDisk {
    fn start() -> Self {
        let mut house = House::new(None);
        let data = house.path().join("server");
        let user: &[&str] = if rustix::process::getuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
        let log = std::fs::File::create(house.path().join("server.log")).unwrap();
        let server = Command::new("unshare")
            .args(user)
            .args(["--mount", "--propagation", "private", "sh", "-c", SERVER, "sh"])
            .arg(&data)
            .arg(env!("CARGO_BIN_EXE_usine"))
            .arg(house.path().join("server.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let data = PathBuf::from(format!("/proc/{}/root{}", server.id(), data.display()));
        house.server = Some(server);
        until("a server", Duration::from_secs(30), || house.logs().contains("listening on"));
        Self { house, data }
    }

    /// Somebody else fills the disk, but for so many bytes.
    fn fill(&self, but: u64) {
        let ballast = std::fs::File::create(self.data.join("ballast")).unwrap();
        let room = rustix::fs::fstatvfs(&ballast).unwrap();
        let free = room.f_bavail * room.f_frsize;
        rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, free - but).unwrap();
    }

    /// Takes what has become free since: pieces of uploads that were given up, for example.
    fn keep_full(&self) {
        let ballast = std::fs::OpenOptions::new().write(true).open(self.data.join("ballast")).unwrap();
        let room = rustix::fs::fstatvfs(&ballast).unwrap();
        let (length, free) = (ballast.metadata().unwrap().len(), room.f_bavail * room.f_frsize);
        if free > 0 {
            // The server may be faster.
            let _ = rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), length, free);
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.data.join("ballast")).unwrap();
    }

    fn submit(&self) -> (Option<i32>, String, String) {
        let config = self.house.path().join("client.ini");
        let arguments =
            ["--config-file", config.to_str().unwrap(), "work-request", "create", "noop", "--json", "--data", "-"];
        self.house.outcome(&arguments, "{}")
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = SmallDisk::start();
    let house = &disk.house;
    let first = house.submit("noop", &json!({}));
    let file = house.path().join("large.txt");
    std::fs::write(&file, vec![b'x'; 6 << 20]).unwrap();
    let import = |name: &str| house.user(&["artifact", "create", "debusine:test", "--json", "--upload", name]);

    disk.fill(2 << 20);
    let (code, _, stderr) = import(file.to_str().unwrap());
    assert!(code != Some(0) && stderr.contains("disk is full"), "{code:?} {stderr}");

    disk.make_room();
    disk.fill(0);
    // What is written in pages that there are already may still go well.
    let (begin, mut accepted) = (Instant::now(), vec![first]);
    let refusal = loop {
        assert!(begin.elapsed() < Duration::from_secs(60), "a full disk takes everything");
        disk.keep_full();
        match disk.submit() {
            (Some(0), made, _) => accepted.push(serde_json::from_str::<Value>(&made).unwrap()["id"].as_i64().unwrap()),
            (code, said, refusal) => break format!("{code:?} {said}{refusal}"),
        }
    };
    assert!(refusal.contains("disk is full"), "{refusal}");
    // Reading goes on.
    for id in &accepted {
        assert_eq!(house.status(*id), "pending");
    }

    disk.make_room();
    accepted.push(house.submit("noop", &json!({})));
    let (code, made, stderr) = import(file.to_str().unwrap());
    assert_eq!(code, Some(0), "{made} {stderr}");
    for id in &accepted {
        assert_eq!(house.status(*id), "pending");
    }
    let config = std::fs::read_to_string(house.path().join("server.toml")).unwrap();
    let inside = house.path().join("server").display().to_string();
    house.write("outside.toml", &config.replace(&inside, &disk.data.display().to_string()), 0o600);
    let outside = house.path().join("outside.toml");
    let (code, said, stderr) = house.outcome(&["admin", "--config", outside.to_str().unwrap(), "check"], "");
    assert_eq!(code, Some(0), "{said} {stderr}");
}
