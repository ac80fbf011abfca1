//! What debdiff(1) says. Of source packages: a diff, with a list of the files. Of binary packages: lists of files, and changed
//! control fields in the format of wdiff(1).

use std::borrow::Cow;
use std::ops::Range;

use askama::Template;
use usine_model::artifact::Debdiff;

use super::Address;
use super::lines::{Piece, Text, harmless, shortened};
use super::sections::MAX_SHOWN;

/// Files of a diff, or entries of a list, that are shown; all are counted.
const MAX_ENTRIES: usize = 2000;

/// What a report is.
#[derive(Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// Nothing differs.
    Nothing,
    /// A unified diff.
    Source(Vec<Changed<'a>>),
    /// Lists.
    Binary(Vec<Part<'a>>),
    /// Something else.
    Unknown,
}

/// A file that a diff changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed<'a> {
    path: Cow<'a, str>,
    /// `added`, `removed` or `modified`.
    kind: &'static str,
    added: usize,
    removed: usize,
    /// Indexes of its lines.
    lines: Range<usize>,
}

/// A titled part of a report on binary packages.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    title: &'a str,
    lines: Range<usize>,
}

/// Reads a report.
pub fn parse(text: &Text) -> Report<'_> {
    let changed = changed(text);
    if !changed.is_empty() {
        return Report::Source(changed);
    }
    let parts = parts(text);
    if !parts.is_empty() {
        return Report::Binary(parts);
    }
    let is_nothing = |line: &str| {
        line.is_empty()
            || line.starts_with("File lists identical")
            || line.starts_with("No differences were encountered")
    };
    if text.lines().all(is_nothing) { Report::Nothing } else { Report::Unknown }
}

/// The files of a diff. Lines of hunks are counted by the hunks' own numbers, so that no content looks like a header.
fn changed(text: &Text) -> Vec<Changed<'_>> {
    let mut found: Vec<Changed<'_>> = Vec::new();
    // Lines that the hunk still has of the old and of the new file.
    let (mut old, mut new) = (0_usize, 0_usize);
    for (index, line) in text.lines().enumerate() {
        if old > 0 || new > 0 {
            let Some(file) = found.last_mut() else { continue };
            match line.as_bytes().first() {
                Some(b'+') => (file.added, new) = (file.added + 1, new.saturating_sub(1)),
                Some(b'-') => (file.removed, old) = (file.removed + 1, old.saturating_sub(1)),
                Some(b'\\') => {}
                _ => (old, new) = (old.saturating_sub(1), new.saturating_sub(1)),
            }
        } else if let Some(counts) = hunk(line) {
            (old, new) = counts;
        } else if let Some(names) = line.strip_prefix("diff -") {
            if let Some(last) = found.last_mut() {
                last.lines.end = index;
            }
            let path = names.rsplit_once(' ').map_or(names, |(_, path)| path);
            found.push(Changed {
                path: without_top(path),
                kind: "modified",
                added: 0,
                removed: 0,
                lines: index..index,
            });
        } else if let Some(file) = found.last_mut() {
            // What is not there is as old as time.
            match line.get(..4) {
                Some("--- ") if line.contains("\t1970-01-01 00:00:00") => file.kind = "added",
                Some("+++ ") if line.contains("\t1970-01-01 00:00:00") => file.kind = "removed",
                _ => {}
            }
        }
    }
    if let Some(last) = found.last_mut() {
        last.lines.end = text.count();
    }
    found
}

/// The path without the name of the unpacked package.
fn without_top(path: &str) -> Cow<'_, str> {
    shortened(path.split_once('/').map_or(path, |(_, rest)| rest))
}

/// `@@ -old,count +new,count @@`: how many lines of each; a missing count is one.
fn hunk(line: &str) -> Option<(usize, usize)> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let count = |range: &str| range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok());
    Some((count(old)?, count(new)?))
}

/// Titles with a line of hyphens below.
fn parts(text: &Text) -> Vec<Part<'_>> {
    let mut found: Vec<Part<'_>> = Vec::new();
    for index in 0..text.count() {
        let (title, below) = (text.line(index), text.line(index + 1));
        let is_title = below.len() >= 10 && below.bytes().all(|b| b == b'-') && below.len() == title.chars().count();
        if is_title && !title.starts_with('-') {
            if let Some(last) = found.last_mut() {
                last.lines.end = index;
            }
            found.push(Part { title, lines: index + 2..index + 2 });
        }
    }
    if let Some(last) = found.last_mut() {
        last.lines.end = text.count();
    }
    found
}

