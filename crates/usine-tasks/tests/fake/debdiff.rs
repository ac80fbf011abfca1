//! Runs of debdiff.

use std::fs;

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::support::{DirHost, log, of, relations};
use crate::world::{World, run};

fn world(exit: i32) -> World {
    let world = World::new();
    world.instance().tool("debdiff", &format!("echo \"$@\" >> \"$0.calls\"; echo difference; exit {exit}"));
    world
}

/// Sources 12 and 13, binary packages 20, 21 and 30, uploads 40 and 41, the environment 3.
fn host(world: &World) -> DirHost {
    let mut host = DirHost::new().with(
        3,
        ArtifactCategory::SystemTarball,
        json!({"codename": "bookworm"}),
        vec![world.file("system.tar.xz", "")],
    );
    for (id, version) in [(12, "1"), (13, "2")] {
        let files = ["dsc", "tar.xz"].map(|suffix| world.file(&format!("hello_{version}.{suffix}"), "")).to_vec();
        host = host.with(id, ArtifactCategory::SourcePackage, json!({"name": "hello", "version": version}), files);
    }
    for (id, name, version) in [(20, "hello", "1"), (21, "hello-doc", "1"), (30, "hello", "2")] {
        let file = world.file(&format!("{name}_{version}_all.deb"), "");
        let data = json!({"srcpkg_name": "hello", "srcpkg_version": version, "deb_fields": {"Version": version}});
        host = host.with(id, ArtifactCategory::BinaryPackage, data, vec![file]);
    }
    for (id, version) in [(40, "1"), (41, "2")] {
        let files = ["changes", "deb"].map(|suffix| world.file(&format!("hello_{version}_all.{suffix}"), "")).to_vec();
        let data = json!({"type": "dpkg", "changes_fields": {"Source": "hello", "Version": version}});
        host = host.with(id, ArtifactCategory::Upload, data, files);
    }
    host.with(50, ArtifactCategory::Upload, json!({}), vec![world.file("x.buildinfo", "")])
}

/// Compares sources, or binaries, with these ids.
async fn debdiff(world: &World, kind: &str, ids: Value, flags: Value) -> Outcome {
    let field = format!("{kind}_artifacts");
    let data = json!({"input": {field: ids}, "build_architecture": "amd64", "environment": 3, "extra_flags": flags});
    let (used, unused) = if kind == "source" { ("source", "binary") } else { ("binary", "source") };
    let dynamic = json!({"environment_id": 3, format!("input_{used}_artifacts_ids"): ids,
        format!("input_{unused}_artifacts_ids"): null});
    run("debdiff", &data, Some(&dynamic), &world.surroundings(), &host(world)).await
}

fn called_with(world: &World) -> Vec<String> {
    let calls = world.calls("debdiff");
    assert_eq!(calls.len(), 1, "{calls:?}");
    let name = |word: &str| word.rsplit_once('/').map_or(word, |(_, name)| name).to_owned();
    calls[0].split(' ').map(name).collect()
}

#[tokio::test]
async fn sources_that_differ_and_that_do_not() {
    for exit in [0, 1] {
        let world = world(exit);
        let outcome = debdiff(&world, "source", json!([12, 13]), json!(["--diffstat", "--ignore-space"])).await;
        assert_eq!(outcome.result, Some(Results::Success), "{:?}", log(&outcome, "execution.log"));
        assert_eq!(called_with(&world), ["--diffstat", "--ignore-space", "hello_1.dsc", "hello_2.dsc"]);
        let report = of(&outcome, ArtifactCategory::Debdiff)[0];
        validate_data(report.category, &report.data).unwrap();
        assert_eq!(
            report.data,
            json!({"original": "hello_1.dsc", "new": "hello_2.dsc", "label": "debdiff hello: 1 → 2 (source)"})
        );
        let (name, file) = report.files.iter().next().unwrap();
        assert_eq!((name.as_str(), report.files.len()), ("debdiff.txt", 1));
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "difference\n");
        assert_eq!(
            relations(&outcome),
            [
                "debdiff relates-to 12",
                "debdiff relates-to 13",
                "work-request-debug-logs relates-to 12",
                "work-request-debug-logs relates-to 13"
            ]
        );
        let installed = log(&outcome, "install.log").unwrap();
        let packages = "devscripts diffstat patchutils wdiff";
        assert!(installed.contains(&format!("apt-get --yes --no-install-recommends install {packages}\n")));
        let commands = log(&outcome, "cmd-output.log").unwrap();
        assert!(commands.starts_with("cmd: debdiff --diffstat --ignore-space /"), "{commands}");
        assert!(commands.contains(&format!("returncode: {exit}\n")) && commands.contains("\ndifference\n"));
    }
}

