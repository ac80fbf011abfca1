//! One file: a package and a tarball as lists, a diff with colours, text with numbered lines; of all else the size.

use std::collections::BTreeSet;
use std::ops::Range;

use askama::Template;
use usine_db::artifact::FileInArtifact;
use usine_debian::Compression;
use usine_model::artifact::ArtifactCategory;

use super::lines::{Piece, Text};
use super::read::{self, Found, MAX_TEXT, Stored};
use super::{Address, build_log, bytes, package, rendered};
use crate::problem::ApiResult;

/// What is shown of a text, in bytes: of a larger one the first and the last part, and of a build log what lies around the
/// lines that say why it failed. Lines of nothing make ten times as much of a page.
const MAX_SHOWN: usize = 1024 * 1024;
/// The beginning of a text of which only the end is looked at, in bytes.
const HEAD: u64 = 256 * 1024;
/// Lines before and after a finding.
const AROUND: usize = 100;
/// What is looked at to tell a text from other content, in bytes.
const SNIFFED: usize = 8 * 1024;

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `.deb`, `.udeb` or `.ddeb`.
    Package,
    /// A tarball that can be listed.
    Tarball(Compression),
    /// A tarball that cannot.
    UnreadableTarball,
    /// A diff, if it is text.
    Diff,
    /// Its content tells.
    Other,
}

impl Kind {
    /// By the ending of the name.
    pub fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let is = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        if is(&[".deb", ".udeb", ".ddeb"]) {
            Self::Package
        } else if let Some(compression) = Compression::of(&name) {
            Self::Tarball(compression)
        } else if is(&[".tar.bz2", ".tbz2", ".tar.lzma", ".tar.lz"]) {
            Self::UnreadableTarball
        } else if is(&[".diff", ".patch", ".debdiff"]) || name == "debdiff.txt" {
            Self::Diff
        } else {
            Self::Other
        }
    }
}

#[derive(Template)]
#[template(path = "results/text.html")]
struct Page<'a> {
    address: &'a Address,
    size: String,
    is_empty: bool,
    is_diff: bool,
    /// The beginning, of a text of which only the end is looked at.
    head: Option<Piece<'a>>,
    /// Lines between that and the end.
    skipped: usize,
    piece: Piece<'a>,
}

#[derive(Template)]
#[template(path = "results/binary.html")]
struct Binary<'a> {
    address: &'a Address,
    size: String,
    why: &'static str,
}

/// The view of a file that has arrived.
pub async fn view(
    stored: Stored,
    category: ArtifactCategory,
    entry: &FileInArtifact,
    address: &Address,
) -> ApiResult<Found<String>> {
    let size = bytes(stored.size());
    let binary = |why| rendered(Binary { address, size: size.clone(), why }.render()).map(Ok);
    let kind = Kind::of(&entry.path);
    match kind {
        Kind::Package => return package::view(stored, address).await,
        Kind::Tarball(compression) => return package::tarball(stored, compression, address).await,
        Kind::UnreadableTarball => return binary("A tarball with this compression cannot be listed here."),
        Kind::Diff | Kind::Other => {}
    }

    let _turn = read::turn().await?;
    let head = match stored.head(HEAD).await? {
        Ok(head) => head,
        Err(absent) => return Ok(Err(absent)),
    };
    if !is_text(&head) {
        return binary("This file is not text and cannot be displayed.");
    }
    let text = match stored.text().await? {
        Ok(text) => text,
        Err(absent) => return Ok(Err(absent)),
    };
    let is_log = category == ArtifactCategory::PackageBuildLog;
    let head = (stored.size() > MAX_TEXT).then_some(head);
    let address = address.clone();
    let work = move || render(&text, head.as_deref(), kind == Kind::Diff, is_log, size, &address);
    rendered(read::blocking(work).await?).map(Ok)
}

/// Text has no NUL, and hardly any other control character but those of line printers and terminals.
fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(SNIFFED)];
    let is_strange = |byte: &&u8| byte.is_ascii_control() && !matches!(byte, 0x07..=0x0d | 0x1b);
    !head.contains(&0) && head.iter().filter(is_strange).count() * 20 <= head.len()
}

pub(super) fn render(
    text: &Text,
    head: Option<&[u8]>,
    is_diff: bool,
    is_log: bool,
    size: String,
    address: &Address,
) -> askama::Result<String> {
    // The last line of it may be cut.
    let whole_lines = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let first = head.map(|bytes| Text::new(&bytes[..whole_lines(bytes)]));
    let findings = if is_log { build_log::parse(text).findings().to_vec() } else { Vec::new() };
    let piece = match is_log.then(|| log_runs(text, &findings)).flatten() {
        Some(runs) => text.runs(runs),
        None => text.piece(0..text.count(), MAX_SHOWN),
    };
    let numbers: BTreeSet<usize> = findings.iter().map(|index| text.number(*index)).collect();
    let class = |number: usize, line: &str| match () {
        () if is_diff => super::debdiff::class(line),
        () if numbers.contains(&number) => "bad",
        () => "",
    };
    Page {
        address,
        size,
        is_empty: text.count() == 0 && first.is_none(),
        is_diff,
        skipped: first.as_ref().map_or(0, |first| (text.number(0) - 1).saturating_sub(first.count())),
        head: first.as_ref().map(|first| first.piece(0..first.count(), MAX_SHOWN)),
        piece: piece.classed(class),
    }
    .render()
}

