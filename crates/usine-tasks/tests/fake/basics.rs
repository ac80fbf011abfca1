//! Runs of noop, mmdebstrap and sbuild, and what a worker can do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{DirHost, log, of, relations};
use crate::world::{DSC, World, run};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{LogStream, Outcome, capabilities, execute, registered};

fn code(outcome: &Outcome) -> &str {
    &outcome.output_data.errors.as_ref().unwrap()[0].code
}

#[tokio::test]
async fn noop_ends_as_it_is_told() {
    let world = World::new();
    let host = DirHost::new();
    for (result, expected) in
        [(json!("success"), Results::Success), (json!("skipped"), Results::Skipped), (json!(false), Results::Failure)]
    {
        let outcome = run("NoOp", &json!({"result": result}), None, &world.surroundings(), &host).await;
        assert_eq!(outcome.result, Some(expected));
        let stages = log(&outcome, "stages.log");
        assert_eq!(stages.is_none(), expected == Results::Success);
        assert_eq!(outcome.artifacts.len(), 1);
        let statistics = outcome.output_data.runtime_statistics.unwrap();
        // The clock goes on by half a second whenever it is looked at.
        assert!(statistics.duration.unwrap() > statistics.duration_setup.unwrap());
        if let Some(stages) = stages {
            let texts: Vec<_> = stages.lines().map(|line| line.split_once(' ').unwrap().1).collect();
            assert_eq!(
                texts,
                [
                    "Fetching input",
                    "Configuring for execution",
                    "Preparing to run",
                    "Running",
                    "Checking output",
                    "Uploading artifacts",
                    "Cleaning up",
                ]
            );
            assert!(stages.lines().all(|line| line.split_once(' ').unwrap().0.ends_with("+00:00")), "{stages}");
        }
    }
    assert!(host.text(LogStream::Internal).starts_with("Fetching input\nConfiguring for execution\n"));
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_with_a_code() {
    let world = World::new();
    let around = world.surroundings();
    let host = DirHost::new();
    let signing = execute(TaskType::Signing, "noop", &json!({}), None, &around, &host).await;
    assert_eq!((signing.result, code(&signing)), (Some(Results::Error), "wrong-task-type"));
    assert_eq!(signing.output_data.runtime_statistics, None);
    assert_eq!(code(&run("frobnicate", &json!({}), None, &around, &host).await), "setup-failed");
    assert_eq!(code(&run("noop", &json!({"x": 1}), None, &around, &host).await), "configure-failed");
    assert_eq!(code(&run("noop", &json!({}), Some(&json!({"x": 1})), &around, &host).await), "configure-failed");
    fs::remove_dir_all(&around.directory).unwrap();
    assert_eq!(code(&run("noop", &json!({}), None, &around, &host).await), "execute-failed");
}

/// A host with the source package 12 and the environment 3.
fn sbuild_host(world: &World) -> DirHost {
    let dsc = world.file("tiny_1.0.dsc", DSC);
    let image = world.file("system.tar.xz", "");
    let source = json!({"name": "tiny", "version": "1:1.0"});
    DirHost::new().with(12, ArtifactCategory::SourcePackage, source, vec![dsc]).with(
        3,
        ArtifactCategory::SystemTarball,
        json!({"codename": "bookworm"}),
        vec![image],
    )
}

fn sbuild_data() -> Value {
    json!({"input": {"source_artifact": 12}, "build_architecture": "amd64", "build_components": ["any", "all"], "environment": 3})
}

fn dynamic() -> Value {
    json!({"environment_id": 3, "input_source_artifact_id": 12, "input_extra_binary_artifacts_ids": [],
        "extra_repositories": null, "binnmu_maintainer": "Debusine <noreply@d.example>", "subject": "tiny"})
}

async fn sbuild(world: &World, host: &DirHost, data: &Value) -> Outcome {
    run("sbuild", data, Some(&dynamic()), &world.surroundings(), host).await
}

/// The part of a fake sbuild that packs a `.deb`: PACKAGE ARCHITECTURE, files of it below `PACKAGE/`.
const PACK: &str = r#"
pack() {
    mkdir -p "$TMPDIR/$1/DEBIAN"
    printf 'Package: %s\nVersion: 1:1.0\nArchitecture: %s\nMaintainer: T <t@e.org>\nSource: tiny\nDescription: x\n' "$1" "$2" > "$TMPDIR/$1/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$TMPDIR/$1" . >/dev/null || exit 9
    mv "$1"_*_"$2".deb "$1_1.0_$2.deb" 2>/dev/null
}
changes() {
    {
        printf 'Source: tiny\nVersion: 1:1.0\nArchitecture: all amd64\nChecksums-Sha256:\n'
        for f in *.deb; do echo " $(sha256sum $f | cut -d' ' -f1) $(stat -c %s $f) $f"; done
        printf 'Files:\n'
        for f in *.deb; do echo " $(md5sum $f | cut -d' ' -f1) $(stat -c %s $f) misc optional $f"; done
    } > tiny_1.0_amd64.changes
}
log() { echo "$1" > tiny_1.0_amd64-2024-01-01T00:00:00Z.build; ln -s tiny_1.0_amd64-2024-01-01T00:00:00Z.build tiny_1.0_amd64.build; }
"#;

#[tokio::test]
async fn a_build_becomes_artifacts() {
    let world = World::new();
    let debug = "usr/lib/debug/.build-id/ab";
    let name = "c".repeat(38);
    world.tool(
        "sbuild",
        &format!(
            "{PACK}
             printf '%s\\n' \"$@\" > {root}/argv; env | sort > {root}/env
             mkdir -p $TMPDIR/tiny-dbgsym/{debug}; echo symbols > $TMPDIR/tiny-dbgsym/{debug}/{name}.debug
             pack tiny amd64; pack tiny-dbgsym amd64; pack tiny-doc all; changes; log 'Status: successful'; echo hi; echo ho >&2",
            root = world.root.path().display()
        ),
    );
    let host = sbuild_host(&world);
    let mut data = sbuild_data();
    data["build_profiles"] = json!(["nocheck"]);
    let outcome = sbuild(&world, &host, &data).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", host.log.lock().unwrap());

    let argv = fs::read_to_string(world.root.path().join("argv")).unwrap();
    let image = world.root.path().join("system.tar.xz");
    assert!(argv.contains(&format!("--chroot={}\n", image.display())));
    assert!(argv.ends_with("/tiny_1.0.dsc\n"));
    let environment = fs::read_to_string(world.root.path().join("env")).unwrap();
    let names: Vec<_> = environment
        .lines()
        .map(|line| line.split('=').next().unwrap())
        .filter(|name| *name != "_" && *name != "PWD")
        .collect();
    assert_eq!(names, ["DEB_BUILD_OPTIONS", "PATH", "TMPDIR"]);

    let categories: Vec<_> = outcome.artifacts.iter().map(|artifact| artifact.category.to_string()).collect();
    assert_eq!(
        categories,
        [
            "debian:package-build-log",
            "debian:binary-package",
            "debian:binary-package",
            "debian:binary-package",
            "debian:debug-symbols",
            "debian:upload",
            "debusine:signing-input",
            "debusine:work-request-debug-logs",
        ]
    );
    for artifact in &outcome.artifacts {
        validate_data(artifact.category, &artifact.data).unwrap();
        assert!(artifact.files.values().all(|file| file.path.is_file()));
    }
    let build_log = &outcome.artifacts[0];
    assert_eq!(
        build_log.data,
        json!({"source": "tiny", "version": "1:1.0", "architecture": "amd64",
            "filename": "tiny_1.0_amd64-2024-01-01T00:00:00Z.build", "bd_uninstallable": null})
    );
    assert_eq!(outcome.artifacts[4].data["build_ids"], json!([format!("ab{name}")]));
    let binary = ["built-using 12", "binary-package"];
    let mut expected = vec!["package-build-log relates-to 12".to_owned()];
    for _ in 0..3 {
        expected.push(format!("binary-package {}", binary[0]));
        expected.push("package-build-log relates-to binary-package".into());
        expected.push("upload extends binary-package".into());
        expected.push("upload relates-to binary-package".into());
    }
    expected.extend(
        [
            "package-build-log relates-to upload",
            "signing-input relates-to upload",
            "debug-symbols relates-to binary-package",
            "work-request-debug-logs relates-to 12",
        ]
        .map(str::to_owned),
    );
    assert_eq!(relations(&outcome), expected);
    assert_eq!(host.text(LogStream::Stdout), "hi\nho\nStatus: successful\n");
    assert_eq!(*host.ends.lock().unwrap(), [0]);
    assert!(outcome.output_data.runtime_statistics.unwrap().available_memory.is_some());
}

#[tokio::test]
async fn the_command_log_byte_for_byte() {
    let world = World::new();
    world.tool("sbuild", r"printf 'out\377\n'; echo err >&2; mkdir d; touch d/x; exit 3");
    let host = sbuild_host(&world);
    let outcome = sbuild(&world, &host, &sbuild_data()).await;
    let logs = &outcome.artifacts.last().unwrap().files;
    let file = logs.iter().find(|(path, _)| path.as_str() == "cmd-output.log").unwrap().1;
    let bytes = fs::read(&file.path).unwrap();
    let start = bytes.windows(8).position(|window| window == b"\noutput ").unwrap() + 1;
    assert!(bytes.starts_with(b"cmd: sbuild --purge-deps=never "));
    assert!(String::from_utf8_lossy(&bytes[..start]).contains(" '--chroot-setup-commands=rm -f /etc/resolv.conf' "));
    assert_eq!(
        &bytes[start..],
        b"output (contains stdout and stderr):\nout\xff\nerr\n\naborted: False\nreturncode: 3\n\nFiles in working directory:\nd\nd/x\n--------------------\n"
    );
}

#[tokio::test]
async fn verdicts() {
    for (script, expected, artifacts) in [
        ("log 'Status: given-back'; exit 3", Results::Failure, 2),
        ("log 'Status: skipped'", Results::Failure, 2),
        ("log 'Status: successful '", Results::Failure, 2),
        ("log 'Status: failed'; exit 1", Results::Failure, 2),
        ("exit 1", Results::Failure, 1),
        ("ln -s /etc/hostname x.build", Results::Error, 1),
        ("kill -9 $$", Results::Failure, 1),
    ] {
        let world = World::new();
        world.tool("sbuild", &format!("{PACK}\n{script}"));
        let outcome = sbuild(&world, &sbuild_host(&world), &sbuild_data()).await;
        assert_eq!((outcome.result, outcome.artifacts.len()), (Some(expected), artifacts), "{script}");
        assert!(log(&outcome, "stages.log").is_some());
    }
}

#[tokio::test]
async fn a_failed_build_uploads_its_log_with_the_report_of_dose3() {
    let world = World::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/dose3.build");
    world.tool("sbuild", &format!("cp {sample} tiny.build; exit 3"));
    let outcome = sbuild(&world, &sbuild_host(&world), &sbuild_data()).await;
    let build_log = of(&outcome, ArtifactCategory::PackageBuildLog)[0];
    validate_data(build_log.category, &build_log.data).unwrap();
    assert_eq!(build_log.data["bd_uninstallable"]["report"][0]["version"], "1.10");
    assert_eq!(build_log.data["bd_uninstallable"]["broken-packages"], 1);
    assert_eq!(relations(&outcome), ["package-build-log relates-to 12", "work-request-debug-logs relates-to 12"]);
}

#[tokio::test]
async fn what_does_not_fit_together_is_a_failure_with_a_log() {
    let good = "pack tiny amd64; pack tiny-doc all; changes; log 'Status: successful'";
    for (more, expected) in [
        ("touch stray", "Files in directory not referenced in .changes or .dsc: ['stray']\n"),
        ("ln -s /nowhere link", "Files in directory not referenced in .changes or .dsc: ['link']\n"),
        ("rm tiny_1.0_amd64.deb", "File in .changes section Checksums-Sha256 does not exist: 'tiny_1.0_amd64.deb'\n"),
        ("echo x >> tiny_1.0_amd64.deb", "sha256 for file tiny_1.0_amd64.deb does not match: expected: "),
        ("echo nothing > tiny_1.0_amd64.changes; rm *.deb", "'tiny_1.0_amd64.changes' is not a control file"),
    ] {
        let world = World::new();
        world.tool("sbuild", &format!("{PACK}\n{good}\n{more}"));
        let outcome = sbuild(&world, &sbuild_host(&world), &sbuild_data()).await;
        assert_eq!(outcome.result, Some(Results::Failure), "{more}");
        let problems = log(&outcome, "consistency.log").unwrap();
        assert!(problems.contains(expected), "{more}: {problems}");
        assert_eq!(of(&outcome, ArtifactCategory::PackageBuildLog).len(), 1);
        assert!(of(&outcome, ArtifactCategory::BinaryPackage).is_empty());
    }
}

#[tokio::test]
async fn an_exception_goes_into_the_file_of_its_phase() {
    let good = format!("{PACK}\npack tiny amd64; pack tiny-doc all; changes; log 'Status: successful'");
    let checks: [(&str, &str, &str, &str); 4] = [
        ("", "12", "fetch_input", "HostError"),
        ("", "tool", "execution", "IoError"),
        ("cp tiny_1.0_amd64.changes y.changes", "", "post_execution", "TaskError"),
        ("echo x > tiny_1.0_amd64.deb; rm tiny_1.0_amd64.changes; changes", "", "post_execution", "DebianFileError"),
    ];
    for (more, missing, stage, name) in checks {
        let world = World::new();
        let mut host = sbuild_host(&world);
        if missing == "12" {
            host.artifacts.remove(&12);
        }
        let mut around = world.surroundings();
        if missing == "tool" {
            around.path = world.root.path().join("bin").display().to_string();
        } else {
            world.tool("sbuild", &format!("{good}\n{more}"));
        }
        let outcome = run("sbuild", &sbuild_data(), Some(&dynamic()), &around, &host).await;
        assert_eq!(outcome.result, Some(Results::Failure), "{stage}");
        let text = log(&outcome, &format!("{stage}.log")).unwrap_or_else(|| panic!("no {stage}.log"));
        assert!(text.starts_with(&format!("Exception type: {name}\nMessage: ")), "{text}");
        assert!(host.text(LogStream::Internal).contains(&format!("{stage} failed: {name}: ")));
        assert!(log(&outcome, "stages.log").unwrap().ends_with("Cleaning up\n"));
    }
}

#[tokio::test]
async fn phases_that_say_no() {
    let world = World::new();
    let wrong = sbuild_host(&world).with(12, ArtifactCategory::Upload, json!({}), vec![]);
    let outcome = sbuild(&world, &wrong, &sbuild_data()).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert_eq!(
        log(&outcome, "fetch_input.log").unwrap(),
        "input.source_artifact points to a debian:upload, not the expected debian:source-package.\n"
    );
    let empty = sbuild_host(&world).with(12, ArtifactCategory::SourcePackage, json!({}), vec![]);
    let outcome = sbuild(&world, &empty, &sbuild_data()).await;
    assert_eq!(log(&outcome, "configure_for_execution.log").unwrap(), "Input source package not found.\n");
    let mut data = sbuild_data();
    data["backend"] = json!("qemu");
    let outcome = sbuild(&world, &sbuild_host(&world), &data).await;
    let text = log(&outcome, "fetch_input.log").unwrap();
    assert!(text.contains("Unexpected artifact type debian:system-tarball; expected debian:system-image"), "{text}");
    let image = sbuild_host(&world).with(3, ArtifactCategory::SystemImage, json!({}), vec![world.file("image", "")]);
    let outcome = sbuild(&world, &image, &sbuild_data()).await;
    let text = log(&outcome, "fetch_input.log").unwrap();
    assert!(text.contains("Unexpected artifact type debian:system-image; expected debian:system-tarball"), "{text}");
}

#[tokio::test]
async fn inputs_with_a_file_of_the_same_name_are_refused() {
    let world = World::new();
    let host = sbuild_host(&world);
    let dsc = host.artifacts[&12].files.clone();
    let host = host.with(20, ArtifactCategory::BinaryPackage, json!({}), dsc);
    let mut dynamic = dynamic();
    dynamic["input_extra_binary_artifacts_ids"] = json!([20]);
    let outcome = run("sbuild", &sbuild_data(), Some(&dynamic), &world.surroundings(), &host).await;
    assert!(
        log(&outcome, "fetch_input.log")
            .unwrap()
            .contains("artifact 20 has files that another input has too: tiny_1.0.dsc")
    );
}

#[tokio::test]
async fn cancelling_kills_the_whole_group_and_reports_nothing() {
    let world = World::new();
    let pids = world.root.path().join("pids");
    // Deaf to SIGTERM, as are its children.
    world.tool(
        "sbuild",
        &format!("trap '' TERM; sleep 300 & echo $$ $! > {0}.new; mv {0}.new {0}; wait; wait", pids.display()),
    );
    let host = sbuild_host(&world);
    let around = world.surroundings();
    let cancel = around.cancel.clone();
    let seen = pids.clone();
    let watcher = tokio::spawn(async move {
        while !seen.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
    });
    let began = Instant::now();
    let outcome = run("sbuild", &sbuild_data(), Some(&dynamic()), &around, &host).await;
    watcher.await.unwrap();
    assert_eq!(outcome.result, None);
    assert!(outcome.artifacts.is_empty() && outcome.relations.is_empty());
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(30), "{took:?}");
    assert_eq!(*host.ends.lock().unwrap(), [-1]);
    let pids = fs::read_to_string(pids).unwrap();
    assert!(pids.split_whitespace().all(|pid| !is_alive(pid)), "{pids}");
    let log = fs::read_to_string(around.directory.join("logs/cmd-output.log")).unwrap();
    assert!(log.contains("\naborted: True\nreturncode: None\n"), "{log}");
}

