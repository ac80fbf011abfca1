//! The real mmdebstrap and the real sbuild, as an ordinary user: the environment that the first makes is where the second
//! builds a tiny package. Needs root, a mirror and some tools; says what is missing.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use support::{DirHost, log, of, relations, surroundings};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{Identity, LogStream, execute};

const USER: &str = "usine-worker";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Standard output of a command that must succeed.
fn output(argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|error| panic!("{argv:?}: {error}"));
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Says at once all that is missing, and how to get it.
fn user_and_tools() -> Identity {
    let mut missing = Vec::new();
    for tool in ["mmdebstrap", "sbuild", "newuidmap", "arch-test", "unshare", "dpkg-source", "dpkg-query"] {
        if !PATH.split(':').any(|directory| Path::new(directory).join(tool).is_file()) {
            missing.push(format!(
                "{tool} (apt-get install --no-install-recommends mmdebstrap sbuild uidmap arch-test dpkg-dev debian-archive-keyring)"
            ));
        }
    }
    if !rustix::process::geteuid().is_root() {
        missing.push("root's rights (this test runs tools as another user)".into());
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == USER);
    if entry.is_none() {
        missing.push(format!("the user {USER} (useradd --create-home {USER})"));
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        if !fs::read_to_string(file).unwrap_or_default().lines().any(|line| line.starts_with(&format!("{USER}:"))) {
            missing.push(format!("subordinate ids of {USER} in {file} (useradd adds them)"));
        }
    }
    assert!(missing.is_empty(), "this test needs:\n  {}", missing.join("\n  "));
    let entry = entry.unwrap();
    let probe =
        ["runuser", "-u", USER, "--", "unshare", "--map-users=auto", "--map-groups=auto", "--map-root-user", "true"];
    output(&probe);
    Identity {
        name: USER.into(),
        uid: entry[2].parse().unwrap(),
        gid: entry[3].parse().unwrap(),
        home: PathBuf::from(entry[5]),
    }
}

