//! lintian on real packages, good and bad.

use std::fs;

use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;
use usine_tasks::{NewArtifact, Outcome};

use crate::house::{House, all_logs, build, environment, hello};
use crate::source;
use crate::support::{DirHost, Stored, log, of, relations};

/// Runs on a source package, 12, and binary packages, from 20 on.
async fn lintian(house: &House, source: &Stored, binaries: &[Stored], further: Value) -> Outcome {
    let mut host = DirHost::new().stored(12, source.clone()).stored(3, environment("bookworm", "buildd").await);
    let ids: Vec<i64> = (20..).take(binaries.len()).collect();
    for (id, binary) in ids.iter().zip(binaries) {
        host = host.stored(*id, binary.clone());
    }
    let mut data = json!({"input": {"source_artifact": 12, "binary_artifacts": ids}, "environment": 3});
    data.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": ids});
    house.run("lintian", &data, dynamic, &host).await
}

fn text(artifact: &NewArtifact, name: &str) -> String {
    let file = artifact.files.iter().find(|(path, _)| path.as_str() == name).unwrap().1;
    fs::read_to_string(&file.path).unwrap()
}

/// The reports by architecture. In all, each line with a tag in lintian's own output counts once.
fn reports(outcome: &Outcome) -> Vec<(String, Value)> {
    let made = of(outcome, ArtifactCategory::Lintian);
    let reports: Vec<(String, Value)> = made
        .iter()
        .map(|report| {
            let analysis: Value = serde_json::from_str(&text(report, "analysis.json")).unwrap();
            assert_eq!(analysis["summary"], report.data["summary"]);
            assert!(analysis["summary"]["lintian_version"].as_str().unwrap().starts_with("2."));
            (report.data["architecture"].as_str().unwrap().to_owned(), analysis)
        })
        .collect();
    let output = text(made.first().unwrap_or_else(|| panic!("{}", all_logs(outcome))), "lintian.txt");
    for (code, severity) in [
        ('E', "error"),
        ('W', "warning"),
        ('I', "info"),
        ('P', "pedantic"),
        ('X', "experimental"),
        ('O', "overridden"),
        ('C', "classification"),
    ] {
        let counts = reports.iter().map(|(_, of)| of["summary"]["tags_count_by_severity"][severity].as_u64().unwrap());
        let lines = output.lines().filter(|line| line.starts_with(&format!("{code}: "))).count();
        assert_eq!(counts.sum::<u64>(), lines as u64, "{severity}: {output}");
    }
    reports
}

fn tags<'a>(analysis: &'a Value, severity: &str) -> Vec<&'a str> {
    let tags = analysis["tags"].as_array().unwrap().iter().filter(|tag| tag["severity"] == severity);
    tags.map(|tag| tag["tag"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_has_no_errors_but_smaller_tags() {
    let house = House::new();
    let hello = hello().await;
    let outcome = lintian(&house, &hello.source, &hello.binaries, json!({})).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let reports = reports(&outcome);
    let architectures: Vec<_> = reports.iter().map(|(architecture, _)| architecture.as_str()).collect();
    assert_eq!(architectures, [crate::house::architecture().as_str(), "source"]);
    let source = &reports[1].1;
    assert_eq!(source["summary"]["package_filename"], json!({"hello": "hello_2.10-3.dsc"}));
    assert!(tags(source, "pedantic").contains(&"no-dep5-copyright"), "{source:#}");
    let tag = source["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == "no-dep5-copyright").unwrap();
    assert_eq!((&tag["package"], &tag["pointer"]), (&json!("hello"), &json!("debian/copyright")));
    assert!(tag["explanation"].as_str().unwrap().contains("machine-readable"), "{tag}");
    assert_eq!(reports.iter().flat_map(|(_, analysis)| tags(analysis, "error")).count(), 0);
    let related = relations(&outcome);
    assert!(
        related.contains(&"lintian relates-to 12".to_owned()) && related.contains(&"lintian relates-to 20".to_owned())
    );
    assert!(log(&outcome, "install.log").unwrap().contains("Executing: apt-get --yes install lintian\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_package_fails_as_far_as_it_is_looked_at() {
    let house = House::new();
    let (source, built) = build(&house, source::tiny(house.root.path())).await;
    assert_eq!(built.result, Some(Results::Success), "{}", all_logs(&built));
    let binaries: Vec<Stored> = of(&built, ArtifactCategory::BinaryPackage).into_iter().map(Stored::from).collect();

    let outcome = lintian(&house, &source, &binaries, json!({})).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{}", all_logs(&outcome));
    for (architecture, analysis) in reports(&outcome) {
        let errors = tags(&analysis, "error");
        // The packages have no copyright file; the source package has nothing worse than a warning.
        assert_eq!(errors.contains(&"no-copyright-file"), architecture != "source", "{architecture}: {errors:?}");
        assert_eq!(errors.is_empty(), architecture == "source", "{errors:?}");
    }

    let only_source = json!({"output": {"binary_all_analysis": false, "binary_any_analysis": false}});
    let outcome = lintian(&house, &source, &binaries, only_source).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let made = of(&outcome, ArtifactCategory::Lintian);
    assert_eq!((made.len(), &made[0].data["architecture"]), (1, &json!("source")));

    let one_tag = json!({"include_tags": ["no-copyright-file"], "fail_on_severity": "none"});
    let outcome = lintian(&house, &source, &binaries, one_tag).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    for (architecture, analysis) in reports(&outcome) {
        let expected = if architecture == "source" { json!([]) } else { json!(["no-copyright-file"]) };
        assert_eq!(analysis["summary"]["tags_found"], expected, "{architecture}");
    }

    let outcome = lintian(&house, &source, &binaries, json!({"include_tags": ["no-such-tag-anywhere"]})).await;
    assert_eq!(outcome.result, Some(Results::Error), "{}", all_logs(&outcome));
    assert!(log(&outcome, "cmd-output.log").unwrap().contains("Unknown tag no-such-tag-anywhere"));
}
