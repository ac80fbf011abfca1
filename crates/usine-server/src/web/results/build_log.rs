//! The log of a build: how it ended, the lines that say why, and its sections, as sbuild(1) and dpkg-buildpackage(1) write
//! them.

use std::borrow::Cow;
use std::sync::LazyLock;

use askama::Template;
use regex::Regex;
use usine_model::artifact::{Dose3Reason, Dose3Report};

use super::Address;
use super::lines::{Text, shortened};
use super::sections::{Mark, Outline, Section, Sections, duration};

/// Findings that the panel has: the first ones, which are mostly the cause, and the last ones, which say what broke off.
const FIRST_FINDINGS: usize = 8;
const LAST_FINDINGS: usize = 4;
/// Fields of the summary, and reasons of dose3, that are shown.
const MAX_FACTS: usize = 40;

/// Fields of the summary that are shown first, if they are there.
const FACTS: [&str; 6] =
    ["Fail-Stage", "Package-Time", "Install-Time", "Build-Time", "Build-Space", "Host Architecture"];

const FAILED: Mark = Mark { word: "failed", class: "bad" };

/// What ends a build when it is printed.
static FATAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x) ^(?:
            \S*make(?:\[\d+\])?:\ \*\*\*\ | dh[a-z_]*:\ error:\ | dpkg-[a-z-]+:\ error:\ | E:\ |
            ninja:\ (?:build\ stopped|error) | Died\ at\ )",
    )
    .ok()
});

/// What may have led to it.
static CAUSE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
            (?:^|:\ )(?:fatal\ )?error(?:\[E\d+\])?:\  | ^(?:FAIL|ERROR|XPASS)(?:ED)?(?::|\b) | \bFAILED\b | ^not\ ok\b |
            undefined\ reference\ to | Segmentation\ fault | panicked\ at | ^[A-Za-z_.]*(?:Error|Exception):\  |
            but\ it\ is\ not\ (?:installable|going\ to\ be\ installed) | No\ space\ left\ on\ device | [Oo]ut\ of\ memory |
            ^CMake\ Error | :\ command\ not\ found$",
    )
    .ok()
});

/// A command that dpkg-buildpackage calls.
static CALL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^ ((?:fakeroot )?(?:debian/rules \S+|dpkg-(?:source|genbuildinfo|genchanges) .*)|signfile .*)$").ok()
});

fn fits(pattern: &LazyLock<Option<Regex>>, line: &str) -> bool {
    // No message stands at the end of a very long line.
    let end = line.floor_char_boundary(2000);
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(&line[..end]))
}

/// What a log says.
#[derive(Debug)]
pub struct BuildLog {
    sections: Vec<Section>,
    summary: Vec<(String, String)>,
    is_failed: bool,
    /// Indexes of lines.
    findings: Vec<usize>,
    /// Findings that are not among them.
    more: usize,
}

impl BuildLog {
    /// Indexes of the lines that say why the build failed, in order; some if there are many.
    pub fn findings(&self) -> &[usize] {
        &self.findings
    }
}

/// Reads a log.
pub fn parse(text: &Text) -> BuildLog {
    let mut sections = outline(text);
    let summary = summary(text, &sections);
    let field = |name: &str| summary.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let all: Vec<usize> =
        (0..text.count()).filter(|index| fits(&FATAL, text.line(*index)) || fits(&CAUSE, text.line(*index))).collect();
    let is_failed = match field("Status") {
        Some(status) => status != "successful",
        None => all.iter().any(|index| fits(&FATAL, text.line(*index))),
    };
    let mut findings = if is_failed { of_stage(all, &sections, field("Fail-Stage")) } else { Vec::new() };
    if is_failed {
        mark_failed(text, &mut sections, &findings);
    }
    for (title, name) in [("Build", "Build-Time"), ("Install package build dependencies", "Install-Time")] {
        if let Some(section) = sections.iter_mut().find(|section| section.title == title) {
            section.seconds = field(name).and_then(|value| value.parse().ok()).filter(|seconds| *seconds >= 0);
        }
    }
    let more = findings.len().saturating_sub(FIRST_FINDINGS + LAST_FINDINGS);
    findings.drain(FIRST_FINDINGS.min(findings.len())..FIRST_FINDINGS.min(findings.len()) + more);
    BuildLog { sections, summary, is_failed, findings, more }
}

