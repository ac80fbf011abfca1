//! autopkgtest on small packages, whose tests need nothing that must be downloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{LogStream, NewArtifact, Outcome, execute};

use crate::house::{House, all_logs, architecture, environment, output};
use crate::source::{self, CONTROL, package, rules};
use crate::support::{DirHost, Stored, of, relations};

/// The source package `tiny` with these tests (`debian/tests/control`, DEP-8).
fn tested(directory: &Path, tests: &str) -> Stored {
    let files = [("control", CONTROL), ("rules", &rules("")), ("tests/control", tests)];
    source::artifact(&package(directory, "tiny", "1.0", &files))
}

/// The package `tiny` with one file, not built but packed.
fn packed(directory: &Path) -> Stored {
    let tree = directory.join("packed");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control =
        "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: Tiny <tiny@example.org>\nDescription: tiny\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::write(tree.join("tiny-is-here"), "").unwrap();
    let deb = directory.join("tiny_1.0_all.deb");
    let (tree, target) = (tree.display().to_string(), deb.display().to_string());
    output(&["dpkg-deb", "--root-owner-group", "--build", &tree, &target]);
    Stored { category: ArtifactCategory::BinaryPackage, data: json!({}), files: vec![deb] }
}

async fn host(source: Stored) -> DirHost {
    DirHost::new().stored(12, source).stored(3, environment("bookworm", "buildd").await)
}

fn data() -> Value {
    json!({"input": {"source_artifact": 12, "binary_artifacts": []}, "build_architecture": architecture(), "environment": 3,
        "timeout": {"global": 600, "test": 300}})
}

fn dynamic(binaries: &[i64]) -> Value {
    json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": binaries})
}

fn report(outcome: &Outcome) -> &NewArtifact {
    of(outcome, ArtifactCategory::Autopkgtest).first().unwrap_or_else(|| panic!("{}", all_logs(outcome)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_package_passes_its_tests() {
    let house = House::new();
    let tests = "Test-Command: echo from the test; echo kept > \"$AUTOPKGTEST_ARTIFACTS/kept\"; \
        ln -s /etc/passwd \"$AUTOPKGTEST_ARTIFACTS/link\"; test -e /tiny-is-here\n\
        Features: test-name=is-there\nRestrictions: superficial\nDepends: tiny\n";
    let host = host(tested(house.root.path(), tests)).await.stored(20, packed(house.root.path()));
    let outcome = house.run("autopkgtest", &data(), dynamic(&[20]), &host).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let report = report(&outcome);
    let superficial = json!({"status": "PASS", "details": "(superficial)"});
    assert_eq!(report.data["results"], json!({"is-there": superficial}));
    assert_eq!(report.data["distribution"], "debian:bookworm");
    assert_eq!(report.data["architecture"], architecture());
    assert_eq!(report.data["source_package"]["name"], "tiny");
    let files: Vec<_> = report.files.keys().map(|name| name.as_str()).collect();
    for name in ["artifacts/kept", "is-there-stdout", "log", "summary", "testinfo.json", "testpkg-version"] {
        assert!(files.contains(&name), "{name} is missing: {files:?}");
    }
    assert!(!files.iter().any(|name| name.starts_with("binaries/") || name.contains("link")), "{files:?}");
    assert_eq!(relations(&outcome)[..2], ["autopkgtest relates-to 12", "autopkgtest relates-to 20"]);
    // Both what the test says and what autopkgtest itself says.
    let text = host.text(LogStream::Stdout);
    assert!(text.contains("from the test\n") && text.contains(" @@@@@@@@@@@@@@@@@@@@ summary"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_fails_is_found() {
    let house = House::new();
    let tests = "Test-Command: true\nFeatures: test-name=good\nDepends:\n\n\
        Test-Command: exit 3\nFeatures: test-name=bad\nDepends:\n";
    let host = host(tested(house.root.path(), tests)).await;
    let outcome = house.run("autopkgtest", &data(), dynamic(&[]), &host).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{}", all_logs(&outcome));
    let results = &report(&outcome).data["results"];
    assert_eq!(results["good"], json!({"status": "PASS", "details": null}));
    assert_eq!(results["bad"], json!({"status": "FAIL", "details": "non-zero exit status 3"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_with_nothing_to_run_is_skipped() {
    let house = House::new();
    let tests = "Test-Command: true\nFeatures: test-name=odd\nRestrictions: of-a-kind-that-nobody-knows\nDepends:\n";
    let host = host(tested(house.root.path(), tests)).await;
    let outcome = house.run("autopkgtest", &data(), dynamic(&[]), &host).await;
    assert_eq!(outcome.result, Some(Results::Skipped), "{}", all_logs(&outcome));
    assert_eq!(report(&outcome).data["results"]["odd"]["status"], "SKIP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_leaves_nothing() {
    let house = House::new();
    // Two that do not end when they are asked to: one of them leaves the process group.
    let (one, other) = ("sleep 86413", "sleep 86414");
    let tests = format!(
        "Test-Command: trap '' TERM; setsid {one} & echo it has begun; {other}; {other}\nFeatures: test-name=long\nDepends:\n"
    );
    let host = host(tested(house.root.path(), &tests)).await;
    let around = house.surroundings();
    let (data, dynamic) = (data(), dynamic(&[]));
    let stop = async {
        let begun = async {
            while !host.text(LogStream::Stdout).contains("it has begun\n") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let begun = tokio::time::timeout(Duration::from_secs(180), begun).await;
        let there = (test_beds(&around.directory), processes(one).len(), processes(other).len());
        around.cancel.cancel();
        begun.map(|()| there)
    };
    let run = execute(TaskType::Worker, "autopkgtest", &data, Some(&dynamic), &around, &host);
    let (stopped, there) = tokio::join!(run, stop);
    let (beds, ones, others) = there.expect("the test begins");
    assert_eq!((beds.len(), ones, others), (1, 1, 1), "{beds:?}");
    assert_eq!(stopped.result, None);
    assert!(!beds[0].exists(), "{} is left", beds[0].display());
    let left = fs::read_dir(&around.directory).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().starts_with("tmp-")).count(), 0);
    for command in [one, other] {
        assert_eq!(processes(command), Vec::<String>::new(), "{command} still runs");
    }
}

/// The systems that autopkgtest unpacked for a run.
fn test_beds(directory: &Path) -> Vec<PathBuf> {
    let entries = |directory: &Path| {
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let temporary = entries(directory)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp-")));
    temporary.flat_map(|path| entries(&path)).filter(|path| path.join("usr").exists()).collect()
}

/// The processes that run exactly this command.
fn processes(command: &str) -> Vec<String> {
    let wanted = format!("{}\0", command.replace(' ', "\0"));
    let all = fs::read_dir("/proc").unwrap().flatten();
    let runs = |path: &Path| fs::read(path.join("cmdline")).is_ok_and(|found| found == wanted.as_bytes());
    all.filter(|entry| runs(&entry.path())).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