#[tokio::test]
async fn stragglers_do_not_survive_their_command() {
    let world = World::new();
    let pid = world.root.path().join("pid");
    world.tool("sbuild", &format!("sleep 300 & echo $! > {}; exit 1", pid.display()));
    let began = Instant::now();
    let outcome = sbuild(&world, &sbuild_host(&world), &sbuild_data()).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(!is_alive(fs::read_to_string(pid).unwrap().trim()));
}

/// Killed processes whose parent is gone may be zombies for a moment.
fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

const FAKE_MMDEBSTRAP: &str = r#"
for argument; do last=$argument; printf '%s\n' "$argument"; done > ROOT/argv
cp "$last" ROOT/host.sources
printf 'ID=debian\nVERSION_CODENAME=bookworm\n' > os-release
echo 1 > test-sbin-init
mkdir -p var_lib_dpkg/dpkg
touch system.tar.xz
"#;

fn mmdebstrap_data(repository: Value) -> Value {
    let mut all = json!({"mirror": "https://d.example/debian", "suite": "bookworm"});
    all.as_object_mut().unwrap().extend(repository.as_object().unwrap().clone());
    json!({"bootstrap_options": {"architecture": "amd64", "variant": "minbase"}, "bootstrap_repositories": [all],
        "customization_script": "#!/bin/sh\ntrue\n"})
}