fn outline(text: &Text) -> Vec<Section> {
    let mut outline = Outline::default();
    if !text.line(0).starts_with("+--") {
        outline.begin(0, Section::new("Beginning", 0));
    }
    let mut index = 0;
    while index < text.count() {
        let line = text.line(index);
        if is_frame(line)
            && let Some(title) = boxed(text.line(index + 1))
            && is_frame(text.line(index + 2))
        {
            outline.begin(index, Section::new(title, index + 3));
            index += 3;
        } else if is_underlined(text, index) {
            outline.begin(index, Section { is_part: true, ..Section::new(line.trim(), index + 2) });
            index += 2;
        } else {
            if let Some(call) = CALL.as_ref().and_then(|call| call.captures(line)) {
                outline.begin(index, Section { is_part: true, ..Section::new(&call[1], index) });
            }
            index += 1;
        }
    }
    let said = |section: &Section| !section.is_part || section.lines.clone().any(|index| !text.line(index).is_empty());
    outline.finish(text.count()).into_iter().filter(said).collect()
}

/// `+-----…-----+` or `+=====…=====+`, as long as sbuild makes them.
fn is_frame(line: &str) -> bool {
    let inner = line.strip_prefix('+').and_then(|rest| rest.strip_suffix('+'));
    inner.is_some_and(|inner| {
        inner.len() >= 40 && (inner.bytes().all(|b| b == b'-') || inner.bytes().all(|b| b == b'='))
    })
}

/// `| Title      |`; the date at the right end of the first title is left out.
fn boxed(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?.trim();
    Some(inner.split("    ").next().unwrap_or(inner)).filter(|title| !title.is_empty())
}

/// A title with a line of hyphens below it, just as long, and a blank line above it.
fn is_underlined(text: &Text, index: usize) -> bool {
    let (title, line) = (text.line(index), text.line(index + 1));
    let above = index.checked_sub(1).map_or("", |above| text.line(above));
    let is_line = line.len() >= 3 && line.bytes().all(|byte| byte == b'-');
    is_line && above.is_empty() && !title.starts_with(['-', ' ']) && title.chars().count() == line.len()
}

/// `Field: value` in the section Summary, or in the last one before it that has a status.
fn summary(text: &Text, sections: &[Section]) -> Vec<(String, String)> {
    let fields = |section: &Section| -> Vec<(String, String)> {
        let field = |index| {
            let (name, value) = text.line(index).split_once(": ")?;
            let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.len() < 40
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ' '));
            is_name.then(|| (name.to_owned(), shortened(value.trim()).into_owned()))
        };
        section.lines.clone().filter_map(field).take(MAX_FACTS).collect()
    };
    let last = sections.iter().rev().find(|section| matches!(section.title.as_str(), "Summary" | "Cleanup"));
    let found = last.map(fields).unwrap_or_default();
    if found.iter().any(|(name, _)| name == "Status") { found } else { Vec::new() }
}

/// The findings of the stage that failed, as far as that can be told; never those of what comes after a build.
fn of_stage(all: Vec<usize>, sections: &[Section], stage: Option<&str>) -> Vec<usize> {
    let wanted = match stage {
        Some("build") => "Build",
        Some("install-deps" | "explain-bd-uninstallable") => "Install",
        Some("fetch-src") => "Fetch",
        Some("arch-check") => "Check arch",
        Some("run-pre-build-hooks" | "create-session" | "chroot-setup") => "Chroot",
        _ => "",
    };
    let mut stage_of = Vec::new();
    let mut title = "";
    for section in sections {
        if !section.is_part {
            title = &section.title;
        }
        stage_of.push((section.lines.clone(), title));
    }
    let title_of = |index: &usize| {
        let at = stage_of.partition_point(|(lines, _)| lines.end <= *index);
        stage_of.get(at).map_or("", |(_, title)| *title)
    };
    let is_after = |title: &str| matches!(title, "Cleanup" | "Summary" | "Build environment");
    let all: Vec<usize> = all.into_iter().filter(|index| !is_after(title_of(index))).collect();
    let those: Vec<usize> = all
        .iter()
        .copied()
        .filter(|index| {
            !wanted.is_empty()
                && (title_of(index) == wanted || wanted != "Build" && title_of(index).starts_with(wanted))
        })
        .collect();
    if those.is_empty() { all } else { those }
}

