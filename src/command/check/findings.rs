//! What a check has found, in a few words: from the data of its artifacts and the text of its report.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;
use usine_client::{Client, Error, FileFacts};
use usine_model::artifact::{ArtifactCategory, Autopkgtest, AutopkgtestStatus};
use usine_model::work_request::Results;
use usine_protocol::artifact::Artifact;

use super::Check;
use super::plan::Built;
use crate::patience::patiently;

/// Larger reports are not read, in bytes.
const MAX_TEXT: u64 = 64 * 1024 * 1024;

/// Longest text in the table, in characters.
const SHORT: usize = 100;

/// The file of a report that is read. A build log is long, and says nothing new of a build that succeeded.
pub fn file_of(check: Check, result: Results, report: &Artifact) -> Option<&str> {
    match check {
        Check::Build if result == Results::Success => None,
        Check::Build => report.data.get("filename")?.as_str(),
        Check::Piuparts => Some("piuparts.txt"),
        Check::Blhc => Some("blhc.txt"),
        Check::Debdiff => Some("debdiff.txt"),
        Check::Lintian | Check::Autopkgtest => None,
    }
}

/// The text of a file of a report; none if it is not there or too large.
pub async fn text(client: &Client, report: &Artifact, name: &str) -> anyhow::Result<Option<String>> {
    let Some(file) = report.files.get(name).filter(|file| file.size <= MAX_TEXT) else { return Ok(None) };
    let directory = tempfile::tempdir().context("Cannot make a temporary directory")?;
    let path = directory.path().join("report");
    let facts = FileFacts { size: file.size, sha256: file.checksums.sha256.to_lowercase() };
    patiently(Error::is_transient, async || client.download_file(&file.url, &path, &facts, &|_, _| ()).await).await?;
    let bytes = std::fs::read(&path).with_context(|| format!("Cannot read {}", path.display()))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What was found; nothing to say is an empty text.
pub fn in_words(check: Check, result: Results, artifacts: &[Artifact], text: Option<&str>) -> String {
    match check {
        Check::Build => build(artifacts, text),
        Check::Lintian => lintian(artifacts),
        Check::Autopkgtest => autopkgtest(artifacts),
        Check::Piuparts => piuparts(result, artifacts, text),
        Check::Blhc => text.map(blhc).unwrap_or_default(),
        Check::Debdiff => text.map(debdiff).unwrap_or_default(),
    }
}

/// The first line, not too long.
pub fn in_short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// What was built; of a failure the stage, which sbuild tells at the end of its log: `Fail-Stage: build`.
fn build(artifacts: &[Artifact], log: Option<&str>) -> String {
    let stage = log.and_then(|log| log.lines().rev().find_map(|line| line.strip_prefix("Fail-Stage: ")));
    if let Some(stage) = stage {
        return in_short(&format!("failed in stage {stage}"));
    }
    let built = Built::of(artifacts);
    let debug = built.debug as u64;
    let packages = count(built.binaries.len() as u64 - debug, "package");
    if debug == 0 { packages } else { format!("{packages}, {debug} of debug symbols") }
}

fn data_of<T: serde::de::DeserializeOwned>(artifacts: &[Artifact], category: ArtifactCategory) -> Vec<T> {
    let of_category = artifacts.iter().filter(|artifact| artifact.category == category);
    of_category.filter_map(|artifact| serde_json::from_value(artifact.data.clone()).ok()).collect()
}

fn lintian(artifacts: &[Artifact]) -> String {
    let reports = || artifacts.iter().filter(|artifact| artifact.category == ArtifactCategory::Lintian);
    let of = |severity| -> u64 {
        let counts =
            reports().filter_map(|report| report.data.pointer("/summary/tags_count_by_severity")?.get(severity));
        counts.filter_map(Value::as_u64).sum()
    };
    let (errors, warnings) = (of("error"), of("warning"));
    format!("{}, {}", count(errors, "error"), count(warnings, "warning"))
}

/// By status, the bad ones first.
fn autopkgtest(artifacts: &[Artifact]) -> String {
    use AutopkgtestStatus::{Fail, Flaky, Pass, Skip};
    let reports: Vec<Autopkgtest> = data_of(artifacts, ArtifactCategory::Autopkgtest);
    let results: Vec<AutopkgtestStatus> =
        reports.iter().flat_map(|report| report.results.values()).map(|result| result.status).collect();
    let words = [(Fail, "FAIL"), (Flaky, "FLAKY"), (Skip, "SKIP"), (Pass, "PASS")].map(|(status, word)| {
        let number = results.iter().filter(|result| **result == status).count();
        (number > 0).then(|| format!("{number} {word}"))
    });
    if results.is_empty() { "no tests".to_owned() } else { words.into_iter().flatten().collect::<Vec<_>>().join(", ") }
}

/// What was tried; of a failure the first error, without the time before it: `0m27.0s ERROR: FAIL: …`.
fn piuparts(result: Results, artifacts: &[Artifact], text: Option<&str>) -> String {
    let errors = text.unwrap_or_default().lines().filter_map(|line| Some(line.split_once(" ERROR: ")?.1));
    if let Some(error) = errors.map(in_short).next().filter(|_| result != Results::Success) {
        return error;
    }
    let reports = artifacts.iter().filter(|artifact| artifact.category == ArtifactCategory::Piuparts);
    let packages: u64 = reports
        .filter_map(|report| report.data.get("binary_packages")?.as_object())
        .map(|packages| packages.len() as u64)
        .sum();
    count(packages, "package")
}

/// blhc(1) prints a line for each command: `CFLAGS missing (-fPIE): gcc …`, `NONVERBOSE BUILD: …`.
fn blhc(text: &str) -> String {
    let mut missing: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        if let Some((kind, _)) = line.split_once(" missing (") {
            *missing.entry(kind).or_default() += 1;
        }
    }
    let mut words: Vec<String> = missing.iter().map(|(kind, number)| format!("{kind} missing in {number}")).collect();
    let hidden = text.lines().filter(|line| line.starts_with("NONVERBOSE BUILD")).count() as u64;
    if hidden > 0 {
        words.push(format!("{} not shown", count(hidden, "command")));
    }
    if text.contains("No compiler commands!") {
        words.push("no compiler commands".to_owned());
    }
    match text.lines().find(|line| !line.trim().is_empty()) {
        None => "no flags missing".to_owned(),
        Some(first) if words.is_empty() => in_short(first),
        Some(_) => words.join(", "),
    }
}