/// A word of a line in the format of wdiff, and how it changed.
#[derive(Debug, PartialEq, Eq)]
struct Word<'a> {
    tag: &'static str,
    text: &'a str,
}

/// `Version: [-1.0-] {+1.2+}`: the marks stay, so that colours are not all there is.
fn words(line: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    // Each byte is looked at a few times at most: a mark without an end is not looked for again.
    let (mut plain, mut at) = (0, 0);
    let mut is_closed = [true, true];
    while let Some(next) = line[at..].find(['[', '{']).map(|offset| at + offset) {
        let marks = [("[-", "-]", "del"), ("{+", "+}", "ins")];
        let mark =
            marks.into_iter().enumerate().find(|(kind, mark)| is_closed[*kind] && line[next..].starts_with(mark.0));
        let Some((kind, (_, close, tag))) = mark else {
            at = next + 1;
            continue;
        };
        let Some(end) = line[next + 2..].find(close).map(|offset| next + 4 + offset) else {
            is_closed[kind] = false;
            continue;
        };
        if next > plain {
            found.push(Word { tag: "", text: &line[plain..next] });
        }
        found.push(Word { tag, text: &line[next..end] });
        (plain, at) = (end, end);
    }
    if plain < line.len() {
        found.push(Word { tag: "", text: &line[plain..] });
    }
    found
}

struct Shown<'a> {
    title: &'a str,
    class: &'static str,
    count: usize,
    is_list: bool,
    lines: Vec<Cow<'a, str>>,
}

impl Shown<'_> {
    fn words<'b>(&self, line: &'b str) -> Vec<Word<'b>> {
        if self.is_list { vec![Word { tag: "", text: line }] } else { words(line) }
    }
}

/// A part, as far as what is left of the budget reaches.
fn shown<'a>(text: &'a Text, part: &Part<'a>, left: &mut usize) -> Shown<'a> {
    let lines = part.lines.clone().map(|index| text.line(index)).filter(|line| !line.trim().is_empty());
    let is_list = part.title.starts_with("Files in ") || part.title.starts_with("Files moved");
    let class = match part.title {
        title if title.contains("in second") && title.contains("not in first") => "ins",
        title if title.contains("in first") && title.contains("not in second") => "del",
        _ => "",
    };
    let count = lines.clone().count();
    let fits = |line: &Cow<'_, str>| {
        let is_there = *left >= line.len();
        *left = left.saturating_sub(line.len().max(1));
        is_there
    };
    let lines = lines.take(MAX_ENTRIES).map(shortened).take_while(fits).collect();
    Shown { title: part.title, class, count, is_list, lines }
}

#[derive(Template)]
#[template(path = "results/debdiff.html")]
struct Page<'a> {
    address: &'a Address,
    data: Option<&'a Debdiff>,
    is_nothing: bool,
    files: &'a [Changed<'a>],
    more: usize,
    added: usize,
    removed: usize,
    parts: Vec<Shown<'a>>,
    /// The diff, or all of a report that is not known.
    piece: Option<Piece<'a>>,
    first: Option<usize>,
    text: &'a Text,
}

impl Page<'_> {
    /// Where a file begins: in the piece if its line is there, else in the whole report.
    fn target(&self, file: &Changed<'_>) -> String {
        let number = self.text.number(file.lines.start);
        let is_there = self.piece.as_ref().is_some_and(|piece| piece.has(number));
        if is_there { format!("#L{number}") } else { self.address.line(number) }
    }
}

/// The view.
pub fn render(text: &Text, data: Option<&Debdiff>, address: &Address) -> askama::Result<String> {
    let report = parse(text);
    let (files, parts): (&[Changed<'_>], &[Part<'_>]) = match &report {
        Report::Source(files) => (files, &[]),
        Report::Binary(parts) => (&[], parts),
        Report::Nothing | Report::Unknown => (&[], &[]),
    };
    let whole = 0..text.count();
    let mut left = MAX_SHOWN;
    let piece = match &report {
        Report::Source(_) => Some(text.piece(whole, MAX_SHOWN).classed(|_, line| class(line))),
        Report::Unknown => Some(text.piece(whole, MAX_SHOWN)),
        Report::Binary(_) | Report::Nothing => None,
    };
    Page {
        address,
        data,
        is_nothing: report == Report::Nothing,
        files: &files[..files.len().min(MAX_ENTRIES)],
        more: files.len().saturating_sub(MAX_ENTRIES),
        added: files.iter().map(|file| file.added).sum(),
        removed: files.iter().map(|file| file.removed).sum(),
        parts: parts.iter().map(|part| shown(text, part, &mut left)).collect(),
        piece,
        first: files.first().map(|file| file.lines.start).filter(|start| *start > 0),
        text,
    }
    .render()
}

