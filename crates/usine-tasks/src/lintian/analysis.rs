//! What lintian's tags say about the packages that it was given: the verdict, and a report for each architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use strum::IntoEnumIterator;
use usine_debian::{Architecture, Deb, Dsc};
use usine_model::artifact::{LintianSeverity, LintianSummary};
use usine_model::work_request::Results;

use super::data::{FailOn, Output};
use super::report::Tag;
use crate::run::TaskError;

/// The "architecture" of source packages.
const SOURCE: &str = "source";

/// A package that lintian looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub name: String,
    /// `source`, `all`, or an architecture.
    pub architecture: String,
    /// Name of the file.
    pub file: String,
}

/// What becomes `analysis.json`.
#[derive(Debug, Serialize)]
pub(super) struct Analysis<'a> {
    pub tags: Vec<&'a Tag>,
    pub summary: LintianSummary,
    version: u32,
}

impl Package {
    /// Looks into a `.dsc`, `.deb` or `.udeb`.
    pub fn read(path: &Path) -> Result<Self, TaskError> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.ends_with(".dsc") {
            let dsc = Dsc::read(path)?;
            return Ok(Self { name: dsc.source().to_owned(), architecture: SOURCE.to_owned(), file });
        }
        let deb = Deb::read(path)?;
        let field = |name| deb.fields().text(name).unwrap_or_default().to_owned();
        let (name, architecture) = (field("Package"), field("Architecture"));
        // It becomes a part of a file name.
        match architecture.parse::<Architecture>() {
            Ok(_) if architecture != SOURCE => Ok(Self { name, architecture, file }),
            _ => Err(TaskError::Other(format!("{file} has the architecture {architecture:?}"))),
        }
    }

    /// Whether a tag is about this package. Of two packages of the same name but different architectures lintian does not
    /// say which it means: then it is both.
    fn has(&self, tag: &Tag) -> bool {
        self.name == tag.package && (self.architecture == SOURCE) == tag.is_source
    }
}

/// A tag about no known package, if there is one.
pub(super) fn stranger<'a>(tags: &'a [Tag], packages: &[Package]) -> Option<&'a Tag> {
    tags.iter().find(|tag| !packages.iter().any(|package| package.has(tag)))
}

/// The architectures that are reported, even if nothing was found.
pub(super) fn architectures(packages: &[Package], output: Output) -> BTreeSet<&str> {
    packages.iter().map(|package| package.architecture.as_str()).filter(|name| output.wants(name)).collect()
}

/// Whether a reported package has a tag that is bad enough for a failure.
pub(super) fn verdict(tags: &[Tag], packages: &[Package], output: Output, fail_on: FailOn) -> Results {
    let Some(limit) = fail_on.severity() else { return Results::Success };
    let counts = |tag: &Tag| packages.iter().any(|package| package.has(tag) && output.wants(&package.architecture));
    // The worst severity is the least.
    let failed = tags.iter().any(|tag| tag.severity <= limit && counts(tag));
    if failed { Results::Failure } else { Results::Success }
}

