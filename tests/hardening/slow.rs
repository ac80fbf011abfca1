//! Those who take their time: heads and bodies that come byte by byte, answers that nobody reads. Nobody else waits for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::house::{House, until};
use crate::{assert_serves, house_with, key, metric, raw};

const SOON: Duration = Duration::from_secs(60);

/// Whether the server has closed a connection.
fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Heads that never end are given up; so are connections on which nothing is said.
#[test]
fn heads_have_an_end() {
    let mut house = house_with("header-timeout = 2\nmax-connections = 100");
    house.start_server();
    let mut slow: Vec<_> = (0..90).map(|_| raw::connect(&house)).collect();
    for socket in slow.iter_mut().skip(10) {
        socket.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").unwrap();
    }
    assert_serves(&house, "while 90 connections say nothing");
    until("the end of slow connections", SOON, || {
        for socket in &mut slow {
            // A byte now and then does not help.
            let _ = socket.write(b"x");
        }
        slow.retain_mut(|socket| !is_closed(socket));
        slow.is_empty()
    });
}

/// More connections than there are places: those beyond are told so, and the places come back.
#[test]
fn connections_are_counted() {
    let mut house = house_with("header-timeout = 5\nmax-connections = 20");
    house.start_server();
    let mut idle: Vec<_> = (0..20).map(|_| raw::connect(&house)).collect();
    until("all places to be taken", SOON, || {
        let answer = raw::exchange(&house, "GET /api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\n");
        let told = answer.header("retry-after").is_some() && answer.header("connection") == Some("close");
        assert!(answer.status == 200 || (answer.status == 503 && told), "{answer:?}");
        answer.status == 503
    });
    until("idle connections to be closed", SOON, || {
        idle.retain_mut(|socket| !is_closed(socket));
        idle.is_empty()
    });
    assert_serves(&house, "when they are gone");
    assert!(metric(&house, "debusine_http_refused_total{of=\"connections\"}") >= 1);
}

/// Bodies that come slowly take no place of those that are quick.
#[test]
fn bodies_wait_outside() {
    let mut house = house_with("max-requests = 2\nmax-waiting = 2\nmax-transfers = 2");
    house.start_server();
    let key = key(&house);
    let begin = |length: usize| {
        let mut socket = raw::connect(&house);
        let head = format!(
            "POST /api/1.0/work-request/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nToken: {key}\r\nContent-Length: {length}\r\n\r\n{{\"task_name\""
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket
    };
    let mut small: Vec<_> = (0..20).map(|_| begin(100)).collect();
    let large: Vec<_> = (0..20).map(|_| begin(1_000_000)).collect();
    for _ in 0..20 {
        assert_serves(&house, "while 40 bodies are on their way");
    }
    // What comes in the end is taken, what does not is refused.
    let rest = b": \"noop\", \"task_data\": {}}";
    let mut last = small.pop().unwrap();
    last.write_all(rest).unwrap();
    last.write_all(&vec![b' '; 100 - 12 - rest.len()]).unwrap();
    assert_eq!(raw::read(&mut last).status, 200);
    let mut silent = small.pop().unwrap();
    let mut answer = [0; 12];
    silent.read_exact(&mut answer).unwrap();
    // All of them at once, so that there may be no place to say it.
    let refused = answer.starts_with(b"HTTP/1.1 400") || answer.starts_with(b"HTTP/1.1 503");
    assert!(refused, "{}", String::from_utf8_lossy(&answer));
    drop((small, large));
    let who = "GET /api/1.0/whoami/ HTTP/1.1\r\nHost: h\r\n";
    until("all bodies to be given up", SOON, || raw::exchange(&house, who).status == 200);
    house.check();
}

/// Answers that nobody reads take no place of those that are quick, and no memory.
#[test]
fn answers_wait_outside() {
    let mut house = house_with("max-requests = 2\nmax-waiting = 2\nmax-transfers = 4");
    house.start_server();
    let path = house.path().join("large");
    std::fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
    house.client(&["artifact", "create", "debusine:test", "--upload", path.to_str().unwrap()]);
    let before = crate::memory(&house);
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut socket = raw::connect(&house);
        write!(
            socket,
            "GET /debusine/System/artifact/1/raw/large HTTP/1.1\r\nHost: h\r\nToken: {}\r\n\r\n",
            key(&house)
        )
        .unwrap();
        let mut begin = [0; 15];
        socket.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
        readers.push(socket);
    }
    for _ in 0..20 {
        assert_serves(&house, "while four downloads stand still");
    }
    let after = crate::memory(&house);
    assert!(after <= before + 32, "{before} MiB before, {after} MiB while four downloads stand still");
    assert_eq!(metric(&house, "debusine_http_in_progress{of=\"transfers\"}"), 4);
    // The fifth one waits, and is told to come back.
    let fifth = format!("GET /debusine/System/artifact/1/raw/large HTTP/1.1\r\nHost: h\r\nToken: {}\r\n", key(&house));
    let answer = raw::exchange(&house, &fifth);
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    drop(readers);
    until("places for downloads", SOON, || {
        raw::exchange(&house, &fifth.replace("GET", "HEAD")).status == 200 && free(&house)
    });
}

fn free(house: &House) -> bool {
    metric(house, "debusine_http_in_progress{of=\"transfers\"}") == 0
}
