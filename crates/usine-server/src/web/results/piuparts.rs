//! The log of piuparts(1): what went wrong, and its phases.

use std::borrow::Cow;
use std::sync::LazyLock;

use askama::Template;
use regex::Regex;
use usine_model::artifact::Piuparts;

use super::Address;
use super::lines::{Text, shortened};
use super::sections::{Mark, Outline, Section, Sections};

/// Findings that the panel has.
const MAX_FINDINGS: usize = 20;
/// Lines that are shown of what stands below a finding: the beginning, which a list needs, and the end, where a command says
/// why it failed.
const FIRST_LINES: usize = 4;
const LAST_LINES: usize = 8;

/// `1m2.3s LEVEL: message`; the time is since the start.
static SAID: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(\d{1,6})m(\d\d?)\.\ds ([A-Z]+): (.*)$").ok());

struct Said<'a> {
    seconds: i64,
    level: &'a str,
    message: &'a str,
}

fn said(line: &str) -> Option<Said<'_>> {
    let found = SAID.as_ref()?.captures(line)?;
    let number = |group| found.get(group)?.as_str().parse::<i64>().ok();
    let seconds = number(1)? * 60 + number(2)?;
    Some(Said { seconds, level: found.get(3)?.as_str(), message: found.get(4)?.as_str() })
}

/// What piuparts does around the scripts that it runs at this point.
fn phase(script: &str) -> &str {
    match script {
        "post_chroot_unpack" => "Preparing the system",
        "post_setup" => "Setting up",
        "is_testable" | "pre_test" => "Before the test",
        "pre_install" => "Installing",
        "post_install" => "After installing",
        "pre_remove" => "Removing",
        "post_remove" => "Purging",
        "post_purge" => "After purging",
        "post_test" => "Looking for what is left",
        "pre_upgrade" | "pre_distupgrade" => "Upgrading",
        "post_upgrade" | "post_distupgrade" => "After upgrading",
        _ => "Scripts",
    }
}

/// How bad a message is: `bad`, `warn` or nothing.
fn class(said: &Said<'_>) -> &'static str {
    match said.level {
        // Said after every failure.
        _ if said.message == "piuparts run ends." => "",
        "ERROR" | "CRITICAL" => "bad",
        _ if said.message.starts_with("FAIL") => "bad",
        "WARNING" | "WARN" => "warn",
        _ => "",
    }
}

struct Finding<'a> {
    number: usize,
    class: &'static str,
    message: Cow<'a, str>,
    /// What piuparts prints below it, indented.
    details: Vec<Cow<'a, str>>,
}

/// What a log says.
pub struct Log<'a> {
    sections: Vec<Section>,
    findings: Vec<Finding<'a>>,
    more: usize,
    /// `None` if the log does not say how it ended.
    passed: Option<bool>,
}

/// Reads a log.
pub fn parse(text: &Text) -> Log<'_> {
    let mut outline = Outline::default();
    outline.begin(0, Section::new("Start", 0));
    let (mut findings, mut more, mut passed) = (Vec::new(), 0, None);
    let (mut began, mut last) = (0, 0);
    for index in 0..text.count() {
        let Some(said) = said(text.line(index)) else { continue };
        last = said.seconds;
        if let Some(script) = said.message.strip_prefix("Running scripts ") {
            if let Some(section) = outline.last() {
                section.seconds = Some((said.seconds - began).max(0));
            }
            outline.begin(index, Section::new(format!("{} ({})", phase(script), shortened(script)), index));
            began = said.seconds;
        }
        match said.message {
            "PASS: All tests." => passed = Some(true),
            message if message.starts_with("FAIL:") => passed = Some(false),
            _ => {}
        }
        let class = class(&said);
        if class == "bad" {
            passed = Some(false);
            if let Some(section) = outline.last() {
                section.mark = Some(Mark { word: "error", class });
                section.is_open = true;
            }
        }
        if class.is_empty() {
            continue;
        }
        if findings.len() == MAX_FINDINGS {
            more += 1;
            continue;
        }
        findings.push(Finding {
            number: text.number(index),
            class,
            message: shortened(said.message),
            details: below(text, index + 1),
        });
    }
    if let Some(section) = outline.last() {
        section.seconds = Some((last - began).max(0));
    }
    Log { sections: outline.finish(text.count()), findings, more, passed }
}

