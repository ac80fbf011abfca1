//! The messages in the file of a live log, read from any place where one begins, in pieces as the disk gives them.

use std::borrow::Cow;
use std::ops::ControlFlow;

use serde::Deserialize;
use usine_protocol::channel::LogStream;

/// One message: text, or the end of a command. Flat and borrowed where that is possible, because a long log has millions.
#[derive(Debug, Deserialize)]
pub(crate) struct Record<'a> {
    /// The text; none at the end of a command.
    #[serde(borrow, default)]
    pub data: Cow<'a, str>,
    /// Where the text comes from.
    #[serde(default = "stdout")]
    pub stream: LogStream,
    /// When, as it is written.
    #[serde(borrow, default)]
    pub timestamp: Cow<'a, str>,
    /// The exit code, at the end of a command.
    #[serde(default)]
    pub exit_code: Option<i32>,
}

fn stdout() -> LogStream {
    LogStream::Stdout
}

/// Takes bytes and gives messages.
#[derive(Debug)]
pub(crate) struct Records {
    /// The beginning of a message whose end has not come yet. Messages have a largest size, as the worker's channel has.
    carry: Vec<u8>,
    /// Where that message begins in the file.
    at: u64,
}

impl Records {
    /// For bytes from this place on, where a message begins.
    pub fn starting_at(at: u64) -> Self {
        Self { carry: Vec::new(), at }
    }

    /// The end of the last whole message: where reading can go on.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Drops what came of a message that is not whole: the next bytes begin at [`Records::at`] again.
    pub fn rewind(&mut self) {
        self.carry.clear();
    }

    /// Gives `each` message that is whole now, with the place where it begins. What is none (a crash may leave half a line) is
    /// passed by.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(u64, &Record<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let begin = self.at;
            let flow = if self.carry.is_empty() {
                self.at += line.len() as u64;
                take(line, begin, &mut each)
            } else {
                self.carry.extend_from_slice(line);
                self.at += self.carry.len() as u64;
                let flow = take(&self.carry, begin, &mut each);
                self.carry.clear();
                flow
            };
            flow?;
        }
        self.carry.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }
}

fn take(line: &[u8], at: u64, each: &mut impl FnMut(u64, &Record<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
    match serde_json::from_slice(line) {
        Ok(record) => each(at, &record),
        Err(_) => ControlFlow::Continue(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        b"{\"type\":\"log_data\",\"data\":\"a\\tb\\n\",\"stream\":\"stderr\",\"timestamp\":\"2026-03-01T10:20:30Z\"}\n\
        {\"type\":\"log_da{\"type\":\"log_data\"}\n\
        {\"type\":\"log_data_end\",\"exit_code\":-1,\"timestamp\":\"2026-03-01T10:20:31Z\"}   \n";

    #[test]
    fn messages_are_found_wherever_the_pieces_break() {
        for size in 1..FILE.len() {
            let mut records = Records::starting_at(100);
            let mut found = Vec::new();
            for piece in FILE.chunks(size) {
                let _ = records.feed(piece, |at, record| {
                    found.push((at, record.data.to_string(), record.stream, record.exit_code));
                    ControlFlow::Continue(())
                });
            }
            assert_eq!(records.at(), 100 + FILE.len() as u64);
            let end = FILE.len() as u64 - 77 + 100;
            assert_eq!(found[0], (100, "a\tb\n".to_owned(), LogStream::Stderr, None));
            assert_eq!((found.len(), found[1].0, found[1].3), (2, end, Some(-1)), "{size}");
        }
    }
}