/// Of a log that is too large: the beginning, what is around its findings, the end. `None` if all of it can be shown.
fn log_runs(text: &Text, findings: &[usize]) -> Option<Vec<Range<usize>>> {
    if text.cost(0..text.count()) <= MAX_SHOWN {
        return None;
    }
    let third = MAX_SHOWN / 3;
    let (head, tail) = text.ends_within(third);
    let mut runs: Vec<Range<usize>> = Vec::new();
    runs.push(0..head);
    let mut left = third;
    for index in findings {
        let run = index.saturating_sub(AROUND)..(index + AROUND + 1).min(tail);
        let last = runs.last_mut()?;
        let run = run.start.max(last.end)..run.end;
        let cost = if run.is_empty() { 0 } else { text.cost(run.clone()) };
        if run.is_empty() || cost > left {
            continue;
        }
        left -= cost;
        if run.start == last.end { last.end = run.end } else { runs.push(run) }
    }
    let last = runs.last()?.end;
    runs.push(tail.max(last)..text.count());
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::new("/s/w/artifact/1/", "x")
    }

    #[test]
    fn kinds() {
        for (path, kind) in [
            ("dir/a_1_all.deb", Kind::Package),
            ("a.udeb", Kind::Package),
            ("a_1.orig.tar.XZ", Kind::Tarball(Compression::Xz)),
            ("a.tar.bz2", Kind::UnreadableTarball),
            ("debdiff.txt", Kind::Diff),
            ("a.tar.xz.asc", Kind::Other),
            ("tar.d/x", Kind::Other),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn text_is_told_from_other_content() {
        assert!(is_text(b"") && is_text("caf\u{e9}\r\n\x1b[1m".as_bytes()) && is_text(b"caf\xe9\n"));
        assert!(!is_text(b"a\0") && !is_text(include_bytes!("fixtures/tiny_1.2.tar.xz")));
        assert!(!is_text(b"\x01\x02\x03abc"));
    }

    #[test]
    fn a_text_has_numbered_lines() {
        let html = render(&Text::new(b"one\r\n<two>\n"), None, false, false, "10 bytes".into(), &address()).unwrap();
        assert!(html.contains("id=\"L1\"") && html.contains("one^M") && html.contains("&#60;two&#62;"), "{html}");
        assert!(html.contains("href=\"/s/w/artifact/1/raw/x\"") && !html.contains("left out"));
        let empty = render(&Text::new(b""), None, false, false, "0 bytes".into(), &address()).unwrap();
        assert!(empty.contains("This file is empty."), "{empty}");
    }

    #[test]
    fn a_diff_has_colours() {
        let html = render(&Text::new(b"-a\n+b\n"), None, true, false, String::new(), &address()).unwrap();
        assert!(html.contains("class=\"del\"") && html.contains("class=\"add\""), "{html}");
    }

    #[test]
    fn of_a_large_log_the_failure_is_shown_too() {
        let mut log = "building\n".repeat(300_000);
        log.push_str("make: *** [x] Error 1\n");
        log.push_str(&"cleaning\n".repeat(300_000));
        let text = Text::new(log.as_bytes());
        let html = render(&text, None, false, true, String::new(), &address()).unwrap();
        for number in [1, 300_001, 300_001 - AROUND, 300_001 + AROUND, 600_001] {
            assert!(html.contains(&format!("id=\"L{number}\"")), "{number}");
        }
        assert_eq!(html.matches("left out").count(), 2);
        assert!(html.contains("id=\"L300001\" class=\"bad\""));
        // Not a log: the failure is like any other line.
        let html = render(&text, None, false, false, String::new(), &address()).unwrap();
        assert!(!html.contains("id=\"L300001\"") && html.contains("id=\"L600001\""));
        assert!(html.len() < 3 * MAX_SHOWN * 4, "{}", html.len());
    }

    #[test]
    fn of_the_largest_texts_both_ends_are_shown() {
        let end = Text::new(b"end\n").after(1000);
        let html = render(&end, Some(b"first\nsecond\ncu"), false, false, String::new(), &address()).unwrap();
        assert!(html.contains("first") && html.contains("id=\"L2\"") && !html.contains("cu\n"), "{html}");
        assert!(html.contains("998 lines are left out") && html.contains("id=\"L1001\""), "{html}");
    }
}
