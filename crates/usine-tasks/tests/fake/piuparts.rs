//! Runs of piuparts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::support::{DirHost, log, of, relations};
use crate::world::{World, run};

/// Runs a script in a directory.
fn shell(directory: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A small `.deb`.
fn package(world: &World, name: &str, version: &str) -> PathBuf {
    let script = format!(
        "mkdir -p {name}/DEBIAN; printf 'Package: {name}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: T <t@e.org>\\n\
         Source: tiny\\nDescription: x\\n' > {name}/DEBIAN/control; dpkg-deb --root-owner-group -b {name} {name}_1_all.deb"
    );
    shell(world.root.path(), &script);
    world.root.path().join(format!("{name}_1_all.deb"))
}

/// A base system with `/dev`, packed as mmdebstrap does it.
fn base(world: &World) -> PathBuf {
    let script = "mkdir -p root/dev root/etc root/var/lib/dpkg; touch root/dev/null root/etc/hostname
                  tar -C root -cJf base.tar.xz .";
    shell(world.root.path(), script);
    world.root.path().join("base.tar.xz")
}

/// A piuparts that notes what it was called with and what it found.
const FAKE: &str = r#"
echo "$@" >> "$0.calls"
for word; do case "$word" in
    --basetgz=*) tar -tzf "${word#*=}" > "$0.base" ;;
    --scriptsdir=/etc/*) ;;
    --scriptsdir=*) for f in "${word#*=}"/*; do echo "== ${f##*/} $(stat -c %a "$f")"; cat "$f"; done > "$0.scripts" ;;
esac; done
pwd > "$0.pwd"
echo "0m0.0s INFO: ran"; echo "0m0.0s DEBUG: on standard error" >&2
exit EXIT"#;

fn world(version: &str, exit: i32) -> World {
    let world = World::new();
    world.instance().tool("dpkg-query", &format!("[ $4 = piuparts ] || [ $3 = piuparts ] && echo {version}"));
    world.tool("piuparts", &FAKE.replace("EXIT", &exit.to_string()));
    world
}

fn noted(world: &World, what: &str) -> String {
    fs::read_to_string(world.root.path().join(format!("bin/piuparts.{what}"))).unwrap()
}

fn host(world: &World) -> DirHost {
    let image = world.file("system.tar.xz", "");
    let system = |codename: &str| json!({"vendor": "debian", "codename": codename, "with_dev": true});
    DirHost::new()
        .with(3, ArtifactCategory::SystemTarball, system("trixie"), vec![image])
        .with(4, ArtifactCategory::SystemTarball, system("bookworm"), vec![base(world)])
        .with(20, ArtifactCategory::BinaryPackage, json!({}), vec![package(world, "tiny", "1:2.0-1")])
        .with(21, ArtifactCategory::Upload, json!({}), vec![world.file("a.changes", ""), package(world, "adoc", "3")])
}

fn data() -> Value {
    json!({"input": {"binary_artifacts": [20, 21]}, "build_architecture": "amd64", "environment": 3, "base_tgz": 4})
}

fn dynamic() -> Value {
    json!({"environment_id": 3, "base_tgz_id": 4, "input_binary_artifacts_ids": [20, 21], "extra_repositories": null})
}

async fn piuparts(world: &World, host: &DirHost, dynamic: &Value) -> Outcome {
    run("piuparts", &data(), Some(dynamic), &world.surroundings(), host).await
}

