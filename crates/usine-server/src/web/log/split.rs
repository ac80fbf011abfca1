//! From bytes to pieces of lines: where lines begin and end, in a plain file and in the messages of a live log.
//!
//! A line of a live log is what its messages make together. Another stream, or the end of a command, ends a line.

use std::ops::ControlFlow;

use usine_protocol::channel::LogStream;

use crate::live_log::{Record, Records};

/// Whether to go on.
pub(super) type Flow = ControlFlow<()>;

/// Where a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The byte of the file; in a live log, of the message.
    pub byte: u64,
    /// Bytes of the text of that message that belong to earlier lines.
    pub skip: usize,
}

/// A part of a line.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Where the line begins, if this is its first piece.
    pub begins: Option<Place>,
    /// The text, without the end of the line.
    pub text: &'a [u8],
    /// Whether the line ends here.
    pub ends: bool,
    /// Where it comes from.
    pub stream: LogStream,
    /// When it was written, if that is known.
    pub time: &'a str,
}

/// Whoever wants the pieces.
pub(super) trait Sink {
    /// The next one.
    fn piece(&mut self, piece: Piece<'_>) -> Flow;

    /// The line that was begun ends without a newline.
    fn cut(&mut self) -> Flow;
}

/// Takes bytes and gives pieces.
#[derive(Debug)]
pub(super) struct Splitter {
    form: Form,
    lines: Lines,
}

#[derive(Debug)]
enum Form {
    /// A text file, from this byte on.
    Plain(u64),
    /// A live log, with the bytes of the first text that are passed by.
    Messages(Records, usize),
}

/// How far the lines are.
#[derive(Debug, Default)]
struct Lines {
    /// The stream of the line that has begun and not ended.
    open: Option<LogStream>,
    exit_code: Option<i32>,
}

impl Splitter {
    /// For a text file, from the beginning of a line.
    pub fn plain(place: Place) -> Self {
        Self { form: Form::Plain(place.byte), lines: Lines::default() }
    }

    /// For a live log, from the beginning of a line.
    pub fn messages(place: Place) -> Self {
        Self { form: Form::Messages(Records::starting_at(place.byte), place.skip), lines: Lines::default() }
    }

    /// Where to read on when more is there.
    pub fn at(&self) -> u64 {
        match &self.form {
            Form::Plain(at) => *at,
            Form::Messages(records, _) => records.at(),
        }
    }

    /// The next bytes begin at [`Splitter::at`], whatever was fed beyond it.
    pub fn rewind(&mut self) {
        if let Form::Messages(records, _) = &mut self.form {
            records.rewind();
        }
    }

    /// Whether the last line may still get longer.
    pub fn is_open(&self) -> bool {
        self.lines.open.is_some()
    }

    /// How the last command ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.lines.exit_code
    }

    /// Gives the pieces of these bytes.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Flow {
        let Self { form, lines } = self;
        match form {
            Form::Plain(at) => {
                let begin = *at;
                *at += bytes.len() as u64;
                let place = |offset| Place { byte: begin + offset as u64, skip: 0 };
                lines.text(bytes, LogStream::Stdout, "", place, sink)
            }
            Form::Messages(records, skip) => {
                records.feed(bytes, |at, record| lines.record(at, record, std::mem::take(skip), sink))
            }
        }
    }
}

impl Lines {
    fn record(&mut self, at: u64, record: &Record<'_>, skip: usize, sink: &mut impl Sink) -> Flow {
        let ends_command = record.exit_code.is_some();
        if ends_command {
            self.exit_code = record.exit_code;
        }
        let text = record.data.as_bytes().get(skip..).unwrap_or_default();
        let other = ends_command || (!text.is_empty() && self.open.is_some_and(|stream| stream != record.stream));
        if other && self.open.take().is_some() {
            sink.cut()?;
        }
        let place = |offset| Place { byte: at, skip: skip + offset };
        self.text(text, record.stream, &record.timestamp, place, sink)
    }

    /// Splits one text.
    fn text(
        &mut self,
        text: &[u8],
        stream: LogStream,
        time: &str,
        place: impl Fn(usize) -> Place,
        sink: &mut impl Sink,
    ) -> Flow {
        let mut offset = 0;
        while offset < text.len() {
            let end = memchr::memchr(b'\n', &text[offset..]).map(|length| offset + length);
            let begins = self.open.is_none().then(|| place(offset));
            let part = &text[offset..end.unwrap_or(text.len())];
            // Before the sink may stop all this.
            self.open = end.is_none().then_some(stream);
            sink.piece(Piece { begins, text: part, ends: end.is_some(), stream, time })?;
            offset = end.map_or(text.len(), |end| end + 1);
        }
        Flow::Continue(())
    }
}
