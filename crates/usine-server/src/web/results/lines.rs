//! Lines of text as pages show them: what strangers wrote becomes something that a browser shows and nothing acts on.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use askama::Template;

/// Longest line that is shown whole, in bytes.
const MAX_LINE: usize = 16 * 1024;
/// Lines that are kept, so that a file of nothing but line ends does not fill the memory.
const MAX_LINES: usize = 4_000_000;
/// What a line costs on the page beside its text, in bytes.
const LINE_OVERHEAD: usize = 16;

/// A text in which nothing is left that a terminal or a browser would act on. Lines are numbered as in the file.
pub struct Text {
    clean: String,
    ends: Vec<usize>,
    /// Lines of the file before the first of these.
    before: usize,
}

impl Text {
    /// Takes bytes for UTF-8, with replacement characters for what is not.
    pub fn new(bytes: &[u8]) -> Self {
        let mut clean = clean(&String::from_utf8_lossy(bytes)).into_owned();
        if !clean.is_empty() && !clean.ends_with('\n') {
            clean.push('\n');
        }
        let ends: Vec<usize> = clean.match_indices('\n').map(|(end, _)| end).take(MAX_LINES).collect();
        clean.truncate(ends.last().map_or(0, |end| end + 1));
        Self { clean, ends, before: 0 }
    }

    /// The same for the end of a file, before which there are so many lines.
    pub fn after(self, before: usize) -> Self {
        Self { before, ..self }
    }

    /// The number of the line with this index, in the file.
    pub fn number(&self, index: usize) -> usize {
        self.before + index + 1
    }

    /// How many lines there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The line with this index, without its end; empty if there is none.
    pub fn line(&self, index: usize) -> &str {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1);
        self.ends.get(index).and_then(|end| self.clean.get(start..*end)).unwrap_or_default()
    }

    /// All lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        (0..self.count()).map(|index| self.line(index))
    }

    /// Bytes that these lines take on a page, about.
    pub fn cost(&self, lines: Range<usize>) -> usize {
        let end = |index: usize| self.ends.get(index).map_or(self.clean.len(), |end| end + 1);
        let start = lines.start.checked_sub(1).map_or(0, end);
        let bytes = lines.end.checked_sub(1).map_or(0, end).saturating_sub(start);
        bytes.saturating_add(lines.len().saturating_mul(LINE_OVERHEAD))
    }

    /// These lines as far as `budget` bytes reach: the first and the last ones, a third of the budget for the first.
    pub fn piece(&self, lines: Range<usize>, budget: usize) -> Piece<'_> {
        let lines = lines.start..lines.end.min(self.count());
        if self.cost(lines.clone()) <= budget {
            return self.runs([lines]);
        }
        let head = lines.start + self.reach(lines.clone(), budget / 3);
        let tail = lines.end - self.reach((head..lines.end).rev(), budget - budget / 3);
        self.runs([lines.start..head, tail..lines.end])
    }

    /// Where a beginning and an end of so many bytes each meet the rest.
    pub fn ends_within(&self, budget: usize) -> (usize, usize) {
        let head = self.reach(0..self.count(), budget);
        (head, self.count() - self.reach((head..self.count()).rev(), budget))
    }

    /// How many of these lines fit into the budget.
    fn reach(&self, lines: impl Iterator<Item = usize>, budget: usize) -> usize {
        let mut spent = 0;
        let fits = |index: &usize| {
            spent += self.line(*index).len().min(MAX_LINE) + LINE_OVERHEAD;
            spent <= budget
        };
        lines.take_while(fits).count()
    }

    /// Runs of lines, in order, with a note for what lies between them.
    pub fn runs(&self, runs: impl IntoIterator<Item = Range<usize>>) -> Piece<'_> {
        let mut piece = Piece { parts: Vec::new() };
        let mut next = None;
        for run in runs {
            if let Some(next) = next
                && run.start > next
            {
                piece.parts.push(Part::LeftOut(run.start - next));
            }
            next = Some(run.end);
            piece.parts.extend(run.map(|index| {
                let whole = self.line(index);
                Part::Line(Line { number: self.number(index), text: shortened(whole), class: "" })
            }));
        }
        piece
    }
}

/// What strangers wrote elsewhere than in a file, made harmless: one line or several.
pub fn harmless(raw: &str) -> String {
    let text = Text::new(raw.as_bytes());
    let lines: Vec<_> = text.lines().map(shortened).collect();
    lines.join("\n")
}

/// The line, or its beginning with a note.
pub fn shortened(line: &str) -> Cow<'_, str> {
    if line.len() <= MAX_LINE {
        return Cow::Borrowed(line);
    }
    let end = line.floor_char_boundary(MAX_LINE);
    Cow::Owned(format!("{}… ({} more bytes)", &line[..end], line.len() - end))
}

/// A line of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Without its end.
    pub text: Cow<'a, str>,
    /// A word for the sheet, or nothing.
    pub class: &'static str,
}

