//! What all these stories need: the user, the mirror, and environments.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{Identity, LogStream, Outcome, Surroundings, execute};

use crate::support::{DirHost, Stored, log, of, surroundings};

const USER: &str = "usine-worker";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Standard output of a command that must succeed.
pub fn output(argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|error| panic!("{argv:?}: {error}"));
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Says at once all that is missing, and how to get it.
pub fn user_and_tools() -> Identity {
    let mut missing = Vec::new();
    for tool in
        ["mmdebstrap", "sbuild", "autopkgtest", "newuidmap", "arch-test", "unshare", "dpkg-source", "dpkg-query"]
    {
        if !PATH.split(':').any(|directory| Path::new(directory).join(tool).is_file()) {
            missing.push(format!(
                "{tool} (apt-get install --no-install-recommends mmdebstrap sbuild autopkgtest uidmap arch-test dpkg-dev debian-archive-keyring)"
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
pub fn mirror() -> String {
    let words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm"];
    let sites = output(&[&words[..], &["Component: main", "Origin: Debian"]].concat());
    let first = sites.lines().next().expect("apt knows a mirror of bookworm: run apt-get update").trim_end_matches('/');
    assert!(first.starts_with("http"), "apt's first source of bookworm is {first}, not a mirror");
    first.to_owned()
}

/// The architecture of this machine.
pub fn architecture() -> String {
    output(&["dpkg", "--print-architecture"]).trim().to_owned()
}

/// A directory for a story and the identity that its tools run as.
pub struct House {
    pub root: TempDir,
    pub identity: Identity,
}

impl House {
    pub fn new() -> Self {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, identity: user_and_tools() }
    }

    pub fn surroundings(&self) -> Surroundings {
        let mut around = surroundings(&self.root, PATH, Some(self.identity.clone()));
        // Where the Incus of these tests is, if there is one.
        around.environment.extend(std::env::vars().filter(|(name, _)| name.starts_with("INCUS_")));
        around
    }

    /// Runs a worker task; every artifact that it makes is a proper one.
    pub async fn run(&self, task: &str, data: &Value, dynamic: Value, host: &DirHost) -> Outcome {
        let around = self.surroundings();
        let outcome = execute(TaskType::Worker, task, data, Some(&dynamic), &around, host).await;
        for artifact in &outcome.artifacts {
            validate_data(artifact.category, &artifact.data).unwrap();
        }
        let left = fs::read_dir(&around.directory).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("unshare-")).collect();
        assert!(left.is_empty(), "{left:?} is left");
        outcome
    }
}

/// All that the logs of a run say, for the message of a failed assertion.
pub fn all_logs(outcome: &Outcome) -> String {
    let files = &outcome.artifacts.last().unwrap().files;
    files.keys().map(|name| format!("== {name}\n{}", log(outcome, name.as_str()).unwrap_or_default())).collect()
}

/// Where environments lie: one of each kind, made anew in each run of the tests unless `USINE_TEST_KEEP_ENVIRONMENTS` is set.
const ENVIRONMENTS: &str = "/var/tmp/usine-test-environments";

static MADE: Mutex<BTreeMap<String, ()>> = Mutex::const_new(BTreeMap::new());

/// A system tarball, made by the real mmdebstrap task.
pub async fn environment(suite: &str, variant: &str) -> Stored {
    environment_with(suite, variant, &[]).await
}

/// The same with more packages.
pub async fn environment_with(suite: &str, variant: &str, packages: &[&str]) -> Stored {
    let name = [suite, variant].iter().chain(packages).copied().collect::<Vec<_>>().join("-");
    let (tarball, described) = (
        Path::new(ENVIRONMENTS).join(&name).join("system.tar.xz"),
        Path::new(ENVIRONMENTS).join(&name).join("data.json"),
    );
    // One at a time: whoever comes second finds it made.
    let mut made = MADE.lock().await;
    let keep = std::env::var_os("USINE_TEST_KEEP_ENVIRONMENTS").is_some();
    let is_there = made.contains_key(&name) || (keep && described.exists());
    if !is_there {
        make(suite, variant, packages, &tarball, &described).await;
    }
    made.insert(name, ());
    let data = serde_json::from_slice(&fs::read(&described).unwrap()).unwrap();
    Stored { category: ArtifactCategory::SystemTarball, data, files: vec![tarball] }
}

async fn make(suite: &str, variant: &str, packages: &[&str], tarball: &Path, described: &Path) {
    let house = House::new();
    let mut around = house.surroundings();
    // xz is what takes long.
    around.environment.insert("XZ_OPT".into(), "-0".into());
    let host = DirHost::new();
    let data = json!({
        "bootstrap_options": {"architecture": architecture(), "variant": variant, "extra_packages": packages},
        "bootstrap_repositories": [{"mirror": mirror(), "suite": suite, "components": ["main"]}],
        "customization_script": "#!/bin/sh\necho customized > /etc/customized\n",
    });
    let made = execute(TaskType::Worker, "mmdebstrap", &data, None, &around, &host).await;
    assert_eq!(made.result, Some(Results::Success), "{}", host.text(LogStream::Stdout));
    let artifact = of(&made, ArtifactCategory::SystemTarball)[0];
    validate_data(artifact.category, &artifact.data).unwrap();
    assert_eq!((&artifact.data["codename"], &artifact.data["variant"]), (&json!(suite), &json!(variant)));
    assert_eq!(artifact.data["vendor"], "debian");
    assert!(artifact.data["pkglist"]["dpkg"].is_string());
    assert!(made.output_data.runtime_statistics.is_some());
    assert!(log(&made, "cmd-output.log").unwrap().contains("aborted: False\nreturncode: 0\n"));
    assert!(log(&made, "host.sources").unwrap().contains(&format!("Suites: {suite}\n")));
    assert_eq!(log(&made, "stages.log"), None);
    let directory = tarball.parent().unwrap();
    fs::create_dir_all(directory).unwrap();
    for directory in [directory, Path::new(ENVIRONMENTS)] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let image = &artifact.files.values().next().unwrap().path;
    fs::set_permissions(image, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(image, tarball).unwrap();
    fs::write(described, artifact.data.to_string()).unwrap();
}

/// What building Debian's own `hello` gave: the source package, the build log, the binary packages.
pub struct Hello {
    pub source: Stored,
    pub log: Stored,
    pub binaries: Vec<Stored>,
}

static HELLO: OnceCell<Hello> = OnceCell::const_new();

/// Debian's `hello`, built with the real sbuild task, once for all stories.
pub async fn hello() -> &'static Hello {
    HELLO
        .get_or_init(|| async {
            let house = House::new();
            let source = crate::fetch::source_package(house.root.path(), &mirror(), "hello");
            let (source, outcome) = build(&house, source).await;
            assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
            // Statics are never dropped: what lasts is where the next run of the tests replaces it.
            let place = Path::new(ENVIRONMENTS).join("hello");
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(&place).unwrap();
            let keep = |stored: Stored| {
                let kept = |file: &PathBuf| {
                    let target = place.join(file.file_name().unwrap());
                    fs::copy(file, &target).unwrap();
                    target
                };
                Stored { files: stored.files.iter().map(kept).collect(), ..stored }
            };
            let stored =
                |category| of(&outcome, category).into_iter().map(|made| keep(made.into())).collect::<Vec<_>>();
            Hello {
                source: keep(source),
                log: stored(ArtifactCategory::PackageBuildLog).remove(0),
                binaries: stored(ArtifactCategory::BinaryPackage),
            }
        })
        .await
}

/// Builds a source package (`any` and `all`) in the bookworm environment.
pub async fn build(house: &House, dsc: PathBuf) -> (Stored, Outcome) {
    let source = crate::source::artifact(&dsc);
    let host = DirHost::new().stored(12, source.clone()).stored(3, environment("bookworm", "buildd").await);
    let data = json!({
        "input": {"source_artifact": 12}, "build_architecture": architecture(), "build_components": ["any", "all"],
        "environment": "debian/match:codename=bookworm",
    });
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12});
    let outcome = house.run("sbuild", &data, dynamic, &host).await;
    (source, outcome)
}
