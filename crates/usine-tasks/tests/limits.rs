//! Limits and statistics with real commands: once with the machine's cgroups, where it has some, and once without.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{DirHost, log, surroundings};
use tempfile::TempDir;
use usine_model::artifact::ArtifactCategory;
use usine_model::policy::ResourceLimits;
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{Cgroups, Identity, LogStream, Outcome, Resources, execute};

const MIB: u64 = 1 << 20;

/// Runs the task sbuild with this shell script in place of sbuild(1).
async fn build(script: &str, resources: Resources, root: &TempDir, identity: Option<Identity>) -> (Outcome, DirHost) {
    let bin = root.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("sbuild"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("sbuild"), fs::Permissions::from_mode(0o755)).unwrap();
    let dsc = root.path().join("tiny_1.0.dsc");
    fs::write(&dsc, "Format: 3.0 (native)\nSource: tiny\nBinary: tiny\nArchitecture: any all\nVersion: 1:1.0\n")
        .unwrap();
    let image = root.path().join("system.tar.xz");
    fs::write(&image, "").unwrap();
    let source = json!({"name": "tiny", "version": "1:1.0"});
    let host = DirHost::new().with(12, ArtifactCategory::SourcePackage, source, vec![dsc]).with(
        3,
        ArtifactCategory::SystemTarball,
        json!({"codename": "bookworm"}),
        vec![image],
    );
    let data = json!({"input": {"source_artifact": 12}, "build_architecture": "amd64", "environment": 3});
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12, "input_extra_binary_artifacts_ids": [],
        "extra_repositories": null, "subject": "tiny"});
    let mut around = surroundings(root, &format!("{}:/usr/bin:/bin", bin.display()), identity);
    around.resources = resources;
    let outcome = execute(TaskType::Worker, "sbuild", &data, Some(&dynamic), &around, &host).await;
    (outcome, host)
}

fn directory() -> TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

/// With cgroups, if this machine lets us make them, and without.
fn ways(test: &str) -> Vec<Option<Cgroups>> {
    let cgroups = Cgroups::open(&format!("test-{}-{test}", std::process::id()));
    let mut ways = vec![None];
    ways.extend(cgroups.map(Some));
    ways
}

fn limited(memory: Option<u64>, disk: Option<u64>, cgroups: Option<Cgroups>) -> Resources {
    Resources { limits: ResourceLimits { memory, disk }, cgroups }
}

/// The run ended with a failure that says which limit it passed, wherever somebody may look.
fn failed_by(outcome: &Outcome, host: &DirHost, code: &str) {
    assert_eq!(outcome.result, Some(Results::Failure));
    let errors = outcome.output_data.errors.as_ref().expect("it says why");
    assert_eq!((errors.len(), errors[0].code.as_str()), (1, code));
    let message = &errors[0].message;
    assert!(host.text(LogStream::Internal).lines().any(|line| line == message), "{message}");
    for name in ["cmd-output.log", "stages.log"] {
        assert!(log(outcome, name).unwrap().contains(message.as_str()), "{name}");
    }
    assert!(outcome.output_data.runtime_statistics.is_some());
}

