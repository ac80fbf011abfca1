//! What a line looks like in the end: without the commands to a terminal that are in it, and of bounded length.

/// Longest line that is shown, in characters.
pub(super) const LONGEST: usize = 10_000;

/// What stands at the end of a line that was longer.
pub(super) const MARK: &str = " … [the line is longer]";

/// Bytes that are kept of a line: any character has at most 4.
const KEPT: usize = 4 * LONGEST + 4;

/// Collects a line piece by piece. Of a progress bar, which returns to the beginning of the line again and again, its last state
/// is left.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    kept: Vec<u8>,
    state: State,
    /// The line was returned to its beginning: what comes next replaces it.
    returned: bool,
    longer: bool,
}

/// Where in an escape sequence (ECMA-48) the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// After ESC, and what stands between it and its last byte.
    Escape,
    /// In a control sequence: ESC `[` … up to a byte from `@` to `~`.
    Control,
    /// In a string, such as the title of a window: up to BEL or ESC `\`.
    String,
    /// In a string after an ESC.
    StringEscape,
}

impl Cleaner {
    /// Adds a piece of the line.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if self.state == State::Text {
                let plain = bytes.iter().position(|&byte| is_control(byte)).unwrap_or(bytes.len());
                self.keep(&bytes[..plain]);
                let Some(&control) = bytes.get(plain) else { return };
                bytes = &bytes[plain + 1..];
                match control {
                    b'\x1b' => self.state = State::Escape,
                    b'\r' => self.returned = true,
                    b'\x08' => self.back(),
                    _ => {}
                }
                continue;
            }
            bytes = &bytes[1..];
            self.state = match (self.state, first) {
                (State::Escape, b'[') => State::Control,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
                (State::Escape, b' '..=b'/') => State::Escape,
                (State::Control, b' '..=b'?') => State::Control,
                (State::String, b'\x07') => State::Text,
                (State::String | State::StringEscape, b'\x1b') => State::StringEscape,
                (State::StringEscape, b'\\') => State::Text,
                (State::String | State::StringEscape, _) => State::String,
                _ => State::Text,
            };
        }
    }

    /// The line. What comes next is another one.
    pub fn finish(&mut self) -> String {
        let mut longer = self.longer;
        (self.state, self.returned, self.longer) = Default::default();
        let kept = std::mem::take(&mut self.kept);
        // Nearly all lines are like this.
        if !longer && kept.len() <= LONGEST && kept.is_ascii() {
            return String::from_utf8(kept).unwrap_or_default();
        }
        let text = String::from_utf8_lossy(&kept);
        let mut line = String::with_capacity(text.len());
        // Control characters beyond ASCII are no text either.
        let characters = text.chars().filter(|&character| character == '\t' || !character.is_control());
        for (count, character) in characters.enumerate() {
            if count == LONGEST {
                longer = true;
                break;
            }
            line.push(character);
        }
        if longer {
            line.push_str(MARK);
        }
        line
    }

    fn keep(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.returned) {
            self.kept.clear();
            self.longer = false;
        }
        let room = KEPT - self.kept.len();
        self.longer |= text.len() > room;
        self.kept.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// One character back, as spinners do.
    fn back(&mut self) {
        if !self.returned {
            while self.kept.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
        }
    }
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == b'\x7f'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        let whole = {
            let mut cleaner = Cleaner::default();
            cleaner.push(text.as_bytes());
            cleaner.finish()
        };
        let mut cleaner = Cleaner::default();
        text.bytes().for_each(|byte| cleaner.push(&[byte]));
        assert_eq!(cleaner.finish(), whole, "the pieces make no difference");
        whole
    }

    #[test]
    fn commands_to_terminals_are_left_out() {
        for (text, seen) in [
            ("plain\ttext ä", "plain\ttext ä"),
            ("\x1b[1;31merror\x1b[0m: x", "error: x"),
            ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "textlink"),
            ("\x1b(Bx\x1b=y\x1bMz", "xyz"),
            ("\x1b[12", ""),
            ("bell\x07 nul\0 del\x7f c1\u{9b}", "bell nul del c1"),
            ("10%\r20%\r30%\r", "30%"),
            ("windows\r", "windows"),
            ("100%\r\x1b[Kdone", "done"),
            ("|\x08/\x08-\x08ä\x08ok", "ok"),
            ("", ""),
        ] {
            assert_eq!(clean(text), seen, "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_with_a_mark() {
        let just = "ä".repeat(LONGEST);
        assert_eq!(clean(&just), just);
        assert_eq!(clean(&format!("{just}x")), format!("{just}{MARK}"));
        let mut cleaner = Cleaner::default();
        for _ in 0..1000 {
            cleaner.push("€".repeat(1000).as_bytes());
        }
        let line = cleaner.finish();
        assert_eq!(line.chars().count(), LONGEST + MARK.chars().count());
        cleaner.push(b"next");
        assert_eq!(cleaner.finish(), "next");
    }
}
