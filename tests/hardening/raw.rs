//! HTTP byte by byte, as no decent client sends it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::house::House;

/// Longest that the server may take on a busy machine; what is longer counts as no answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// 0 if the connection was closed without a word.
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found =
            self.head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }
}

/// A connection to the server.
pub fn connect(house: &House) -> TcpStream {
    let socket = TcpStream::connect(house.url().strip_prefix("http://").unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a head without its last empty line, and reads until the server closes the connection.
pub fn exchange(house: &House, head: &str) -> Answer {
    send(house, format!("{head}Connection: close\r\n\r\n").as_bytes())
}

/// Sends bytes, and reads until the server closes the connection.
pub fn send(house: &House, bytes: &[u8]) -> Answer {
    let mut socket = connect(house);
    // The server may have refused before it has read everything.
    let _ = socket.write_all(bytes);
    read(&mut socket)
}

/// Reads until the server closes the connection.
pub fn read(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no end of the answer: {error}: {}", String::from_utf8_lossy(&bytes)),
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
