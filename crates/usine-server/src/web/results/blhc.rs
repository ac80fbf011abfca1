//! What blhc(1) says: which compiler commands lack which hardening flags.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use askama::Template;
use regex::Regex;

use super::Address;
use super::lines::{Text, shortened};

/// Commands that are listed of one kind; all are counted.
const MAX_OF_KIND: usize = 100;
/// Kinds that the page has.
const MAX_KINDS: usize = 200;

/// `12:CFLAGS missing (-fPIE): gcc …` and `NONVERBOSE BUILD: CC x.o`; numbers come with `--line-numbers`.
static FOUND: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?:(\d{1,9}):)?([A-Z][A-Z ]*[A-Z](?: missing)?)(?: \(([^)]*)\))?: ?(.*)$").ok());
/// A tag of the build log scanner, with `--buildd`: `W-dpkg-buildflags-missing|CFLAGS 2 (of 2) missing|`.
static TAG: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^([WI]-[a-z-]+)\|([^|]*)\|$").ok());

/// Commands with the same fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind<'a> {
    title: &'a str,
    flags: &'a str,
    count: usize,
    /// Line in the build log if blhc says it, and the command.
    commands: Vec<(Option<&'a str>, Cow<'a, str>)>,
}

/// What a report says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report<'a> {
    kinds: Vec<Kind<'a>>,
    more: usize,
    count: usize,
    /// Indexes of lines that are something else.
    others: Vec<usize>,
    has_no_commands: bool,
}

/// Reads a report.
pub fn parse(text: &Text) -> Report<'_> {
    let mut report = Report::default();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let found = FOUND.as_ref().and_then(|found| found.captures(line));
        let tag = TAG.as_ref().and_then(|tag| tag.captures(line));
        let (number, title, flags, command) = match (&found, &tag) {
            (Some(found), _) => {
                let group = |group| found.get(group).map(|part| part.as_str());
                let (title, command) = (group(2).unwrap_or_default(), group(4).unwrap_or_default());
                (group(1), title, group(3).unwrap_or_default(), command)
            }
            (None, Some(tag)) => {
                let group = |group| tag.get(group).map_or("", |part| part.as_str());
                (None, group(1), "", group(2))
            }
            (None, None) => {
                report.has_no_commands |= line.trim() == "No compiler commands!";
                if report.others.len() < MAX_OF_KIND {
                    report.others.push(index);
                }
                continue;
            }
        };
        report.count += 1;
        let kinds = report.kinds.len();
        let place = *places.entry((title, flags)).or_insert(kinds);
        if place == kinds && kinds == MAX_KINDS {
            places.remove(&(title, flags));
            report.more += 1;
            continue;
        }
        if place == kinds {
            report.kinds.push(Kind { title, flags, count: 0, commands: Vec::new() });
        }
        if let Some(kind) = report.kinds.get_mut(place) {
            kind.count += 1;
            if kind.commands.len() < MAX_OF_KIND {
                kind.commands.push((number, shortened(command.trim())));
            }
        }
    }
    // The most frequent first.
    report.kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
    report
}

#[derive(Template)]
#[template(path = "results/blhc.html")]
struct Page<'a> {
    address: &'a Address,
    report: Report<'a>,
    others: Vec<Cow<'a, str>>,
}

/// The view.
pub fn render(text: &Text, address: &Address) -> askama::Result<String> {
    let report = parse(text);
    let others = report.others.iter().map(|index| shortened(text.line(*index))).collect();
    Page { address, report, others }.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &[u8]) -> String {
        render(&Text::new(text), &Address::new("/s/w/artifact/1/", "blhc.txt")).unwrap()
    }

    #[test]
    fn a_real_report_with_line_numbers() {
        let text = Text::new(include_bytes!("fixtures/blhc.txt"));
        let report = parse(&text);
        let kinds: Vec<_> = report.kinds.iter().map(|kind| (kind.title, kind.flags, kind.count)).collect();
        assert_eq!(
            kinds,
            [
                ("NONVERBOSE BUILD", "", 1),
                ("CFLAGS missing", "-fPIE -fstack-protector-strong", 1),
                ("CPPFLAGS missing", "-D_FORTIFY_SOURCE=2", 1),
                ("CFLAGS missing", "-fPIE", 1),
                ("LDFLAGS missing", "-fPIE -pie -Wl,-z,now", 1),
                ("LDFLAGS missing", "-fPIE -pie -Wl,-z,relro -Wl,-z,now", 1),
            ]
        );
        assert_eq!((report.count, report.others.len()), (6, 0));
        let command = "gcc -g -O2 -Wformat -Werror=format-security -c foo.c -o foo.o";
        assert_eq!(report.kinds[2].commands, [(Some("3"), command.into())]);
    }

    #[test]
    fn colours_do_not_matter_and_the_most_frequent_comes_first() {
        let colours = include_str!("fixtures/blhc-colour.txt");
        let text =
            Text::new(format!("{colours}{}", "LDFLAGS missing (-Wl,-z,relro): gcc -o <b>\n".repeat(200)).as_bytes());
        let report = parse(&text);
        assert_eq!((report.kinds[0].title, report.kinds[0].count), ("LDFLAGS missing", 201));
        assert_eq!((report.count, report.kinds.len(), report.kinds[0].commands.len()), (204, 4, MAX_OF_KIND));
        let html = html(format!("{colours}{}", "LDFLAGS missing (-Wl,-z,relro): gcc -o <b>\n".repeat(200)).as_bytes());
        assert!(html.contains("201") && html.contains("101 more") && html.contains("&#60;b&#62;"), "{html}");
    }

    #[test]
    fn nothing_is_missing() {
        assert!(html(b"").contains("No flags are missing"));
        assert!(html(b"No compiler commands!\n").contains("no compiler commands"));
        let tags = html(b"W-dpkg-buildflags-missing|CFLAGS 2 (of 2) missing|\nsomething <else>\n");
        assert!(tags.contains("W-dpkg-buildflags-missing") && tags.contains("something &#60;else&#62;"), "{tags}");
    }

    #[test]
    fn many_kinds_are_counted() {
        let text: String = (0..2 * MAX_KINDS).map(|index| format!("CFLAGS missing (-f{index}): gcc\n")).collect();
        let text = Text::new(text.as_bytes());
        let report = parse(&text);
        assert_eq!((report.kinds.len(), report.more, report.count), (MAX_KINDS, MAX_KINDS, 2 * MAX_KINDS));
    }
}
