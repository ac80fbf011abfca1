//! Lines by number, and lines that have a text in them.

use std::io;
use std::ops::ControlFlow;

use futures::StreamExt;
use regex::Regex;
use serde::Serialize;
use usine_protocol::channel::LogStream;

use super::LogPages;
use super::index::{Extent, Mark};
use super::source::LogSource;
use super::split::{Flow, Piece, Sink};
use super::text::Cleaner;

/// Bytes of text after which a page ends before it has all its lines.
const PAGE: usize = 12 << 20;

/// Bytes that one search reads before it says how far it came.
const SEARCHED: u64 = 16 << 20;

/// A line as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// Its text.
    pub text: String,
    /// Where it comes from.
    pub stream: LogStream,
    /// When it was begun, if that is known.
    pub time: Option<String>,
}

/// Up to `count` lines from a number on, and how the log stands. Less only at its end, or when lines are very long.
pub(super) async fn lines(
    pages: &LogPages,
    source: &LogSource,
    from: u64,
    count: u64,
) -> io::Result<(Extent, Vec<Line>)> {
    let (extent, mark) = pages.locate(source, from).await?;
    let mut lines = Vec::new();
    let mut size = 0;
    if count > 0 && from <= extent.total {
        let end = from.saturating_add(count);
        let each = |line: Line| {
            let last = line.n + 1 >= end;
            size += line.text.len();
            lines.push(line);
            if last || size > PAGE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        scan(source, mark, extent.end, from, u64::MAX, each).await?;
    }
    Ok((extent, lines))
}

/// What a search found.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// Numbers of lines.
    pub matches: Vec<u64>,
    /// Where to go on; `None` when all has been looked at that is there.
    pub next: Option<u64>,
}

/// The first lines from a number on that the pattern matches, at most `limit`.
pub(super) async fn search(
    pages: &LogPages,
    source: &LogSource,
    pattern: &Regex,
    from: u64,
    limit: usize,
) -> io::Result<Found> {
    let (extent, mark) = pages.locate(source, from).await?;
    let mut matches = Vec::new();
    if from > extent.total {
        return Ok(Found { matches, next: None });
    }
    let each = |line: Line| {
        if pattern.is_match(&line.text) {
            matches.push(line.n);
        }
        if matches.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let last = scan(source, mark, extent.end, from, SEARCHED, each).await?;
    Ok(Found { matches, next: (last < extent.total).then_some(last + 1) })
}

/// Gives `each` line from a number on, until it has enough, or more than `budget` bytes were read and at least one line was
/// given. The number of the last one.
async fn scan(
    source: &LogSource,
    mark: Mark,
    end: u64,
    from: u64,
    budget: u64,
    each: impl FnMut(Line) -> Flow,
) -> io::Result<u64> {
    let mut collector =
        Collector { number: mark.line - 1, from, cleaner: Cleaner::default(), line: None, last: from - 1, each };
    let mut splitter = source.splitter(mark.place);
    let mut bytes = source.read(mark.place.byte, end).await?;
    let mut read = 0;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        read += piece.len() as u64;
        let enough = splitter.feed(&piece, &mut collector).is_break();
        if enough || (read >= budget && collector.last >= from) {
            return Ok(collector.last);
        }
    }
    let _ = collector.cut();
    Ok(collector.last)
}

/// Makes lines of pieces.
struct Collector<F> {
    /// Of the line that was begun last.
    number: u64,
    from: u64,
    cleaner: Cleaner,
    /// The line that is being collected.
    line: Option<(LogStream, Option<String>)>,
    /// The number of the last line given.
    last: u64,
    each: F,
}

impl<F: FnMut(Line) -> Flow> Sink for Collector<F> {
    fn piece(&mut self, piece: Piece<'_>) -> Flow {
        if piece.begins.is_some() {
            self.number += 1;
            if self.number >= self.from {
                self.line = Some((piece.stream, (!piece.time.is_empty()).then(|| piece.time.to_owned())));
            }
        }
        if self.line.is_some() {
            self.cleaner.push(piece.text);
        }
        if piece.ends { self.cut() } else { Flow::Continue(()) }
    }

    fn cut(&mut self) -> Flow {
        let Some((stream, time)) = self.line.take() else { return Flow::Continue(()) };
        self.last = self.number;
        (self.each)(Line { n: self.number, text: self.cleaner.finish(), stream, time })
    }
}
