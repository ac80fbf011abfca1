//! A log in sections: each can be opened, says how long it is, and shows as much as the page can bear.

use std::ops::Range;

use askama::Template;

use super::lines::{Piece, Text};

/// What all sections of a page may show together, in bytes: the whole log is a link away. A failed section gets up to half.
pub const MAX_SHOWN: usize = 128 * 1024;
/// Sections that a page has: from here on, parts of sections are not told apart, and from twice that nothing is.
const MAX_SECTIONS: usize = 500;
/// With more sections than that, the table of contents has only those that are no parts of others, and those with a mark.
const MAX_LISTED: usize = 60;

/// Word and colour for how something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// For all readers.
    pub word: &'static str,
    /// For those who see colours: a class of a badge.
    pub class: &'static str,
}

/// A part of a log, not laid out yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Indexes of its lines.
    pub lines: Range<usize>,
    /// Whether it belongs to the section before it.
    pub is_part: bool,
    /// How long it took.
    pub seconds: Option<i64>,
    /// How it went, if that is known.
    pub mark: Option<Mark>,
    /// Whether it is what the reader looks for.
    pub is_open: bool,
}

impl Section {
    /// A section of which nothing is known but its beginning.
    pub fn new(title: impl Into<String>, start: usize) -> Self {
        Self { title: title.into(), lines: start..start, is_part: false, seconds: None, mark: None, is_open: false }
    }
}

/// Sections in the order of the log; each ends where the next begins.
#[derive(Debug, Default)]
pub struct Outline {
    sections: Vec<Section>,
}

impl Outline {
    /// Begins a section. Its heading, which is not among its lines, begins at `heading`.
    pub fn begin(&mut self, heading: usize, section: Section) {
        let most = if section.is_part { MAX_SECTIONS } else { 2 * MAX_SECTIONS };
        if self.sections.len() < most {
            self.end_at(heading);
            self.sections.push(section);
        }
    }

    /// The section that is being read.
    pub fn last(&mut self) -> Option<&mut Section> {
        self.sections.last_mut()
    }

    fn end_at(&mut self, end: usize) {
        if let Some(last) = self.sections.last_mut() {
            last.lines.end = end;
        }
    }

    /// All sections, of a log with so many lines.
    pub fn finish(mut self, count: usize) -> Vec<Section> {
        self.end_at(count);
        self.sections
    }
}

/// Sections as a page shows them.
#[derive(Template)]
#[template(path = "results/sections.html")]
pub struct Sections<'a> {
    shown: Vec<Shown<'a>>,
    /// Whether the table of contents has the parts of sections.
    lists_parts: bool,
}

struct Shown<'a> {
    section: &'a Section,
    note: String,
    piece: Piece<'a>,
}

impl<'a> Sections<'a> {
    /// Lays out sections; `class` gives lines (number, text) their colours.
    pub fn new(text: &'a Text, sections: &'a [Section], class: impl Fn(usize, &str) -> &'static str) -> Self {
        let wanted: Vec<(usize, bool)> =
            sections.iter().map(|section| (text.cost(section.lines.clone()), section.is_open)).collect();
        let budgets = share(&wanted, MAX_SHOWN);
        let shown = sections.iter().zip(budgets).map(|(section, budget)| {
            let inner = trimmed(text, section.lines.clone());
            let piece = text.piece(inner.clone(), budget).classed(&class);
            Shown { section, note: note(inner.len(), section.seconds), piece }
        });
        Self { shown: shown.collect(), lists_parts: sections.len() <= MAX_LISTED }
    }
}

/// The lines without blank ones at both ends.
fn trimmed(text: &Text, lines: Range<usize>) -> Range<usize> {
    let is_said = |index: &usize| !text.line(*index).trim().is_empty();
    let start = lines.clone().find(is_said).unwrap_or(lines.end);
    let end = lines.clone().rev().find(is_said).map_or(start, |last| last + 1);
    start..end
}

fn note(lines: usize, seconds: Option<i64>) -> String {
    let time = seconds.map(duration);
    let lines = match lines {
        0 => None,
        1 => Some("1 line".to_owned()),
        _ => Some(format!("{lines} lines")),
    };
    lines.into_iter().chain(time).collect::<Vec<_>>().join(", ")
}

/// `4 s`, `2 min 4 s`, `1 h 2 min`.
pub fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Shares a budget among those who want so much: open sections come first with half of it; then small wishes are fulfilled,
/// and what is left is shared alike by the large ones.
fn share(wanted: &[(usize, bool)], total: usize) -> Vec<usize> {
    let mut budgets = vec![0; wanted.len()];
    let mut left = total;
    for (open, most) in [(true, total / 2), (false, total)] {
        let mut order: Vec<usize> = (0..wanted.len()).filter(|index| wanted[*index].1 == open).collect();
        order.sort_by_key(|index| wanted[*index].0);
        let mut pool = if open { most } else { left };
        for (done, index) in order.iter().enumerate() {
            budgets[*index] = wanted[*index].0.min(pool / (order.len() - done));
            pool -= budgets[*index];
            left -= budgets[*index];
        }
    }
    budgets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_wishes_come_first_and_open_sections_before_all() {
        assert_eq!(share(&[(10, false), (20, false)], 100), [10, 20]);
        assert_eq!(share(&[(10, false), (500, false), (900, false)], 100), [10, 45, 45]);
        assert_eq!(share(&[(10, false), (500, true), (900, false)], 100), [10, 50, 40]);
        assert_eq!(share(&[(500, true), (30, true)], 100), [25, 25]);
        assert!(share(&[], 100).is_empty());
    }

    #[test]
    fn sections_end_where_the_next_begins() {
        let text = Text::new(b"A\n\na\n\nB\nb1\nb2\n");
        let mut outline = Outline::default();
        outline.begin(0, Section::new("A & co", 1));
        outline.begin(3, Section { seconds: Some(5), ..Section::new("Empty", 4) });
        outline.begin(4, Section { seconds: Some(61), is_open: true, ..Section::new("B", 5) });
        let sections = outline.finish(text.count());
        assert_eq!(sections.iter().map(|section| section.lines.clone()).collect::<Vec<_>>(), [1..3, 4..4, 5..7]);
        let html = Sections::new(&text, &sections, |number, _| if number == 7 { "bad" } else { "" }).render().unwrap();
        assert!(html.contains("A &#38; co") && html.contains("2 lines, 1 min 1 s"), "{html}");
        assert!(
            html.contains("<h3 class=\"section\" id=\"section-2\">Empty <span class=\"dim\">5 s</span></h3>"),
            "{html}"
        );
        assert!(
            html.contains("id=\"L3\"") && html.contains("id=\"L7\" class=\"bad\"") && !html.contains("\"L4\""),
            "{html}"
        );
    }

    #[test]
    fn a_log_cannot_have_too_many() {
        let mut outline = Outline::default();
        let part = |index| Section { is_part: true, ..Section::new("x", index) };
        (0..2 * MAX_SECTIONS).for_each(|index| outline.begin(index, part(index)));
        (2000..4000).for_each(|index| outline.begin(index, Section::new("y", index)));
        let sections = outline.finish(5000);
        assert_eq!((sections.len(), sections[MAX_SECTIONS - 1].lines.end), (2 * MAX_SECTIONS, 2000));
        assert_eq!(sections.last().map(|section| section.lines.clone()), Some(2499..5000));
    }

    #[test]
    fn durations() {
        assert_eq!([4, 124, 3725].map(duration), ["4 s", "2 min 4 s", "1 h 2 min"]);
    }
}