#[tokio::test]
async fn binary_packages_and_uploads() {
    for (ids, argv, original, new) in [
        (
            json!([[20, 21], [30]]),
            &["--nocontrol", "--from", "hello_1_all.deb", "hello-doc_1_all.deb", "--to", "hello_2_all.deb"][..],
            "hello_1_all.deb hello-doc_1_all.deb",
            "hello_2_all.deb",
        ),
        (
            json!([[40], [41]]),
            &["--nocontrol", "hello_1_all.changes", "hello_2_all.changes"],
            "hello_1_all.changes",
            "hello_2_all.changes",
        ),
        // The same package on both sides.
        (
            json!([[20], [20]]),
            &["--nocontrol", "--from", "hello_1_all.deb", "--to", "hello_1_all.deb"],
            "hello_1_all.deb",
            "hello_1_all.deb",
        ),
    ] {
        let world = world(1);
        let outcome = debdiff(&world, "binary", ids.clone(), json!(["--nocontrol"])).await;
        assert_eq!(outcome.result, Some(Results::Success), "{ids}");
        assert_eq!(called_with(&world), argv);
        let report = of(&outcome, ArtifactCategory::Debdiff)[0];
        validate_data(report.category, &report.data).unwrap();
        let after = if ids == json!([[20], [20]]) { 1 } else { 2 };
        assert_eq!(
            report.data,
            json!({"original": original, "new": new, "label": format!("debdiff hello: 1 → {after} (amd64)")})
        );
    }
}

#[tokio::test]
async fn a_comparison_that_breaks_off_is_a_failure_without_report() {
    for exit in [2, 255] {
        let world = world(exit);
        let outcome = debdiff(&world, "source", json!([12, 13]), json!([])).await;
        assert_eq!(outcome.result, Some(Results::Failure));
        assert!(of(&outcome, ArtifactCategory::Debdiff).is_empty());
        assert!(log(&outcome, "cmd-output.log").unwrap().contains("\ndifference\n"));
    }
}

#[tokio::test]
async fn what_cannot_be_compared_ends_in_a_failure_that_says_so() {
    let world = world(0);
    for (kind, ids, file, expected) in [
        (
            "source",
            json!([12, 20]),
            "fetch_input.log",
            "input.source_artifacts[1] points to a debian:binary-package, not the expected debian:source-package.\n",
        ),
        (
            "binary",
            json!([[20], [21, 12]]),
            "fetch_input.log",
            "input.binary_artifacts[1][1] points to a debian:source-package, not the expected debian:binary-package or debian:upload.\n",
        ),
        (
            "binary",
            json!([[50], [41]]),
            "configure_for_execution.log",
            "expected one .changes, .dsc, .deb or .udeb file to compare among: x.buildinfo\n",
        ),
        ("binary", json!([[20], []]), "configure_for_execution.log", "There are no two sides to compare.\n"),
    ] {
        let outcome = debdiff(&world, kind, ids.clone(), json!([])).await;
        assert_eq!(outcome.result, Some(Results::Failure), "{ids}");
        let text = log(&outcome, file).unwrap();
        assert!(text.contains(expected), "{ids}: {text}");
    }
    assert!(world.calls("debdiff").is_empty());
}
