//! mmdebstrap and sbuild: the environment that the first makes is where the second builds a tiny package.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::{Results, TaskType};
use usine_tasks::execute;

use crate::house::{House, all_logs, architecture, build, environment, mirror};
use crate::source::{self, CONTROL};
use crate::support::{DirHost, log, of, relations};

#[tokio::test(flavor = "multi_thread")]
async fn builds_that_fail_are_reported_with_their_log() {
    let house = House::new();
    let without = CONTROL.replace("Rules-Requires-Root: no\n", "Build-Depends: nonexistent-foo (>= 1)\n");
    for (name, control, rules, says) in [
        ("breaks", CONTROL, "\techo this build breaks; false\n", "Status: attempted"),
        ("lacks", without.as_str(), "", "Status: given-back"),
    ] {
        let place = house.root.path().join(name);
        fs::create_dir(&place).unwrap();
        let dsc = source::package(&place, "tiny", "1.0", &[("control", control), ("rules", &source::rules(rules))]);
        let (_, built) = build(&house, dsc).await;
        assert_eq!(built.result, Some(Results::Failure), "{name}: {}", all_logs(&built));
        let categories: Vec<_> = built.artifacts.iter().map(|artifact| artifact.category).collect();
        assert_eq!(categories, [ArtifactCategory::PackageBuildLog, ArtifactCategory::WorkRequestDebugLogs]);
        let log = &built.artifacts[0];
        let text = fs::read(&log.files.values().next().unwrap().path).unwrap();
        assert!(String::from_utf8_lossy(&text).contains(says), "{name}");
        let missing = &log.data["bd_uninstallable"]["report"][0]["reasons"][0]["missing"]["pkg"]["unsat-dependency"];
        let is_missing = missing.as_str().is_some_and(|missing| missing.starts_with("nonexistent-foo"));
        assert_eq!(is_missing, name == "lacks", "{}", log.data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_is_not_there_is_reported() {
    let house = House::new();
    let data = json!({
        "bootstrap_options": {"architecture": architecture()},
        "bootstrap_repositories": [{"mirror": mirror(), "suite": "nosuchsuite", "components": ["main"]}],
    });
    let made = house.run("mmdebstrap", &data, json!({}), &DirHost::new()).await;
    assert_eq!(made.result, Some(Results::Failure));
    assert!(of(&made, ArtifactCategory::SystemTarball).is_empty());
    let commands = log(&made, "cmd-output.log").unwrap();
    assert!(commands.contains("nosuchsuite") && commands.contains("E: "), "{commands}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_built_and_a_stopped_build_leaves_nothing() {
    let house = House::new();
    let (source, built) = build(&house, source::tiny(house.root.path())).await;
    assert_eq!(built.result, Some(Results::Success), "{}", all_logs(&built));
    let categories: Vec<_> = built.artifacts.iter().map(|artifact| artifact.category).collect();
    assert_eq!(
        categories,
        [
            ArtifactCategory::PackageBuildLog,
            ArtifactCategory::BinaryPackage,
            ArtifactCategory::BinaryPackage,
            ArtifactCategory::Upload,
            ArtifactCategory::SigningInput,
            ArtifactCategory::WorkRequestDebugLogs,
        ]
    );
    assert_eq!(built.artifacts[1].data["deb_fields"]["Package"], "tiny");
    assert_eq!(built.artifacts[2].data["deb_fields"]["Architecture"], "all");
    assert_eq!(built.artifacts[3].files.len(), 4, "changes, buildinfo, two debs");
    assert_eq!(relations(&built).len(), 12);
    // Stopped while the chroot is there: only root and its subordinate owner can remove what is left.
    let host = DirHost::new().stored(12, source).stored(3, environment("bookworm", "buildd").await);
    let data = json!({"input": {"source_artifact": 12}, "build_architecture": architecture(), "environment": 3});
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12});
    let around = house.surroundings();
    let (cancel, directory) = (around.cancel.clone(), around.directory.clone());
    let watcher = tokio::spawn(async move {
        let appears = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Some(chroot) = chroot_of(&directory).filter(|chroot| chroot.join("usr").exists()) {
                    return chroot;
                }
            }
        };
        let chroot = tokio::time::timeout(Duration::from_secs(300), appears).await;
        cancel.cancel();
        chroot.expect("sbuild says in its log where its chroot is")
    });
    let stopped = execute(TaskType::Worker, "sbuild", &data, Some(&dynamic), &around, &host).await;
    assert_eq!(stopped.result, None);
    let chroot = watcher.await.unwrap();
    assert!(!chroot.exists(), "{} is left", chroot.display());
}

/// Where sbuild unpacked its chroot, by the build log below the directory of a run.
fn chroot_of(directory: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let exec = runs
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("exec-")))?;
    let log = fs::read_dir(exec)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "build"))?;
    let text = String::from_utf8_lossy(&fs::read(log).ok()?).into_owned();
    let line = text.lines().find(|line| line.contains("Unpacking ") && line.contains("/tmp/tmp.sbuild."))?;
    Some(PathBuf::from(line.rsplit_once(" to ")?.1.trim_end_matches('.')))
}