#[tokio::test]
async fn the_report_is_kept_whatever_it_says() {
    for (exit, result) in [(0, Results::Success), (1, Results::Failure), (2, Results::Failure)] {
        let world = world("1.6.0", exit);
        let outcome = piuparts(&world, &host(&world), &dynamic()).await;
        assert_eq!(outcome.result, Some(result), "{exit}: {:?}", log(&outcome, "configure_for_execution.log"));
        let report = of(&outcome, ArtifactCategory::Piuparts)[0];
        validate_data(report.category, &report.data).unwrap();
        assert_eq!(
            report.data,
            json!({"piuparts_version": "1.6.0", "binary_packages": {"tiny": "1:2.0-1", "adoc": "3"},
                "architecture": "amd64", "distribution": "debian:bookworm"})
        );
        let (name, file) = report.files.iter().next().unwrap();
        assert_eq!((name.as_str(), report.files.len()), ("piuparts.txt", 1));
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "0m0.0s INFO: ran\n");
        let to_all = |from: &str| ["20", "21", "4"].map(|id| format!("{from} relates-to {id}"));
        assert_eq!(relations(&outcome), [to_all("piuparts"), to_all("work-request-debug-logs")].concat());

        let calls = world.calls("piuparts");
        let options = "--keep-sources-list --allow-database --warn-on-leftovers-after-purge --basetgz=/";
        assert!(calls.len() == 1 && calls[0].starts_with(options), "{calls:?}");
        let words: Vec<_> = calls[0].split(' ').collect();
        assert!(words[3].ends_with("/base_tar/base.tar.gz") && words[5].ends_with("/scripts"), "{calls:?}");
        assert_eq!(words[4], "--scriptsdir=/etc/piuparts/scripts");
        assert!(words[6].ends_with("/adoc_1_all.deb") && words[7].ends_with("/tiny_1_all.deb"), "{calls:?}");
        assert_eq!(words.len(), 8);
        assert!(noted(&world, "pwd").contains("/exec-"));
        let base = noted(&world, "base");
        assert!(base.contains("./var/lib/dpkg/available\n") && !base.contains("dev"), "{base}");
        let scripts = noted(&world, "scripts");
        assert!(scripts.contains("== post_setup_00_passwd 755\n") && !scripts.contains("extra_repos"), "{scripts}");
        let commands = log(&outcome, "cmd-output.log").unwrap();
        assert!(commands.starts_with("cmd: piuparts --keep-sources-list"), "{commands}");
        assert!(commands.contains("DEBUG: on standard error") && commands.contains(&format!("returncode: {exit}\n")));
        assert!(log(&outcome, "install.log").unwrap().contains("Executing: apt-get --yes install piuparts\n"));
    }
}

#[tokio::test]
async fn repositories_are_unpacked_by_a_script() {
    let world = world("1.6.0", 0);
    let repository = |architectures: Value| json!({"url": "https://d.example/x", "suite": "sid", "components": ["main"], "architectures": architectures});
    let mut dynamic = dynamic();
    dynamic["extra_repositories"] = json!([repository(json!(["arm64"])), repository(json!(null))]);
    let outcome = piuparts(&world, &host(&world), &dynamic).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", log(&outcome, "configure_for_execution.log"));
    let scripts = noted(&world, "scripts");
    let expected = "== post_chroot_unpack_debusine_extra_repos 755\n#!/bin/sh\nset -eux\n\
                    printf %s 'Types: deb\nURIs: https://d.example/x\nSuites: sid\nComponents: main\n' > \
                    /etc/apt/sources.list.d/extra_repository_0.sources\n==";
    assert!(scripts.contains(expected), "{scripts}");
}

#[tokio::test]
async fn what_cannot_be_tested_is_said() {
    let good = world("1.6.0", 0);
    let nothing = host(&good).with(20, ArtifactCategory::BinaryPackage, json!({}), vec![good.file("x.udeb", "")]);
    let mut one = dynamic();
    one["input_binary_artifacts_ids"] = json!([20]);
    let source = host(&good).with(20, ArtifactCategory::SourcePackage, json!({}), vec![]);
    let image = host(&good).with(4, ArtifactCategory::SystemImage, json!({}), vec![]);
    let broken = host(&good).with(
        4,
        ArtifactCategory::SystemTarball,
        json!({"vendor": "debian", "codename": "bookworm", "with_dev": true}),
        vec![good.file("broken.tar.xz", "no tarball")],
    );
    for (host, file, expected) in [
        (nothing, "configure_for_execution.log", "There must be at least one *.deb file. Current files: ['x.udeb']\n"),
        (
            source,
            "fetch_input.log",
            "input.binary_artifacts[0] points to a debian:source-package, not the expected \
             debian:binary-package or debian:upload.\n",
        ),
        (
            image,
            "fetch_input.log",
            "base_tgz points to a debian:system-image, not the expected debian:system-tarball.\n",
        ),
        (broken, "configure_for_execution.log", "cannot rewrite "),
    ] {
        let outcome = piuparts(&good, &host, &one).await;
        assert_eq!(outcome.result, Some(Results::Failure), "{expected}");
        let text = log(&outcome, file).unwrap_or_default();
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(of(&outcome, ArtifactCategory::Piuparts).is_empty());
    }
    assert!(good.calls("piuparts").is_empty());

    let old = world("1.1.7+deb12u1", 0);
    let outcome = piuparts(&old, &host(&old), &dynamic()).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert!(text.contains("environment's piuparts 1.1.7+deb12u1") && text.contains("1.5 or later"), "{text}");
}
