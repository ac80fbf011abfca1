//! What lintian(1) found: tags by how bad they are, then by package. Reads `analysis.json` of `debian:lintian`.

use std::collections::BTreeMap;

use askama::Template;
use serde::Deserialize;
use strum::IntoEnumIterator;
use usine_model::artifact::{LintianSeverity, LintianSummary};

use super::Address;
use super::lines::harmless;

/// Occurrences that the page lists; all are counted.
const MAX_SHOWN: usize = 2000;
/// Occurrences of one tag in one package that are listed.
const MAX_OF_TAG: usize = 100;

/// `analysis.json`.
#[derive(Debug, Deserialize)]
pub struct Analysis {
    tags: Vec<Tag>,
    summary: LintianSummary,
}

#[derive(Debug, Deserialize)]
struct Tag {
    severity: LintianSeverity,
    package: String,
    tag: String,
    #[serde(default)]
    explanation: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    pointer: String,
}

/// Reads the analysis.
///
/// # Errors
/// If it is none.
pub fn parse(json: &[u8]) -> serde_json::Result<Analysis> {
    serde_json::from_slice(json)
}

struct Group<'a> {
    severity: LintianSeverity,
    class: &'static str,
    count: usize,
    is_open: bool,
    packages: Vec<Package<'a>>,
}

struct Package<'a> {
    name: &'a str,
    file: Option<&'a str>,
    tags: Vec<Named<'a>>,
}

struct Named<'a> {
    name: &'a str,
    explanation: String,
    count: usize,
    occurrences: Vec<Occurrence>,
}

struct Occurrence {
    pointer: String,
    note: String,
    comment: String,
}

fn class(severity: LintianSeverity) -> &'static str {
    match severity {
        LintianSeverity::Error => "bad",
        LintianSeverity::Warning => "warn",
        LintianSeverity::Info => "info",
        _ => "dim",
    }
}

fn groups(analysis: &Analysis) -> Vec<Group<'_>> {
    let mut found: BTreeMap<LintianSeverity, BTreeMap<&str, BTreeMap<&str, Vec<&Tag>>>> = BTreeMap::new();
    for tag in &analysis.tags {
        found.entry(tag.severity).or_default().entry(&tag.package).or_default().entry(&tag.tag).or_default().push(tag);
    }
    // Lintian explains a tag once, wherever it found it first.
    let mut explanations: BTreeMap<&str, &str> = BTreeMap::new();
    for tag in analysis.tags.iter().filter(|tag| !tag.explanation.is_empty()) {
        explanations.entry(&tag.tag).or_insert(&tag.explanation);
    }
    let mut left = MAX_SHOWN;
    let mut named = |name, tags: Vec<&Tag>| {
        let most = tags.len().min(MAX_OF_TAG).min(left);
        left -= most;
        let occurrence = |tag: &&Tag| Occurrence {
            pointer: harmless(&tag.pointer),
            note: harmless(&tag.note),
            comment: harmless(&tag.comment),
        };
        let is_said = |one: &Occurrence| ![&one.pointer, &one.note, &one.comment].iter().all(|part| part.is_empty());
        Named {
            name,
            explanation: if most > 0 {
                explanations.get(name).map(|why| harmless(why)).unwrap_or_default()
            } else {
                String::new()
            },
            count: tags.len(),
            occurrences: tags.iter().take(most).map(occurrence).filter(is_said).collect(),
        }
    };
    let mut package = |name, tags: BTreeMap<_, _>| Package {
        name,
        file: analysis.summary.package_filename.get(name).map(String::as_str),
        tags: tags.into_iter().map(|(name, tags)| named(name, tags)).collect(),
    };
    // The worst that there is, too, if it may want a look.
    let worst = found.keys().next().copied().filter(|severity| *severity <= LintianSeverity::Pedantic);
    let group = |(severity, packages): (LintianSeverity, BTreeMap<_, _>)| Group {
        severity,
        class: class(severity),
        count: analysis.tags.iter().filter(|tag| tag.severity == severity).count(),
        is_open: severity <= LintianSeverity::Warning || worst == Some(severity),
        packages: packages.into_iter().map(|(name, tags)| package(name, tags)).collect(),
    };
    found.into_iter().map(group).collect()
}

#[derive(Template)]
#[template(path = "results/lintian.html")]
struct Page<'a> {
    report: &'a Address,
    counts: Vec<(LintianSeverity, &'static str, usize)>,
    groups: Vec<Group<'a>>,
    version: &'a str,
    distribution: &'a str,
}

/// The view; `report` is where `lintian.txt` is.
pub fn render(analysis: &Analysis, report: &Address) -> askama::Result<String> {
    let groups = groups(analysis);
    let count = |severity| groups.iter().find(|group| group.severity == severity).map_or(0, |group| group.count);
    Page {
        report,
        counts: LintianSeverity::iter().map(|severity| (severity, class(severity), count(severity))).collect(),
        version: &analysis.summary.lintian_version,
        distribution: &analysis.summary.distribution,
        groups,
    }
    .render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(json: &serde_json::Value) -> String {
        let analysis = parse(json.to_string().as_bytes()).unwrap();
        render(&analysis, &Address::new("/s/w/artifact/1/", "lintian.txt")).unwrap()
    }

    fn real() -> String {
        let analysis = parse(include_bytes!("fixtures/analysis.json")).unwrap();
        render(&analysis, &Address::new("/s/w/artifact/1/", "lintian.txt")).unwrap()
    }

    #[test]
    fn a_real_analysis() {
        let html = real();
        assert!(html.contains("href=\"/s/w/artifact/1/file/lintian.txt\""));
        // Severities in order, the bad ones open.
        let warning = html.find("id=\"lintian-warning\" open").unwrap();
        let info = html.find("id=\"lintian-info\">").unwrap();
        assert!(warning < info);
        assert!(html.contains("tiny_1.2_amd64.deb"));
        assert!(html.contains("no-manual-page") && html.contains("usr/bin/tiny"), "{html}");
        assert!(html.contains("Each binary in"), "the explanation is there");
    }

    #[test]
    fn what_packages_say_is_text() {
        let counts: serde_json::Map<_, _> = LintianSeverity::iter().map(|s| (s.to_string(), 0.into())).collect();
        let tag = |note: &str| {
            serde_json::json!({"severity": "overridden", "package": "<p>", "tag": "t<", "explanation": "<script>",
                "comment": "because\u{1b}[31m", "note": note, "pointer": "a\rb"})
        };
        let analysis = serde_json::json!({
            "tags": (0..150).map(|_| tag("<b>")).collect::<Vec<_>>(),
            "summary": {"tags_count_by_severity": counts, "package_filename": {}, "tags_found": [],
                "overridden_tags_found": [], "lintian_version": "2<", "distribution": "d"},
            "version": 1,
        });
        let html = html(&analysis);
        assert!(!html.contains("<b>") && !html.contains("<script>") && html.contains("&#60;b&#62;"));
        assert!(html.contains("a^Mb") && html.contains("150 times") && html.contains("50 more"), "{html}");
        assert!(!html.contains("\u{1b}"));
    }

    #[test]
    fn nothing_found() {
        let analysis = parse(include_bytes!("fixtures/analysis.json")).unwrap();
        let empty = Analysis { tags: Vec::new(), summary: analysis.summary };
        let html = render(&empty, &Address::new("/s/w/artifact/1/", "lintian.txt")).unwrap();
        assert!(html.contains("Lintian found nothing."), "{html}");
        assert!(parse(b"{}").is_err() && parse(b"[1").is_err());
    }
}