/// What was found in the packages of an architecture.
pub(super) fn analysis<'a>(
    architecture: &str,
    tags: &'a [Tag],
    packages: &[Package],
    lintian_version: &str,
    distribution: &str,
) -> Analysis<'a> {
    let packages: Vec<_> = packages.iter().filter(|package| package.architecture == architecture).collect();
    let mut found: Vec<&Tag> = tags.iter().filter(|tag| packages.iter().any(|package| package.has(tag))).collect();
    found.sort_by(|a, b| (&a.package, a.severity, &a.tag, &a.note).cmp(&(&b.package, b.severity, &b.tag, &b.note)));
    let mut counts: BTreeMap<_, u64> = LintianSeverity::iter().map(|severity| (severity, 0)).collect();
    for tag in &found {
        *counts.entry(tag.severity).or_default() += 1;
    }
    let with_tags = packages.iter().filter(|package| found.iter().any(|tag| package.has(tag)));
    let names = |overridden: bool| -> Vec<String> {
        let tags = found.iter().filter(|tag| (tag.severity == LintianSeverity::Overridden) == overridden);
        tags.map(|tag| tag.tag.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let summary = LintianSummary {
        tags_count_by_severity: counts,
        package_filename: with_tags.map(|package| (package.name.clone(), package.file.clone())).collect(),
        tags_found: names(false),
        overridden_tags_found: names(true),
        lintian_version: lintian_version.to_owned(),
        distribution: distribution.to_owned(),
    };
    Analysis { tags: found, summary, version: 1 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::parse;
    use super::*;

    const SAMPLE: &str = include_str!("../../tests/samples/lintian-nasty.txt");

    fn packages() -> Vec<Package> {
        [
            ("nasty", "source", "nasty_1.0.dsc"),
            ("nasty", "amd64", "nasty_1.0_amd64.deb"),
            ("nasty-doc", "all", "nasty-doc_1.0_all.deb"),
            ("nasty-udeb", "amd64", "nasty-udeb_1.0_amd64.udeb"),
        ]
        .map(|(name, architecture, file)| Package {
            name: name.into(),
            architecture: architecture.into(),
            file: file.into(),
        })
        .to_vec()
    }

    fn output(switches: serde_json::Value) -> Output {
        serde_json::from_value(switches).unwrap()
    }

    #[test]
    fn each_architecture_has_its_own_tags() {
        let (tags, packages) = (parse(SAMPLE).unwrap(), packages());
        assert_eq!(stranger(&tags, &packages), None);
        assert_eq!(stranger(&tags, &packages[1..]).map(|tag| tag.is_source), Some(true));
        let mut count = 0;
        for (architecture, prefixes) in [
            ("source", &["nasty source: "][..]),
            ("all", &["nasty-doc: "]),
            ("amd64", &["nasty: ", "nasty-udeb udeb: "]),
        ] {
            let found = analysis(architecture, &tags, &packages, "2.116.3", "debian:unstable");
            let about =
                |line: &&str| prefixes.iter().any(|prefix| line.get(3..).is_some_and(|l| l.starts_with(prefix)));
            let lines = SAMPLE.lines().filter(|line| !line.starts_with(['N', 'M'])).filter(about).count();
            assert_eq!(found.tags.len(), lines, "{architecture}");
            assert_eq!(found.summary.tags_count_by_severity.values().sum::<u64>(), lines as u64);
            assert_eq!(found.summary.tags_count_by_severity.len(), 7);
            count += lines;
        }
        assert_eq!(count, tags.len());
    }

    #[test]
    fn an_analysis_as_json() {
        let text = "N:\nW: nasty: b x [f]\nN:\nE: nasty: c\nN:\nE: nasty: a 2\nN:\nE: nasty: a 1\nN:\n\
            N: Why.\nO: a-udeb udeb: o\nN: \nN:   Because.\n";
        let mut packages = packages();
        packages[3].name = "a-udeb".into();
        let tags = parse(text).unwrap();
        let found = analysis("amd64", &tags, &packages, "2.116.3", "debian:unstable");
        let tag = |severity: &str, tag: &str, note: &str, pointer: &str| {
            json!({"severity": severity, "package": "nasty", "tag": tag, "explanation": "", "comment": "", "note": note,
                "pointer": pointer})
        };
        assert_eq!(
            serde_json::to_value(&found).unwrap(),
            json!({
                "tags": [
                    {"severity": "overridden", "package": "a-udeb", "tag": "o", "explanation": "Because.",
                        "comment": "Why.", "note": "", "pointer": ""},
                    tag("error", "a", "1", ""), tag("error", "a", "2", ""), tag("error", "c", "", ""),
                    tag("warning", "b", "x", "f"),
                ],
                "summary": {
                    "tags_count_by_severity": {"error": 3, "warning": 1, "info": 0, "pedantic": 0, "experimental": 0,
                        "overridden": 1, "classification": 0},
                    "package_filename": {"a-udeb": "nasty-udeb_1.0_amd64.udeb", "nasty": "nasty_1.0_amd64.deb"},
                    "tags_found": ["a", "b", "c"], "overridden_tags_found": ["o"], "lintian_version": "2.116.3",
                    "distribution": "debian:unstable",
                },
                "version": 1,
            })
        );
        let nothing = analysis("source", &tags, &packages, "2.116.3", "debian:unstable");
        assert!(nothing.tags.is_empty() && nothing.summary.package_filename.is_empty());
    }

    #[test]
    fn verdicts() {
        let packages = packages();
        let all = Output::default();
        let severities = ["error", "warning", "info", "pedantic", "experimental", "overridden", "none"];
        for (worst, code) in ["E", "W", "I", "P", "X", "O", "C"].into_iter().enumerate() {
            let tags = parse(&format!("{code}: nasty: tag\n")).unwrap();
            for (limit, severity) in severities.into_iter().enumerate() {
                let fail_on = serde_json::from_value(json!(severity)).unwrap();
                let expected = worst <= limit && severity != "none";
                let failed = verdict(&tags, &packages, all, fail_on) == Results::Failure;
                assert_eq!(failed, expected, "{code} with {severity}");
            }
        }
    }

    #[test]
    fn what_is_not_reported_does_not_fail() {
        let packages = packages();
        for (line, switch, architecture) in [
            ("E: nasty source: tag", "source_analysis", "source"),
            ("E: nasty-doc: tag", "binary_all_analysis", "all"),
            ("E: nasty-udeb udeb: tag", "binary_any_analysis", "amd64"),
        ] {
            let tags = parse(line).unwrap();
            assert_eq!(verdict(&tags, &packages, Output::default(), FailOn::Error), Results::Failure);
            let without = output(json!({switch: false}));
            assert_eq!(verdict(&tags, &packages, without, FailOn::Error), Results::Success, "{switch}");
            assert!(architectures(&packages, Output::default()).contains(architecture));
            assert!(!architectures(&packages, without).contains(architecture));
        }
    }

    #[test]
    fn packages_of_one_name_share_their_tags() {
        let mut packages = packages();
        packages.push(Package {
            architecture: "i386".into(),
            file: "nasty_1.0_i386.deb".into(),
            ..packages[1].clone()
        });
        let tags = parse("E: nasty: tag\n").unwrap();
        for architecture in ["amd64", "i386"] {
            assert_eq!(analysis(architecture, &tags, &packages, "2", "d").tags.len(), 1, "{architecture}");
        }
    }
}