/// Of sources a unified diff, of binary packages lists of files.
fn debdiff(text: &str) -> String {
    let sources = unified_diff(text);
    if sources.files > 0 {
        let binary = if sources.binary > 0 { format!(", {} binary", sources.binary) } else { String::new() };
        return format!("{}, +{} −{}{binary}", count(sources.files, "file"), sources.added, sources.removed);
    }
    let (added, removed) = (listed(text, "Files in second "), listed(text, "Files in first "));
    let control = text.lines().filter(|line| line.starts_with("Control files") && line.contains("lines which differ"));
    let control = control.count();
    let mut words = Vec::new();
    if added + removed > 0 {
        words.push(format!("files: +{added} −{removed}"));
    }
    if control > 0 {
        words.push("control files differ".to_owned());
    }
    match words.is_empty() {
        true => "no differences".to_owned(),
        false => words.join(", "),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    files: u64,
    binary: u64,
    added: u64,
    removed: u64,
}

/// Counts what `diff -Nru` says. Inside of a hunk its header tells how many lines are its own: a removed line may look like
/// the header of a file.
fn unified_diff(text: &str) -> Difference {
    let mut found = Difference::default();
    let (mut old, mut new) = (0, 0);
    for line in text.lines() {
        if old > 0 || new > 0 {
            match line.as_bytes().first() {
                Some(b'+') => {
                    found.added += 1;
                    new -= 1;
                }
                Some(b'-') => {
                    found.removed += 1;
                    old -= 1;
                }
                // "\ No newline at end of file"
                Some(b'\\') => {}
                _ => {
                    old -= 1;
                    new -= 1;
                }
            }
        } else if let Some((before, after)) = hunk(line) {
            (old, new) = (before, after);
        } else if line.starts_with("+++ ") {
            found.files += 1;
        } else if line.starts_with("Binary files ") && line.ends_with(" differ") {
            found.files += 1;
            found.binary += 1;
        }
    }
    found
}

/// The lengths in `@@ -1,3 +1,4 @@`; a missing one is 1.
fn hunk(line: &str) -> Option<(i64, i64)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let mut length = |sign: char| -> Option<i64> {
        let range = words.next()?.strip_prefix(sign)?;
        range.split_once(',').map_or(Some(1), |(_, length)| length.parse().ok())
    };
    Some((length('-')?, length('+')?))
}

