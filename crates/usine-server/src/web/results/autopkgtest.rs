//! What autopkgtest(1) says: a table of the tests, and the log with a section for each.

use std::sync::LazyLock;

use askama::Template;
use regex::Regex;
use usine_model::artifact::{Autopkgtest, AutopkgtestStatus};

use super::Address;
use super::lines::{Text, harmless};
use super::sections::{Mark, Outline, Section, Sections};

/// Rows of the table.
const MAX_ROWS: usize = 1000;

/// `autopkgtest [12:34:56]: what it does`. What came before may have left its line unfinished.
static SAID: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:autopkgtest|adt-run) \[(\d\d):(\d\d):(\d\d)\]: (.*)$").ok());

fn mark(status: AutopkgtestStatus) -> Mark {
    match status {
        AutopkgtestStatus::Pass => Mark { word: "PASS", class: "good" },
        AutopkgtestStatus::Fail => Mark { word: "FAIL", class: "bad" },
        AutopkgtestStatus::Flaky => Mark { word: "FLAKY", class: "warn" },
        AutopkgtestStatus::Skip => Mark { word: "SKIP", class: "dim" },
    }
}

/// Seconds of the day, and what autopkgtest says.
fn said(line: &str) -> Option<(i64, &str)> {
    let found = SAID.as_ref()?.captures(line)?;
    let number = |group| found.get(group)?.as_str().parse::<i64>().ok();
    Some((number(1)? * 3600 + number(2)? * 60 + number(3)?, found.get(4)?.as_str()))
}

/// The log's sections: what comes first, one for each test, the summary.
pub fn parse(text: &Text, data: &Autopkgtest) -> Vec<Section> {
    let mut outline = Outline::default();
    outline.begin(0, Section::new("Start", 0));
    let mut began = None;
    let mut previous = None;
    for (index, line) in text.lines().enumerate() {
        let Some((now, what)) = said(line) else { continue };
        let title = if let Some(title) = what.strip_prefix("@@@@@@@@@@@@@@@@@@@@ ") {
            Some(title.trim())
        } else {
            what.strip_prefix("test ").and_then(|rest| rest.split_once(": preparing testbed")).map(|(name, _)| name)
        };
        if let Some(title) = title {
            end(&mut outline, began, now);
            outline.begin(index, of_test(title, index, data).unwrap_or_else(|| Section::new(title, index)));
            began = Some(now);
        } else if began.is_none() {
            began = Some(now);
        }
        previous = Some(now);
    }
    if let Some(now) = previous {
        end(&mut outline, began, now);
    }
    let sections = outline.finish(text.count());
    let is_said = |section: &Section| section.lines.clone().any(|index| !text.line(index).is_empty());
    let mut sections: Vec<Section> = sections.into_iter().filter(is_said).collect();
    // If no test failed and yet something went wrong, it was in the preparation.
    for section in sections.iter_mut().take_while(|section| section.mark.is_none()) {
        let is_error = |index: usize| is_error(text.line(index));
        if section.title != "summary" && section.lines.clone().any(is_error) {
            section.mark = Some(Mark { word: "error", class: "bad" });
            section.is_open = true;
        }
    }
    sections
}

fn is_error(line: &str) -> bool {
    said(line).is_some_and(|(_, what)| what.starts_with("ERROR"))
        || ["E: ", "badpkg: ", "blame: "].iter().any(|start| line.starts_with(start))
}

/// `NAME FAIL reason`, as the summary has it.
fn is_failure(line: &str, data: &Autopkgtest) -> bool {
    let mut words = line.split_ascii_whitespace();
    let name = words.next();
    words.next() == Some("FAIL") && name.is_some_and(|name| data.results.contains_key(name))
}

fn of_test(name: &str, start: usize, data: &Autopkgtest) -> Option<Section> {
    let mark = mark(data.results.get(name)?.status);
    Some(Section { mark: Some(mark), is_open: mark.class == "bad", ..Section::new(name, start) })
}

/// Notes how long the section took, also over midnight.
fn end(outline: &mut Outline, began: Option<i64>, now: i64) {
    if let (Some(section), Some(began)) = (outline.last(), began) {
        section.seconds = Some((now - began).rem_euclid(24 * 3600));
    }
}

struct Row<'a> {
    name: &'a str,
    mark: Mark,
    details: &'a str,
    /// Number of its section.
    section: Option<usize>,
}

#[derive(Template)]
#[template(path = "results/autopkgtest.html")]
struct Page<'a> {
    counts: Vec<(Mark, usize)>,
    rows: Vec<Row<'a>>,
    more: usize,
    data: &'a Autopkgtest,
    log: Option<&'a Address>,
    absent: Option<&'a str>,
    sections: Option<Sections<'a>>,
}

/// The view. `log` is the log and where it is, or why it cannot be shown.
pub fn render(data: &Autopkgtest, log: Result<(&Text, &Address), &str>) -> askama::Result<String> {
    let sections = log.map(|(text, _)| parse(text, data)).unwrap_or_default();
    let row = |(name, result): (&'_ String, &'_ usine_model::artifact::AutopkgtestResult)| {
        (name.clone(), mark(result.status), result.details.clone())
    };
    let rows: Vec<_> = data.results.iter().map(row).collect();
    let count = |status| (mark(status), data.results.values().filter(|result| result.status == status).count());
    let statuses =
        [AutopkgtestStatus::Fail, AutopkgtestStatus::Flaky, AutopkgtestStatus::Pass, AutopkgtestStatus::Skip];
    let class = |_: usize, line: &str| {
        if is_error(line) || is_failure(line, data) {
            "bad"
        } else if said(line).is_some() {
            "said"
        } else {
            ""
        }
    };
    let mut shown: Vec<Row<'_>> = rows
        .iter()
        .map(|(name, mark, details)| Row {
            name,
            mark: *mark,
            details: details.as_deref().unwrap_or_default(),
            section: sections.iter().position(|section| section.title == *name).map(|index| index + 1),
        })
        .collect();
    // What failed is looked for.
    shown.sort_by_key(|row| ["bad", "warn", "good"].iter().position(|class| *class == row.mark.class).unwrap_or(3));
    let more = shown.len().saturating_sub(MAX_ROWS);
    shown.truncate(MAX_ROWS);
    Page {
        counts: statuses.into_iter().map(count).filter(|(_, count)| *count > 0).collect(),
        rows: shown,
        more,
        data,
        log: log.ok().map(|(_, address)| address),
        absent: log.err(),
        sections: log.ok().map(|(text, _)| Sections::new(text, &sections, class)),
    }
    .render()
}

#[cfg(test)]
mod tests;