/// Whether a process with this argument is there.
fn runs(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

#[tokio::test]
async fn who_eats_memory_is_stopped() {
    for (number, cgroups) in ways("memory").into_iter().enumerate() {
        let root = directory();
        let mark = format!("5{}{number}.25", std::process::id());
        // The eater left the process group, and the rest is deaf.
        let script = format!("trap '' TERM; echo begins; sleep {mark} & setsid tail /dev/zero; sleep {mark}; exit 0");
        let began = Instant::now();
        let (outcome, host) = build(&script, limited(Some(100 * MIB), None, cgroups), &root, None).await;
        failed_by(&outcome, &host, "memory-limit-exceeded");
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
        assert!(!runs(&mark), "nothing is left");
        let statistics = outcome.output_data.runtime_statistics.as_ref().unwrap();
        assert!(statistics.memory.unwrap() > 50 * MIB as i64, "{statistics:?}");
        assert!(host.text(LogStream::Stdout).contains("begins"));
    }
}

#[tokio::test]
async fn who_fills_the_disk_is_stopped() {
    for cgroups in ways("disk") {
        let root = directory();
        let script = "head -c 400M /dev/zero > filled; sleep 60";
        let began = Instant::now();
        let (outcome, host) = build(script, limited(None, Some(100 * MIB), cgroups), &root, None).await;
        failed_by(&outcome, &host, "disk-limit-exceeded");
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
        let statistics = outcome.output_data.runtime_statistics.as_ref().unwrap();
        assert!(statistics.disk_space.unwrap() > 100 * MIB as i64, "{statistics:?}");
    }
}

#[tokio::test]
async fn whoever_stays_within_the_limits_is_left_alone() {
    for cgroups in ways("within") {
        let root = directory();
        let script = "head -c 1M /dev/zero > small; sleep 2; exit 3";
        let limits = limited(Some(500 * MIB), Some(1 << 50), cgroups);
        let (outcome, _) = build(script, limits, &root, None).await;
        assert_eq!((outcome.result, &outcome.output_data.errors), (Some(Results::Failure), &None));
        assert!(log(&outcome, "cmd-output.log").unwrap().contains("aborted: False\nreturncode: 3\n"));
    }
}

/// The time of children counts, and with a cgroup that of orphans; that of others does not.
#[tokio::test]
async fn cpu_time_is_that_of_the_run() {
    // Ends when it has had a second of the CPU, however long that takes.
    const BURN: &str = "sh -c 'ulimit -t 1; while :; do :; done'";
    let mut elsewhere =
        std::process::Command::new("sh").args(["-c", "ulimit -t 8; while :; do :; done"]).spawn().unwrap();
    for cgroups in ways("cpu") {
        let least = if cgroups.is_some() { 2 } else { 1 };
        let root = directory();
        // The second one is an orphan from the start, in another session.
        let script =
            format!("{BURN}; (setsid sh -c \"$0 x\" < /dev/null &) ; while ! [ -e burnt ]; do sleep 0.1; done");
        let script = format!("case $1 in x) {BURN}; touch burnt; exit;; esac\n{script}");
        let (outcome, _) = build(&script, limited(None, None, cgroups), &root, None).await;
        let statistics = outcome.output_data.runtime_statistics.as_ref().unwrap();
        assert!((least..=3).contains(&statistics.cpu_time.unwrap()), "{statistics:?}");
        assert!(statistics.memory.unwrap() > 0 && statistics.disk_space.is_some(), "{statistics:?}");
        assert!(statistics.cpu_count.unwrap() > 0 && statistics.available_memory.unwrap() > 0);
        assert!(statistics.available_disk_space.unwrap() > 0);
    }
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
}

/// A command behind the gate is as any other: arguments, environment, input, exit code, and how it fails to start.
#[tokio::test]
async fn a_cgroup_changes_nothing_for_the_command() {
    let mut seen = Vec::new();
    for cgroups in ways("same") {
        let root = directory();
        let script = r#"printf '<%s>' "$@"; echo; env | cut -d= -f1 | grep -v -e '^_$' -e SHLVL | sort; readlink /proc/self/fd/0; exit 7"#;
        let (outcome, host) = build(script, limited(None, None, cgroups.clone()), &root, None).await;
        assert!(log(&outcome, "cmd-output.log").unwrap().contains("returncode: 7\n"));
        let output = host.text(LogStream::Stdout).replace(root.path().to_str().unwrap(), "");
        // Names of directories have a random end.
        let output: Vec<_> = output.lines().filter(|line| !line.contains("-")).map(str::to_owned).collect();
        assert!(output.contains(&"/dev/null".to_owned()), "{output:?}");

        let mut around = surroundings(&root, "/nonexistent", None);
        around.resources = limited(None, None, cgroups);
        let data = json!({"bootstrap_options": {"architecture": "amd64"},
            "bootstrap_repositories": [{"mirror": "http://mirror.example.org/debian", "suite": "sid",
                "components": ["main"]}]});
        let outcome = execute(TaskType::Worker, "mmdebstrap", &data, None, &around, &DirHost::new()).await;
        let fault = log(&outcome, "execution.log").unwrap();
        assert!(fault.contains("cannot run mmdebstrap: No such file or directory (os error 2)"), "{fault}");
        seen.push((output, fault));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
}

/// What a killed worker leaves behind is ended and removed by the next one.
#[tokio::test]
async fn leftovers_are_removed() {
    let tag = format!("test-{}-left", std::process::id());
    let Some(cgroups) = Cgroups::open(&tag) else { return };
    let root = directory();
    let mark = format!("6{}.25", std::process::id());
    let running = tokio::spawn({
        let resources = limited(None, None, Some(cgroups.clone()));
        let script = format!("setsid sleep {mark}");
        async move { (build(&script, resources, &root, None).await, root) }
    });
    while !runs(&mark) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let open = tokio::task::spawn_blocking(move || Cgroups::open(&tag)).await.unwrap();
    assert_eq!(open, Some(cgroups));
    let ((outcome, _), _root) = running.await.unwrap();
    assert!(log(&outcome, "cmd-output.log").unwrap().contains("returncode: -9\n"));
    assert!(!runs(&mark));
}

/// The worker is root, its commands are not.
#[tokio::test]
async fn commands_of_another_user_are_counted() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let nobody = Identity { name: "nobody".into(), uid: 65534, gid: 65534, home: "/nonexistent".into() };
    for cgroups in ways("user") {
        let root = directory();
        let script = "id -u; tail /dev/zero; sleep 60";
        let limits = limited(Some(60 * MIB), None, cgroups);
        let (outcome, host) = build(script, limits, &root, Some(nobody.clone())).await;
        failed_by(&outcome, &host, "memory-limit-exceeded");
        assert!(host.text(LogStream::Stdout).starts_with("65534\n"));
    }
}