/// The lines of the lists below these headings: a heading, a line of dashes, the files, an empty line.
fn listed(text: &str, heading: &str) -> u64 {
    let mut lines = text.lines();
    let mut number = 0;
    while let Some(line) = lines.next() {
        if line.starts_with(heading) && line.contains("but not in") {
            let files = lines.by_ref().skip(1).take_while(|line| !line.trim().is_empty());
            number += files.count() as u64;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn artifact(category: &str, data: Value) -> Artifact {
        serde_json::from_value(json!({
            "id": 1, "workspace": "System", "category": category, "created_at": "2026-11-23T20:38:39Z", "data": data,
            "download_tar_gz_url": "", "files_to_upload": [], "files": {},
        }))
        .unwrap()
    }

    fn words(check: Check, result: Results, artifacts: &[Artifact], text: &str) -> String {
        in_words(check, result, artifacts, Some(text))
    }

    #[test]
    fn lintian_counts_over_all_architectures() {
        let report = |errors: u64, warnings: u64| {
            artifact(
                "debian:lintian",
                json!({"architecture": "all", "summary": {
                    "tags_count_by_severity": {"error": errors, "warning": warnings}, "package_filename": {},
                    "tags_found": [], "overridden_tags_found": [], "lintian_version": "2", "distribution": "debian:sid",
                }}),
            )
        };
        assert_eq!(words(Check::Lintian, Results::Failure, &[report(1, 0), report(0, 4)], ""), "1 error, 4 warnings");
        assert_eq!(words(Check::Lintian, Results::Success, &[report(0, 1)], ""), "0 errors, 1 warning");
    }

    #[test]
    fn autopkgtest_counts_by_status() {
        let report = |results: Value| {
            artifact(
                "debian:autopkgtest",
                json!({"results": results, "cmdline": "", "architecture": "amd64", "distribution": "debian:trixie",
                    "source_package": {"name": "a", "version": "1", "url": "http://h.example/a.dsc"}}),
            )
        };
        let results =
            json!({"a": {"status": "PASS"}, "b": {"status": "PASS"}, "c": {"status": "FAIL", "details": "x"}});
        assert_eq!(words(Check::Autopkgtest, Results::Failure, &[report(results)], ""), "1 FAIL, 2 PASS");
        assert_eq!(words(Check::Autopkgtest, Results::Skipped, &[report(json!({}))], ""), "no tests");
    }

    #[test]
    fn piuparts_tells_its_first_error() {
        let report = artifact("debian:piuparts", json!({"binary_packages": {"hello": "1"}}));
        let said = "0m20.0s DEBUG: x\n0m27.0s ERROR: FAIL: Package purging left files on system:\n  /x\n";
        assert_eq!(
            words(Check::Piuparts, Results::Failure, std::slice::from_ref(&report), said),
            "FAIL: Package purging left files on system:"
        );
        assert_eq!(words(Check::Piuparts, Results::Success, &[report], "0m1s INFO: PASS: All tests.\n"), "1 package");
    }

    #[test]
    fn blhc_counts_by_kind_of_flag() {
        let said = "CFLAGS missing (-fPIE): gcc a\nLDFLAGS missing (-Wl,-z,now): gcc b\nCFLAGS missing (-g): gcc c\n";
        assert_eq!(blhc(said), "CFLAGS missing in 2, LDFLAGS missing in 1");
        assert_eq!(blhc(""), "no flags missing");
        assert_eq!(blhc("No compiler commands!\n"), "no compiler commands");
        assert_eq!(blhc("NONVERBOSE BUILD: CC a.c\n"), "1 command not shown");
    }

    #[test]
    fn debdiff_counts_files_and_lines() {
        // The removed line "-- a" and the added line "++ b" look like headers of a file.
        let sources = "diff -Nru hello-1/debian/changelog hello-2/debian/changelog\n\
            --- hello-1/debian/changelog\t2022-01-01 00:00:00.000000000 +0000\n\
            +++ hello-2/debian/changelog\t2023-01-01 00:00:00.000000000 +0000\n\
            @@ -1,2 +1,4 @@\n+hello (2) unstable\n+\n one\n--- a\n+++ b\n\
            @@ -9 +11 @@\n-x\n\\ No newline at end of file\n+y\n\
            diff -Nru hello-1/new hello-2/new\n--- hello-1/new\t1\n+++ hello-2/new\t2\n@@ -0,0 +1 @@\n+new\n\
            Binary files /a/logo.png and /b/logo.png differ\n";
        assert_eq!(unified_diff(sources), Difference { files: 3, binary: 1, added: 5, removed: 2 }, "{sources}");
        assert_eq!(debdiff(sources), "3 files, +5 −2, 1 binary");
        assert_eq!(debdiff(""), "no differences");
    }

    #[test]
    fn debdiff_of_binary_packages_counts_files() {
        let said = "[The following lists of changes regard files as different if they have\n\
            different names, permissions or owners.]\n\n\
            Files in second .changes but not in first\n-----------------------------------------\n\
            -rw-r--r--  root/root   /usr/share/doc/hello/a\n-rw-r--r--  root/root   /usr/share/doc/hello/b\n\n\
            Files in first .changes but not in second\n-----------------------------------------\n\
            -rw-r--r--  root/root   /usr/share/doc/hello/c\n\n\
            Control files of package hello: lines which differ (wdiff format)\n-----\nVersion: [-1-] {+2+}\n";
        assert_eq!(debdiff(said), "files: +2 −1, control files differ");
        assert_eq!(debdiff("File lists identical (after any substitutions)\n"), "no differences");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(in_short("one\ntwo"), "one");
        assert_eq!(in_short(&"é".repeat(101)).chars().count(), 101);
    }
}