/// The section that failed is the one of the last fatal finding, or the last that is not about tidying up.
fn mark_failed(text: &Text, sections: &mut [Section], findings: &[usize]) {
    // What dpkg-buildpackage says comes after the section of the command that failed only if it is a part of its own.
    let fatal = findings.iter().rev().find(|index| fits(&FATAL, text.line(**index))).or(findings.last());
    let found = match fatal {
        Some(index) => sections.iter().position(|section| section.lines.contains(index)),
        None => sections
            .iter()
            .rposition(|section| !matches!(section.title.as_str(), "Cleanup" | "Summary" | "Post Build" | "Finished")),
    };
    if let Some(section) = found.and_then(|found| sections.get_mut(found)) {
        section.mark = Some(FAILED);
        section.is_open = true;
    }
}

#[derive(Template)]
#[template(path = "results/build_log.html")]
struct Page<'a> {
    address: &'a Address,
    status: Option<(&'a str, &'static str)>,
    is_failed: bool,
    findings: Vec<(usize, Cow<'a, str>)>,
    more: usize,
    reasons: Vec<String>,
    /// Number and title of the section that failed.
    section: Option<(usize, &'a str)>,
    /// The fields that people look for.
    facts: Vec<(&'a str, Cow<'a, str>)>,
    /// The other ones.
    further: Vec<(&'a str, Cow<'a, str>)>,
    /// Lines before the part that was looked at.
    before: usize,
    sections: Sections<'a>,
}

/// The view.
pub fn render(text: &Text, uninstallable: Option<&Dose3Report>, address: &Address) -> askama::Result<String> {
    let log = parse(text);
    let class = |_: usize, line: &str| {
        if log.is_failed && (fits(&FATAL, line) || fits(&CAUSE, line)) {
            "bad"
        } else if line.contains("warning: ") {
            "warn"
        } else {
            ""
        }
    };
    let field = |name: &str| log.summary.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let status = field("Status").map(|status| (status, if log.is_failed { "bad" } else { "good" }));
    Page {
        address,
        status,
        is_failed: log.is_failed,
        findings: log.findings.iter().map(|index| (text.number(*index), shortened(text.line(*index)))).collect(),
        more: log.more,
        reasons: uninstallable.map(reasons).unwrap_or_default(),
        section: log
            .sections
            .iter()
            .enumerate()
            .find(|(_, section)| section.mark == Some(FAILED))
            .map(|(index, section)| (index + 1, section.title.as_str())),
        facts: FACTS.iter().filter_map(|name| Some(fact(name, field(name)?))).collect(),
        further: log
            .summary
            .iter()
            .filter(|(name, _)| name != "Status" && !FACTS.contains(&name.as_str()))
            .map(|(name, value)| fact(name, value))
            .collect(),
        before: text.number(0) - 1,
        sections: Sections::new(text, &log.sections, class),
    }
    .render()
}

/// With units: times are in seconds, space in KiB (sbuild(1)).
fn fact<'a>(name: &'a str, value: &'a str) -> (&'a str, Cow<'a, str>) {
    let number = value.parse::<i64>().ok().filter(|number| *number >= 0);
    let value = match number {
        Some(seconds) if name.ends_with("-Time") => duration(seconds).into(),
        Some(kib) if name == "Space" || name.ends_with("-Space") => {
            super::bytes(kib.unsigned_abs().saturating_mul(1024)).into()
        }
        _ => value.into(),
    };
    (name, value)
}

/// Why build dependencies cannot be installed.
fn reasons(report: &Dose3Report) -> Vec<String> {
    let all = report.report.iter().flat_map(|package| &package.reasons);
    let sentence = |reason: &Dose3Reason| match reason {
        Dose3Reason::Missing(missing) => {
            let pkg = &missing.pkg;
            let needed = pkg.unsat_dependency.as_deref().unwrap_or("something");
            format!("{} {} needs {needed}, which is not there", pkg.package, pkg.version)
        }
        Dose3Reason::Conflict(conflict) => {
            let (one, other) = (&conflict.pkg1, &conflict.pkg2);
            format!(
                "{} {} and {} {} cannot be installed together",
                one.package, one.version, other.package, other.version
            )
        }
    };
    all.take(MAX_FACTS).map(sentence).collect()
}

#[cfg(test)]
mod tests;