/// The mirror that this machine itself uses.
fn mirror() -> String {
    let sites = output(&["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let first = sites.lines().next().expect("apt has sources; run apt-get update").trim_end_matches('/').to_owned();
    assert!(first.starts_with("http"), "apt's first source is {first}, not a mirror");
    first
}

/// A package without build dependencies that makes one binary for any architecture and one for all.
fn tiny(directory: &Path) -> Vec<PathBuf> {
    let source = directory.join("tiny-1.0");
    fs::create_dir_all(source.join("debian/source")).unwrap();
    let write = |name: &str, content: &str| fs::write(source.join("debian").join(name), content).unwrap();
    write("source/format", "3.0 (native)\n");
    write(
        "changelog",
        "tiny (1.0) unstable; urgency=medium\n\n  * First.\n\n -- Tiny <tiny@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n",
    );
    write(
        "control",
        "Source: tiny\nSection: misc\nPriority: optional\nMaintainer: Tiny <tiny@example.org>\nStandards-Version: 4.6.2\n\
         Rules-Requires-Root: no\n\nPackage: tiny\nArchitecture: any\nDescription: tiny\n Tiny.\n\n\
         Package: tiny-doc\nArchitecture: all\nDescription: tiny's documents\n Tiny.\n",
    );
    write(
        "rules",
        "#!/usr/bin/make -f\nclean build build-arch build-indep:\nbinary: binary-arch binary-indep\n\
         binary-arch: P = tiny\nbinary-indep: P = tiny-doc\nbinary-arch binary-indep:\n\
         \tmkdir -p debian/$(P)/DEBIAN debian/$(P)/usr/share/doc/$(P)\n\
         \tcp debian/changelog debian/$(P)/usr/share/doc/$(P)/\n\
         \tdpkg-gencontrol -p$(P) -Pdebian/$(P)\n\
         \tdpkg-deb --root-owner-group --build debian/$(P) ..\n",
    );
    fs::set_permissions(source.join("debian/rules"), fs::Permissions::from_mode(0o755)).unwrap();
    let status = Command::new("dpkg-source").args(["-b", "tiny-1.0"]).current_dir(directory).status().unwrap();
    assert!(status.success());
    ["tiny_1.0.dsc", "tiny_1.0.tar.xz"].map(|name| directory.join(name)).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_made_and_a_package_built_in_it() {
    let identity = user_and_tools();
    let architecture = output(&["dpkg", "--print-architecture"]).trim().to_owned();
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut around = surroundings(&root, PATH, Some(identity.clone()));
    // xz is what takes long.
    around.environment.insert("XZ_OPT".into(), "-0".into());
    let host = DirHost::new();
    let data = json!({
        "bootstrap_options": {"architecture": architecture, "variant": "buildd"},
        "bootstrap_repositories": [{"mirror": mirror(), "suite": "bookworm", "components": ["main"]}],
        "customization_script": "#!/bin/sh\necho customized > /etc/customized\n",
    });
    let made = execute(TaskType::Worker, "mmdebstrap", &data, None, &around, &host).await;
    assert_eq!(made.result, Some(Results::Success), "{}", host.text(LogStream::Stdout));
    let tarball = of(&made, ArtifactCategory::SystemTarball)[0];
    assert_eq!(tarball.data["codename"], "bookworm");
    assert_eq!(tarball.data["vendor"], "debian");
    assert_eq!(tarball.data["variant"], "buildd");
    assert!(tarball.data["pkglist"]["dpkg-dev"].is_string());
    assert!(made.output_data.runtime_statistics.is_some());
    assert!(log(&made, "cmd-output.log").unwrap().contains("aborted: False\nreturncode: 0\n"));
    assert!(log(&made, "host.sources").unwrap().contains("Suites: bookworm\n"));
    assert_eq!(log(&made, "stages.log"), None);
    let image = tarball.files.values().next().unwrap().path.clone();
    let seen_by_others = root.path().join("system.tar.xz");
    fs::rename(image, &seen_by_others).unwrap();
    fs::set_permissions(&seen_by_others, fs::Permissions::from_mode(0o644)).unwrap();

    let host = DirHost::new()
        .with(3, ArtifactCategory::SystemTarball, tarball.data.clone(), vec![seen_by_others])
        .with(12, ArtifactCategory::SourcePackage, json!({"name": "tiny", "version": "1.0"}), tiny(root.path()));
    let around = surroundings(&root, PATH, Some(identity));
    let data = json!({
        "input": {"source_artifact": 12}, "build_architecture": architecture, "build_components": ["any", "all"],
        "environment": "debian/match:codename=bookworm",
    });
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12});
    let built = execute(TaskType::Worker, "sbuild", &data, Some(&dynamic), &around, &host).await;
    let logs =
        built.artifacts.last().unwrap().files.values().map(|file| fs::read_to_string(&file.path).unwrap_or_default());
    assert_eq!(built.result, Some(Results::Success), "{}", logs.collect::<String>());
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
    for artifact in &built.artifacts {
        usine_model::artifact::validate_data(artifact.category, &artifact.data).unwrap();
    }
    assert_eq!(built.artifacts[1].data["deb_fields"]["Package"], "tiny");
    assert_eq!(built.artifacts[2].data["deb_fields"]["Architecture"], "all");
    assert_eq!(built.artifacts[3].files.len(), 4, "changes, buildinfo, two debs");
    assert_eq!(relations(&built).len(), 12);
    assert!(
        fs::read_dir(&around.directory)
            .unwrap()
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with("tmp-"))
    );

    // Stopped while the chroot is there: only root and its subordinate owner can remove what is left.
    let around = surroundings(&root, PATH, around.identity);
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
        let chroot = tokio::time::timeout(Duration::from_secs(60), appears).await;
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
