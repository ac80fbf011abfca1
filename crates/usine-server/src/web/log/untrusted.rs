//! The lines of logs, and what is asked of them: for `usine-fuzz` (see [`crate::untrusted`]).

use std::ops::ControlFlow;

use super::Search;
use super::split::{Flow, Piece, Place, Sink, Splitter};
use super::text::Cleaner;

/// Lines, with the places where they begin.
#[derive(Debug, Default, PartialEq)]
struct Lines {
    lines: Vec<(Option<Place>, String)>,
    begins: Option<Place>,
    open: Option<String>,
}

impl Lines {
    fn end(&mut self) {
        let mut cleaner = Cleaner::default();
        cleaner.push(self.open.take().unwrap_or_default().as_bytes());
        self.lines.push((self.begins.take(), cleaner.finish()));
    }
}

impl Sink for Lines {
    fn piece(&mut self, piece: Piece<'_>) -> Flow {
        if piece.begins.is_some() {
            self.begins = piece.begins;
        }
        self.open.get_or_insert_default().push_str(&String::from_utf8_lossy(piece.text).replace('\u{fffd}', "?"));
        if piece.ends {
            self.end();
        }
        ControlFlow::Continue(())
    }

    fn cut(&mut self) -> Flow {
        self.end();
        ControlFlow::Continue(())
    }
}

/// A log of messages, and a plain one: lines are the same wherever the pieces break, and begin where they are said to.
pub fn live_log(input: &[u8]) {
    // Where a piece breaks a character, its halves are two.
    let text: Vec<u8> = input.iter().map(|byte| byte & 0x7f).collect();
    let kinds: [fn(Place) -> Splitter; 2] = [Splitter::plain, Splitter::messages];
    for splitter in kinds {
        let (mut whole, mut reader) = (Lines::default(), splitter(Place::default()));
        let _ = reader.feed(&text, &mut whole);
        for size in [1, 7, 4096] {
            let (mut pieces, mut reader) = (Lines::default(), splitter(Place::default()));
            for piece in text.chunks(size) {
                let _ = reader.feed(piece, &mut pieces);
            }
            assert_eq!(whole, pieces, "in pieces of {size} bytes");
        }
        if let Some((Some(place), line)) = whole.lines.last() {
            let (mut rest, mut reader) = (Lines::default(), splitter(*place));
            let from = usize::try_from(place.byte).unwrap_or_default();
            let _ = reader.feed(&text[from..], &mut rest);
            assert_eq!(rest.lines.first().map(|(_, line)| line), Some(line), "read from its beginning");
        }
        assert!(whole.lines.iter().all(|(_, line)| !line.contains('\x1b')));
    }
}

/// A search.
pub(crate) fn query(query: &str) {
    if let Ok(search) = Search::parse(query) {
        assert!(search.from >= 1 && search.limit >= 1);
    }
}