/// The indented lines from here on.
fn below(text: &Text, start: usize) -> Vec<Cow<'_, str>> {
    let end = (start..text.count()).find(|index| !text.line(*index).starts_with("  ")).unwrap_or(text.count());
    let is_said = |index: &usize| !text.line(*index).trim().is_empty();
    let end = (start..end).rev().find(is_said).map_or(start, |last| last + 1);
    let line = |index| shortened(text.line(index).trim_start());
    if end - start <= FIRST_LINES + LAST_LINES {
        return (start..end).map(line).collect();
    }
    let note = format!("… {} lines …", end - start - FIRST_LINES - LAST_LINES);
    (start..start + FIRST_LINES).map(line).chain([note.into()]).chain((end - LAST_LINES..end).map(line)).collect()
}

#[derive(Template)]
#[template(path = "results/piuparts.html")]
struct Page<'a> {
    address: &'a Address,
    data: Option<&'a Piuparts>,
    passed: Option<bool>,
    findings: &'a [Finding<'a>],
    more: usize,
    sections: Sections<'a>,
}

/// The view.
pub fn render(text: &Text, data: Option<&Piuparts>, address: &Address) -> askama::Result<String> {
    let log = parse(text);
    let class = |_: usize, line: &str| said(line).map_or("", |said| class(&said));
    Page {
        address,
        data,
        passed: log.passed,
        findings: &log.findings,
        more: log.more,
        sections: Sections::new(text, &log.sections, class),
    }
    .render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(log: &Log<'_>) -> Vec<String> {
        log.sections.iter().map(|section| section.title.clone()).collect()
    }

    #[test]
    fn a_real_run_that_passes() {
        let text = Text::new(include_bytes!("fixtures/piuparts.txt"));
        let log = parse(&text);
        assert_eq!(log.passed, Some(true));
        assert!(log.findings.is_empty());
        let titles = titles(&log);
        assert_eq!(titles[0], "Start");
        assert!(titles.contains(&"Installing (pre_install)".to_owned()), "{titles:?}");
        assert_eq!(titles.last().map(String::as_str), Some("Looking for what is left (post_test)"));
        assert!(log.sections.iter().all(|section| section.seconds.is_some() && !section.is_open));
    }

    #[test]
    fn a_real_run_that_fails() {
        let text = Text::new(include_bytes!("fixtures/piuparts-failed.txt"));
        let log = parse(&text);
        assert_eq!(log.passed, Some(false));
        let finding = &log.findings[0];
        assert!(finding.message.starts_with("Command failed (status=100)"), "{}", finding.message);
        assert!(
            finding.details.iter().any(|line| line.contains("returned error exit status 3")),
            "{:?}",
            finding.details
        );
        let open: Vec<_> =
            log.sections.iter().filter(|section| section.is_open).map(|section| &section.title).collect();
        assert_eq!(open, ["Removing (pre_remove)"]);
        let html = render(&text, None, &Address::new("/s/w/artifact/1/", "piuparts.txt")).unwrap();
        assert!(html.contains(&format!("href=\"/s/w/artifact/1/file/piuparts.txt#L{}\"", finding.number)));
        assert!(html.contains("Failed here"));
    }

    #[test]
    fn strange_logs_are_logs() {
        let text = Text::new(b"\nno times\n1m2.3s ERROR: <x>\n  <y>\n");
        let log = parse(&text);
        assert_eq!((log.passed, log.findings.len(), log.findings[0].details.len()), (Some(false), 1, 1));
        let html = render(&text, None, &Address::new("/", "p")).unwrap();
        assert!(html.contains("&#60;x&#62;") && !html.contains("<y>"));
        let many = Text::new("1m2.3s ERROR: x\n".repeat(100).as_bytes());
        assert_eq!((parse(&many).findings.len(), parse(&many).more), (MAX_FINDINGS, 80));
        assert_eq!(parse(&Text::new(b"")).passed, None);
    }
}
