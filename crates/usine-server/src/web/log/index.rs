//! Where the lines of a log are: the place of about every thousandth one, found in one pass and continued as the log grows.

use std::io;

use futures::StreamExt;

use super::source::LogSource;
use super::split::{Flow, Piece, Place, Sink, Splitter};

/// A place is noted after so many lines,
const LINES: u64 = 1000;

/// or so many bytes, so that no page has to read more than this before it comes to its lines.
const BYTES: u64 = 256 << 10;

/// A line and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its number, from 1.
    pub line: u64,
    /// Where it begins.
    pub place: Place,
}

/// The lines of one log.
#[derive(Debug)]
pub(super) struct Index {
    splitter: Splitter,
    marks: Marks,
}

/// How a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Lines there are.
    pub total: u64,
    /// Whether the last one may still get longer.
    pub open: bool,
    /// Bytes in which these lines are.
    pub end: u64,
    /// How the last command ended.
    pub exit_code: Option<i32>,
}

#[derive(Debug, Default)]
struct Marks {
    total: u64,
    list: Vec<Mark>,
}

impl Index {
    /// Of a log that has not been looked at yet.
    pub fn new(source: &LogSource) -> Self {
        Self { splitter: source.splitter(Place::default()), marks: Marks::default() }
    }

    /// Takes in what has come since the last time. May be interrupted at any point, and goes on there.
    pub async fn update(&mut self, source: &LogSource) -> io::Result<Extent> {
        if source.length() < self.splitter.at() {
            // It is another log than it was.
            *self = Self::new(source);
        }
        self.splitter.rewind();
        if self.splitter.at() < source.length() {
            let mut bytes = source.read(self.splitter.at(), source.length()).await?;
            while let Some(piece) = bytes.next().await {
                let _ = self.splitter.feed(&piece?, &mut self.marks);
            }
        }
        Ok(Extent {
            total: self.marks.total,
            open: self.splitter.is_open(),
            end: self.splitter.at(),
            exit_code: self.splitter.exit_code(),
        })
    }

    /// The last known place at or before a line.
    pub fn before(&self, line: u64) -> Mark {
        let after = self.marks.list.partition_point(|mark| mark.line <= line);
        let first = Mark { line: 1, place: Place::default() };
        after.checked_sub(1).and_then(|at| self.marks.list.get(at)).copied().unwrap_or(first)
    }
}

impl Sink for Marks {
    fn piece(&mut self, piece: Piece<'_>) -> Flow {
        if let Some(place) = piece.begins {
            self.total += 1;
            let far = |last: &Mark| self.total - last.line >= LINES || place.byte - last.place.byte >= BYTES;
            if self.list.last().is_none_or(far) {
                self.list.push(Mark { line: self.total, place });
            }
        }
        Flow::Continue(())
    }

    fn cut(&mut self) -> Flow {
        Flow::Continue(())
    }
}