/// The class of a line of a diff.
pub fn class(line: &str) -> &'static str {
    match line.as_bytes() {
        [b'd', b'i', b'f', b'f', b' ', ..] | [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => "file",
        [b'@', b'@', ..] => "hunk",
        [b'+', ..] => "add",
        [b'-', ..] => "del",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &[u8]) -> String {
        render(&Text::new(text), None, &Address::new("/s/w/artifact/1/", "debdiff.txt")).unwrap()
    }

    #[test]
    fn a_real_diff_of_sources() {
        let text = Text::new(include_bytes!("fixtures/debdiff-source.txt"));
        let Report::Source(files) = parse(&text) else { panic!("no diff") };
        let found: Vec<_> = files.iter().map(|file| (&*file.path, file.kind, file.added, file.removed)).collect();
        assert_eq!(
            found,
            [
                ("NEWS.txt", "added", 1, 0),
                ("README.txt", "removed", 0, 1),
                ("debian/changelog", "modified", 1, 1),
                ("debian/control", "modified", 1, 1),
                ("debian/extra", "added", 1, 0),
                ("debian/tiny-doc.docs", "modified", 1, 1),
                ("debian/tiny.install", "modified", 1, 0),
                ("tiny.c", "modified", 1, 1),
            ]
        );
        let html = html(include_bytes!("fixtures/debdiff-source.txt"));
        assert!(html.contains("href=\"#L11\"") && html.contains("id=\"L11\" class=\"file\""), "{html}");
        assert!(html.contains("class=\"add\"") && html.contains("class=\"del\"") && html.contains("class=\"hunk\""));
        assert!(html.contains("8 files") && html.contains("+7") && html.contains("−5"), "{html}");
    }

    #[test]
    fn what_a_hunk_has_is_no_header() {
        let text = Text::new(b"diff -Nru a-1/x a-2/x\n--- a-1/x\t1\n+++ a-2/x\t2\n@@ -1,2 +1,2 @@\n--- y\n-diff -x\n+++ z\n+@@ -1 +1 @@\n");
        let Report::Source(files) = parse(&text) else { panic!("no diff") };
        assert_eq!((files.len(), files[0].added, files[0].removed), (1, 2, 2));
        assert_eq!(hunk("@@ -1 +1,3 @@ f()"), Some((1, 3)));
        assert_eq!(hunk("@@ -x,y +1 @@"), None);
    }

    #[test]
    fn a_real_comparison_of_binaries() {
        let text = Text::new(include_bytes!("fixtures/debdiff-binary.txt"));
        let Report::Binary(parts) = parse(&text) else { panic!("no parts") };
        let titles: Vec<_> = parts.iter().map(|part| part.title).collect();
        assert_eq!(
            titles,
            [
                "Files in second set of .debs but not in first",
                "Files in first set of .debs but not in second",
                "Control files of package tiny: lines which differ (wdiff format)",
                "Control files of package tiny-doc: lines which differ (wdiff format)",
            ]
        );
        let html = html(include_bytes!("fixtures/debdiff-binary.txt"));
        assert!(html.contains("<ins>{+adduser,+}</ins>") && html.contains("<del>[-1.0-]</del>"), "{html}");
        assert!(html.contains("/usr/share/tiny/extra") && html.contains("2 entries"));
    }

    #[test]
    fn words_keep_their_marks() {
        let word = |tag, text| Word { tag, text };
        assert_eq!(
            words("V: [-1-] {+2+}"),
            [word("", "V: "), word("del", "[-1-]"), word("", " "), word("ins", "{+2+}")]
        );
        assert_eq!(words("[-open {+é [x] {"), [word("", "[-open {+é [x] {")]);
        assert_eq!(words("[-{+a+}[-"), [word("", "[-"), word("ins", "{+a+}"), word("", "[-")]);
        assert_eq!(words("{+a+}{+b+}"), [word("ins", "{+a+}"), word("ins", "{+b+}")]);
        assert!(words("").is_empty());
    }

    #[test]
    fn nothing_and_anything() {
        assert!(html(b"File lists identical (after any substitutions)\n\nNo differences were encountered between the control files\n").contains("Nothing differs"));
        assert!(html(b"").contains("Nothing differs"));
        let odd = html(b"debdiff: fatal <error>\n");
        assert!(odd.contains("debdiff: fatal &#60;error&#62;") && odd.contains("id=\"L1\""), "{odd}");
    }
}