/// A line, or a note that some are not there.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A line.
    Line(Line<'a>),
    /// That many lines are left out.
    LeftOut(usize),
}

/// Numbered lines, each with an anchor `L<number>`.
#[derive(Template, Debug, PartialEq, Eq)]
#[template(path = "results/lines.html")]
pub struct Piece<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Piece<'a> {
    /// Gives a class to each line for which there is one.
    pub fn classed(mut self, class: impl Fn(usize, &str) -> &'static str) -> Self {
        for part in &mut self.parts {
            if let Part::Line(line) = part {
                line.class = class(line.number, &line.text);
            }
        }
        self
    }

    /// Whether lines are left out.
    pub fn is_cut(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::LeftOut(_)))
    }

    /// Whether the line with this number is there.
    pub fn has(&self, number: usize) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Line(line) if line.number == number))
    }

    /// What is shown.
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }
}

/// Removes what ECMA-48 calls control sequences (colours, cursor), and shows other control characters: a carriage return
/// as `^M`. Marks that turn the direction of text could make it read as something else; they are shown by their names.
fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| is_control(c) || is_turn(c)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => match rest.next() {
                // CSI: parameters and intermediates up to a final character, on one line.
                Some('[') => {
                    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    rest.next_if(|c| matches!(c, '@'..='~'));
                }
                // OSC, as for titles and links: up to BEL or ST.
                Some(']') => {
                    while let Some(c) = rest.next_if(|c| *c != '\n') {
                        if c == '\x07' || c == '\x1b' && rest.next_if_eq(&'\\').is_some() {
                            break;
                        }
                    }
                }
                Some('(' | ')') => drop(rest.next_if(|c| *c != '\n')),
                Some('\n') => clean.push('\n'),
                _ => {}
            },
            c if is_control(c) => {
                clean.push('^');
                clean.push(char::from((c as u32 as u8) ^ 0x40));
            }
            c if is_turn(c) => {
                let _ = write!(clean, "<U+{:04X}>", c as u32);
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

fn is_control(c: char) -> bool {
    c.is_ascii_control() && !matches!(c, '\n' | '\t')
}

fn is_turn(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(piece: &Piece<'_>) -> Vec<isize> {
        let number = |part: &Part<'_>| match part {
            Part::Line(line) => line.number as isize,
            Part::LeftOut(count) => -(*count as isize),
        };
        piece.parts().iter().map(number).collect()
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let text = Text::new(b"one\r\n\n\x1b[31;1mthree\x1b[0m\tx\ncaf\xe9\0\x7f");
        assert_eq!(text.lines().collect::<Vec<_>>(), ["one^M", "", "three\tx", "caf\u{fffd}^@^?"]);
        assert_eq!(Text::new(b"").count(), 0);
        assert_eq!(Text::new(b"a\n").count(), 1);
        assert_eq!(text.line(7), "");
    }

    #[test]
    fn nothing_acts_on_the_reader() {
        for (raw, shown) in [
            ("\x1b]0;title\x07a", "a"),
            ("\x1b]8;;http://e.org\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]never ended\nb", "\nb"),
            ("\x1b[12\nb", "\nb"),
            ("\x1b(Bb\x1bc", "b"),
            ("\x1b", ""),
            ("a\u{202e}b", "a<U+202E>b"),
            ("50%\r60%", "50%^M60%"),
        ] {
            assert_eq!(clean(raw), shown, "{raw:?}");
        }
    }

    #[test]
    fn the_middle_is_left_out() {
        let text = Text::new("0123456789\n".repeat(100).as_bytes());
        assert_eq!(numbers(&text.piece(0..3, 1000)), [1, 2, 3]);
        assert_eq!(text.cost(0..100), 2700);
        let cut = text.piece(10..100, 27 * 9);
        assert_eq!(numbers(&cut), [11, 12, 13, -81, 95, 96, 97, 98, 99, 100]);
        assert!(cut.is_cut());
        assert_eq!(numbers(&text.piece(10..100, 1)), [-90]);
        assert_eq!(numbers(&text.runs([0..1, 1..2, 5..6])), [1, 2, -3, 6]);
        assert_eq!(numbers(&text.after(1000).runs([0..1, 9..10])), [1001, -8, 1010]);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let long = "é".repeat(MAX_LINE);
        assert_eq!(shortened(&long).len(), MAX_LINE + "… (16384 more bytes)".len());
        assert_eq!(shortened("é"), "é");
    }

    #[test]
    fn markup_is_text() {
        let text = Text::new(b"<b>&\"");
        let html = text.piece(0..1, 100).classed(|_, _| "bad").render().unwrap();
        assert!(html.contains("id=\"L1\"") && html.contains("href=\"#L1\"") && html.contains("bad"), "{html}");
        assert!(html.contains("&#60;b&#62;&#38;&#34;"), "{html}");
    }
}
