//! A server that says what a test wants, for calls that need a person at the other end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

/// What came.
#[derive(Debug)]
pub struct Request {
    /// Method and path.
    pub line: String,
    /// The body, null if there is none.
    pub body: Value,
}

/// An answer: status, content type, body.
pub type Answer = (u16, &'static str, Vec<u8>);

/// Answers requests, one after the other; gives its address. A body is sent line by line, with pauses.
pub fn serve(answer: impl Fn(&Request) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let request = read(&connection);
            // The client may have gone.
            let _ = write(&mut connection, &answer(&request));
        }
    });
    format!("http://{address}")
}

fn read(connection: &TcpStream) -> Request {
    let mut reader = BufReader::new(connection);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let line = head[0].strip_suffix(" HTTP/1.1").unwrap().to_owned();
    Request { line, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

fn write(connection: &mut TcpStream, (status, content_type, body): &Answer) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    for (number, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if number > 0 && number < 4 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        connection.write_all(format!("{:x}\r\n", line.len()).as_bytes())?;
        connection.write_all(line)?;
        connection.write_all(b"\r\n")?;
    }
    connection.write_all(b"0\r\n\r\n")
}
