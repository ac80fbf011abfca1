//! WebSockets in bad hands: too many, frames of any size, floods, logs that are one line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Map, Value, json};
use usine_client::{Client, NextWork, Options};
use usine_model::worker::WorkerType;
use usine_protocol::channel::{LogStream, WorkerMessage};
use usine_protocol::worker::Register;

use crate::house::{House, until};
use crate::{assert_serves, house_with, key, memory, metric, raw};

const SOON: Duration = Duration::from_secs(60);

/// Opens a channel with a key; its socket, and the status of the answer.
fn open(house: &House, path: &str, key: &str) -> (TcpStream, u16) {
    let mut socket = raw::connect(house);
    let head = format!(
        "GET /api/ws/1.0/{path} HTTP/1.1\r\nHost: h\r\nToken: {key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(status != 503 || text.to_lowercase().contains("\r\nretry-after: "), "{text}");
    (socket, status)
}

/// A frame (RFC 6455, section 5.2) that says that it has so many bytes, with a mask of zeros.
fn frame(kind: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![kind, 0x80 | 127];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// Whether the server ends the conversation.
fn ends(socket: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Channels have places of their own, which come back.
#[test]
fn channels_are_counted() {
    let mut house = house_with("max-channels = 5\nmax-connections = 30\nmax-requests = 3");
    house.start_server();
    let key = key(&house);
    let follow = "work-request/on-completed/";
    let held: Vec<_> = (0..5).map(|_| open(&house, follow, &key)).collect();
    assert!(held.iter().all(|(_, status)| *status == 101));
    for _ in 0..3 {
        assert_eq!(open(&house, follow, &key).1, 503);
        assert_serves(&house, "while all channels are open");
    }
    assert_eq!(metric(&house, "debusine_http_refused_total{of=\"channels\"}"), 3);
    // A request that only says that it is one takes no place for long.
    for _ in 0..10 {
        raw::exchange(&house, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n");
    }
    drop(held);
    until("places for channels", SOON, || open(&house, follow, &key).1 == 101);
    // Nobody's channels are opened to say so, and closed.
    for _ in 0..50 {
        let mut socket = loop {
            let (socket, status) = open(&house, "worker/connect/", "nobody");
            if status == 101 {
                break socket;
            }
        };
        assert!(ends(&mut socket));
    }
    assert_serves(&house, "afterwards");
}

/// Frames that are too large end their channel before they have come; rubbish does not even that.
#[test]
fn frames_have_a_largest_size() {
    let mut house = house_with("");
    house.start_server();
    let (user, worker) = (key(&house), Worker::new(&house));
    let before = memory(&house);
    for (path, key) in [("worker/connect/", &worker.key), ("work-request/on-completed/", &user)] {
        for length in [1 << 26, 1 << 40, u64::MAX, u64::MAX >> 1] {
            let (mut socket, status) = open(&house, path, key);
            assert_eq!(status, 101);
            socket.write_all(&frame(0x81, length)).unwrap();
            let _ = socket.write_all(&[b'a'; 1000]);
            assert!(ends(&mut socket), "{path}: a frame of {length} bytes");
        }
        // Continuations without an end, reserved bits, unmasked frames, bad UTF-8.
        for strange in [
            &[0x80, 0x80, 0, 0, 0, 0][..],
            &[0xf1, 0x80, 0, 0, 0, 0],
            &[0x81, 0x01, b'a'],
            &[0x81, 0x81, 0, 0, 0, 0, 0xff],
        ] {
            let (mut socket, _) = open(&house, path, key);
            socket.write_all(strange).unwrap();
            assert!(ends(&mut socket), "{path}: {strange:?}");
        }
    }
    let (mut socket, _) = open(&house, "worker/connect/", &worker.key);
    let small = [0x81, 0x82, 0, 0, 0, 0, b'{', b'}', 0x89, 0x80, 0, 0, 0, 0];
    let flood = small.repeat(2000);
    // The other side of the conversation: pongs, which must be taken.
    let mut other = socket.try_clone().unwrap();
    let reader = std::thread::spawn(move || ends(&mut other));
    for _ in 0..50 {
        socket.write_all(&flood).unwrap();
    }
    assert_serves(&house, "in a flood of 100,000 messages and pings");
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    reader.join().unwrap();
    let after = memory(&house);
    assert!(after <= before + 64, "{before} MiB before, {after} MiB after");
    assert!(!house.logs().contains("panicked"));
}

/// 100 MB of log without the end of a line: it is kept as far as there is room, looked at, and takes no memory.
#[test]
fn one_line_of_100_megabytes() {
    let mut house = house_with("live-log-size = 60000000");
    house.start_server();
    let before = memory(&house);
    let worker = Worker::new(&house);
    let id = house.submit("noop", &json!({}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let piece = "x".repeat(4_000_000);
    runtime.block_on(async {
        let mut channel = worker.client.worker_channel().await.unwrap();
        worker.client.put_dynamic_metadata(&metadata()).await.unwrap();
        let mut taken = worker.client.get_next().await.unwrap();
        while !matches!(taken, NextWork::Run(_)) {
            channel.receive().await.unwrap();
            taken = worker.client.get_next().await.unwrap();
        }
        for _ in 0..25 {
            let timestamp = chrono::DateTime::UNIX_EPOCH;
            let message = WorkerMessage::LogData {
                work_request_id: id,
                stream: LogStream::Stdout,
                data: piece.clone(),
                timestamp,
            };
            channel.send(&message).await.unwrap();
        }
        // What comes after the messages is answered when they have been read.
        let message =
            WorkerMessage::LogDataEnd { work_request_id: id, exit_code: 0, timestamp: chrono::DateTime::UNIX_EPOCH };
        channel.send(&message).await.unwrap();
        channel.close().await;
    });
    let page = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nToken: {}\r\n", key(&house));
        raw::exchange(&house, &head)
    };
    let lines = page(&format!("/debusine/System/work-request/{id}/log/lines/"));
    assert!(lines.status == 200 && lines.body.contains("the line is longer"), "{:.500}", lines.body);
    assert!(lines.body.len() < 100_000, "{} bytes", lines.body.len());
    let found = page(&format!("/debusine/System/work-request/{id}/log/search/?q=xxx"));
    assert_eq!(found.status, 200, "{:.500}", found.body);
    let after = memory(&house);
    assert!(after <= before + 128, "{before} MiB before, {after} MiB after");
    let size: u64 = walk(&house.path().join("server/live-logs"));
    assert!((50_000_000..=70_000_000).contains(&size), "{size} bytes of log are kept");
    assert_serves(&house, "afterwards");
}

fn walk(directory: &std::path::Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// A machine that has registered as a worker.
struct Worker {
    key: String,
    client: Client,
}

impl Worker {
    fn new(house: &House) -> Self {
        let activation = house.admin(&["worker", "create", "bad.example.org"]).trim().to_owned();
        let key = "5a".repeat(32);
        let client = |key: &str| {
            Client::new(Options { token: Some(key.to_owned()), ..Options::new(format!("{}/api", house.url())) })
                .unwrap()
        };
        let register =
            Register { token: key.clone(), fqdn: "bad.example.org".to_owned(), worker_type: WorkerType::External };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(client(&activation).register(&register)).unwrap();
        Self { client: client(&key), key }
    }
}

fn metadata() -> Map<String, Value> {
    Map::from_iter([("provided_tags".to_owned(), json!(["worker:task:worker:noop:version:1"]))])
}