fn mmdebstrap_world() -> World {
    let world = World::new();
    world.tool("mmdebstrap", &FAKE_MMDEBSTRAP.replace("ROOT", &world.root.path().display().to_string()));
    world.tool("dpkg-query", r#"[ "$*" = "--admindir=var_lib_dpkg/dpkg --show" ] && printf 'hello\t2.10-3\n'"#);
    world
}

#[tokio::test]
async fn a_bootstrap_becomes_a_tarball_artifact() {
    let world = mmdebstrap_world();
    let mut host = DirHost::new();
    let release = "https://d.example/debian/dists/bookworm/Release";
    host.urls.insert(release.into(), b"Origin: Debian\nComponents: main contrib\n".to_vec());
    host.urls.insert("https://d.example/key".into(), b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n".to_vec());
    let keyring = json!({"check_signature_with": "external", "keyring": {"url": "https://d.example/key", "install": true,
        "sha256sum": hex::encode(Sha256::digest(&host.urls["https://d.example/key"]))}});
    let outcome = run("mmdebstrap", &mmdebstrap_data(keyring), None, &world.surroundings(), &host).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", host.log.lock().unwrap());
    assert_eq!(
        outcome.artifacts[0].data,
        json!({"filename": "system.tar.xz", "vendor": "debian", "codename": "bookworm", "mirror": "https://d.example/debian",
            "components": ["main", "contrib"], "variant": "minbase", "pkglist": {"hello": "2.10-3"}, "architecture": "amd64",
            "with_dev": true, "with_init": false})
    );
    assert!(outcome.relations.is_empty());
    let sources = fs::read_to_string(world.root.path().join("host.sources")).unwrap();
    assert!(sources.starts_with(
        "Types: deb\nURIs: https://d.example/debian\nSuites: bookworm\nComponents: main contrib\nSigned-By: /"
    ));
    assert_eq!(log(&outcome, "host.sources").unwrap(), sources);
    let chroot = log(&outcome, "chroot.sources").unwrap();
    assert!(
        chroot.contains("Signed-By: /etc/apt/keyrings-debusine/keyring-repo-") && chroot.ends_with(".asc\n"),
        "{chroot}"
    );
    let argv = fs::read_to_string(world.root.path().join("argv")).unwrap();
    assert!(argv.contains("--keyring=") && argv.contains("chroot \"$1\" /customization_script"));
}

#[tokio::test]
async fn a_bootstrap_that_cannot_be_configured() {
    let world = mmdebstrap_world();
    let mut host = DirHost::new();
    host.urls.insert("https://d.example/key".into(), b"key".to_vec());
    host.urls.insert("https://d.example/debian/dists/bookworm/Release".into(), b"Origin: x\n".to_vec());
    let external =
        |keyring: Value| json!({"components": ["main"], "check_signature_with": "external", "keyring": keyring});
    for (repository, expected) in [
        (
            external(json!({"url": "https://d.example/key", "sha256sum": "00"})),
            "sha256 mismatch for keyring repository https://d.example/debian. Actual: ",
        ),
        (external(json!({"url": "https://d.example/none"})), "cannot download https://d.example/none: 404"),
        (json!({}), "Cannot find components in https://d.example/debian/dists/bookworm/Release"),
    ] {
        let outcome = run("mmdebstrap", &mmdebstrap_data(repository), None, &world.surroundings(), &host).await;
        assert_eq!(outcome.result, Some(Results::Failure));
        let text = log(&outcome, "configure_for_execution.log").unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_directory_that_subordinate_users_cannot_reach_is_named() {
    let world = mmdebstrap_world();
    let around = world.surroundings();
    fs::set_permissions(&around.directory, fs::Permissions::from_mode(0o700)).unwrap();
    let data = mmdebstrap_data(json!({"components": ["main"]}));
    let outcome = run("mmdebstrap", &data, None, &around, &DirHost::new()).await;
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert!(text.contains("has mode 0700") && text.contains("chmod o+x"), "{text}");
}

#[test]
fn capabilities_follow_the_tools_on_the_path() {
    let world = World::new();
    world.tool("dpkg", "echo amd64").tool("arch-test", "[ $1 = -n ] && printf 'i386\\namd64\\n'").tool("sbuild", "");
    let bin = world.root.path().join("bin");
    let found = capabilities::detect_on(&bin.display().to_string(), "0.1.0");
    assert_eq!(found["system:native_architecture"], "amd64");
    assert_eq!(found["system:architectures"], json!(["amd64", "i386"]));
    assert_eq!(found["system:worker_type"], "external");
    assert_eq!(found["system:worker_version"], "0.1.0");
    assert!(found["system:total_physical_memory"].as_u64().unwrap() > 1 << 20);
    let mut expected = vec!["worker:build-arch:amd64".to_owned(), "worker:build-arch:i386".to_owned()];
    expected.push("worker:cap:sbuild".to_owned());
    let tasks = registered(TaskType::Worker);
    // Without its program this one is not offered.
    let offered = tasks.iter().filter(|task| **task != "simplesystemimagebuild");
    expected.extend(offered.map(|task| format!("worker:task:worker:{task}:version:1")));
    expected.push("worker:type:external".to_owned());
    assert_eq!(found["provided_tags"], json!(expected));
    world.tool("unshare", "").tool("ip", "").tool("debefivm-create", "");
    let found = capabilities::detect_on(&bin.display().to_string(), "0.1.0");
    let image_build = "worker:task:worker:simplesystemimagebuild:version:1";
    for tag in ["worker:executor:unshare", "worker:cap:debefivm-create", image_build] {
        assert!(found["provided_tags"].as_array().unwrap().contains(&json!(tag)), "{tag}");
    }
    let nothing = capabilities::detect_on(&Path::new("/nonexistent").display().to_string(), "0.1.0");
    assert!(!nothing.contains_key("system:native_architecture"));
}
