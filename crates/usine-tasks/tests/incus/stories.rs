//! One task that runs inside an instance, and the two whose tools make instances themselves.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{LogStream, Outcome, capabilities, execute};

use crate::house::{House, all_logs, architecture, environment_with, output};
use crate::source::{self, CONTROL, package, rules, tiny};
use crate::support::{DirHost, Stored, log, of};

/// One story at a time: each looks whether it left an instance.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn bootable() -> Stored {
    environment_with("bookworm", "buildd", &["dbus", "systemd", "systemd-resolved", "systemd-sysv"]).await
}

fn instances() -> Vec<String> {
    output(&["incus", "list", "--format", "csv", "--columns", "n"]).lines().map(str::to_owned).collect()
}

fn log_data() -> Value {
    let architecture = architecture();
    json!({"source": "tiny", "version": "1.0", "architecture": architecture,
        "filename": format!("tiny_1.0_{architecture}.build"), "bd_uninstallable": null})
}

/// What blhc needs, with a log of this one compilation.
async fn blhc_host(house: &House, compile: &str) -> (DirHost, Value, Value) {
    let path: PathBuf = house.root.path().join(log_data()["filename"].as_str().unwrap());
    let text = format!("dpkg-buildpackage: info: source package tiny\n{compile}\ndpkg-deb: building package 'tiny'\n");
    std::fs::write(&path, text).unwrap();
    let log = Stored { category: ArtifactCategory::PackageBuildLog, data: log_data(), files: vec![path] };
    let host = DirHost::new().stored(12, log).stored(3, bootable().await);
    let data = json!({"input": {"artifact": 12}, "build_architecture": architecture(), "environment": 3,
        "backend": "incus-lxc"});
    let dynamic = json!({"environment_id": 3, "input_artifact_id": 12, "input_artifact_data": log_data()});
    (host, data, dynamic)
}

#[tokio::test(flavor = "multi_thread")]
async fn blhc_runs_in_a_container() {
    let _alone = ALONE.lock().await;
    let house = House::new();
    let soft = "gcc -O2 -c soft.c -o soft.o";
    let (host, data, dynamic) = blhc_host(&house, soft).await;
    let outcome = house.run("blhc", &data, dynamic, &host).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{}", all_logs(&outcome));
    let report = of(&outcome, ArtifactCategory::Blhc);
    let file = report.first().unwrap_or_else(|| panic!("{}", all_logs(&outcome))).files.values().next().unwrap();
    let text = std::fs::read_to_string(&file.path).unwrap();
    assert!(text.contains("CFLAGS missing (") && text.contains(soft), "{text}");
    // The packages came over the network of the container.
    assert!(log(&outcome, "install.log").unwrap().contains("Setting up blhc"), "{}", all_logs(&outcome));
    assert_eq!(instances(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_leaves_no_container() {
    let _alone = ALONE.lock().await;
    let house = House::new();
    let (host, data, dynamic) = blhc_host(&house, "true").await;
    let around = house.surroundings();
    let launched = async {
        while !instances().iter().any(|name| name.starts_with("debusine-")) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut run = std::pin::pin!(execute(TaskType::Worker, "blhc", &data, Some(&dynamic), &around, &host));
    tokio::select! {
        outcome = &mut run => panic!("it ended before it was stopped: {}", all_logs(&outcome)),
        () = launched => around.cancel.cancel(),
    }
    let outcome = run.await;
    assert_eq!(outcome.result, None);
    assert_eq!(instances(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sbuild_builds_in_a_container() {
    let _alone = ALONE.lock().await;
    let house = House::new();
    let source = source::artifact(&tiny(house.root.path()));
    let host = DirHost::new().stored(12, source).stored(3, bootable().await);
    let data = json!({"input": {"source_artifact": 12}, "build_architecture": architecture(),
        "build_components": ["any", "all"], "environment": "debian/match:codename=bookworm", "backend": "incus-lxc"});
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12});
    let outcome = house.run("sbuild", &data, dynamic, &host).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    assert_eq!(of(&outcome, ArtifactCategory::BinaryPackage).len(), 2);
    assert!(log(&outcome, "cmd-output.log").unwrap().contains("--autopkgtest-virt-server=autopkgtest-virt-incus"));
    assert_eq!(instances(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn autopkgtest_tests_in_a_container() {
    let _alone = ALONE.lock().await;
    let house = House::new();
    let tests = "Test-Command: test \"$(systemd-detect-virt)\" = lxc\nFeatures: test-name=in-lxc\nDepends:\n\n\
        Test-Command: exit 3\nFeatures: test-name=bad\nDepends:\n";
    let files = [("control", CONTROL), ("rules", &rules("")), ("tests/control", tests)];
    let source = source::artifact(&package(house.root.path(), "tiny", "1.0", &files));
    let host = DirHost::new().stored(12, source).stored(3, bootable().await);
    let data = json!({"input": {"source_artifact": 12, "binary_artifacts": []}, "build_architecture": architecture(),
        "environment": 3, "backend": "incus-lxc"});
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": []});
    let outcome: Outcome = house.run("autopkgtest", &data, dynamic, &host).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{}", all_logs(&outcome));
    let report = of(&outcome, ArtifactCategory::Autopkgtest)[0];
    validate_data(report.category, &report.data).unwrap();
    assert_eq!(report.data["results"]["in-lxc"]["status"], "PASS", "{}", host.text(LogStream::Stdout));
    assert_eq!(report.data["results"]["bad"]["status"], "FAIL");
    assert_eq!(instances(), Vec::<String>::new());
}

#[test]
fn this_machine_offers_containers() {
    let found = capabilities::detect("0.1.0");
    assert!(found["provided_tags"].as_array().unwrap().contains(&json!("worker:executor:incus-lxc")), "{found:?}");
}
