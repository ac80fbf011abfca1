//! The life of a worker: it registers, is let in, says what it can do, works, outlives the server, is turned away and let in
//! again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use crate::debian::Release;
use crate::fetch;
use crate::house::{House, architecture, mirror, until};
use crate::support::SOON;
use crate::tenancy;
use crate::worker::{Kind, Worker};

/// Builds take all cores: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Makes a test of each story for each kind of worker.
macro_rules! workers {
    ($(fn $story:ident($house:ident: &mut House, $worker:ident: &Worker) $body:block)+) => {
        $(mod $story {
            use super::*;

            fn story($house: &mut House, $worker: &Worker) $body

            fn told_of(kind: Kind) {
                let mut house = tenancy::house();
                let worker = Worker::start(kind, &house);
                story(&mut house, &worker);
                drop(worker);
                house.check();
            }

            #[test]
            fn usine() {
                told_of(Kind::Usine);
            }

            #[test]
            fn debian_new() {
                told_of(Kind::Debian(Release::New));
            }

            #[test]
            fn debian_old() {
                told_of(Kind::Debian(Release::Old));
            }
        })+
    };
}

workers! {
    fn a_worker_is_let_in_turned_away_and_let_in_again(house: &mut House, worker: &Worker) {
        assert_eq!(worker.row(house)["enabled"], false, "nobody has let it in");
        let first = house.submit("noop", &json!({"result": true}));
        assert_eq!(house.status(first), "pending");
        house.admin(&["worker", "enable", &worker.name]);
        house.wait(first, "success");
        assert!(worker.row(house)["connected"].is_string());
        let logs = house.artifacts(first, "debusine:work-request-debug-logs");
        assert_eq!(logs.len(), 1, "the logs of a task that says nothing are an artifact without files");
        let failure = house.submit("noop", &json!({"result": "failure"}));
        house.wait(failure, "failure");

        house.admin(&["worker", "disable", &worker.name]);
        until("the worker to be gone", SOON, || worker.row(house)["connected"].is_null());
        let second = house.submit("noop", &json!({}));
        assert_eq!(house.status(second), "pending");
        house.admin(&["worker", "enable", &worker.name]);
        house.wait(second, "success");
    }

    fn a_build_outlives_the_server(house: &mut House, worker: &Worker) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        house.admin(&["worker", "enable", &worker.name]);
        let source = source(house);
        let data = json!({
            "input": {"source_artifact": source}, "build_architecture": architecture(), "environment": environment(house),
            "backend": "unshare", "build_components": ["any"],
        });
        let id = house.submit("sbuild", &data);
        if worker.streams() {
            house.wait_for_log(id, "Running");
        }
        until("the build", SOON, || house.status(id) == "running" && worker.runs("sbuild"));
        house.kill_server();
        house.start_server();
        house.wait(id, "success");

        let attempts = house.details(id)["attempts"].clone();
        let outcomes: Vec<&Value> = attempts.as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
        assert_eq!(outcomes, ["reported"], "one attempt from beginning to end: {attempts:#}");
        let made = |category: &str| house.artifacts(id, category);
        let log = &made("debian:package-build-log")[0];
        assert_eq!((&log["data"]["source"], &log["files_to_upload"]), (&json!("hello"), &json!([])));
        let names: Vec<Value> =
            made("debian:binary-package").iter().map(|one| one["data"]["deb_fields"]["Package"].clone()).collect();
        assert!(names.contains(&json!("hello")), "{names:?}");
        assert_eq!(made("debian:upload").len(), 1);
        let relations = house.client(&["artifact", "show-relations", &log["id"].to_string(), "--yaml"]);
        let to_source = format!("target: {source}\n");
        assert!(relations.contains(&to_source), "the log is about the source: {relations}");
    }
}

/// hello, imported.
fn source(house: &House) -> i64 {
    let dsc = fetch::source_package(house.path(), &mirror(), "hello");
    house.json(&["artifact", "import", dsc.to_str().unwrap()])["artifact_id"].as_i64().unwrap()
}

/// The environment to build in, as mmdebstrap's task would describe it.
fn environment(house: &House) -> i64 {
    let data = json!({
        "filename": "system.tar.xz", "vendor": "debian", "codename": "bookworm", "mirror": mirror(),
        "components": ["main"], "variant": "buildd", "pkglist": {}, "architecture": architecture(), "with_dev": true,
        "with_init": true,
    });
    house.write("environment.yaml", &data.to_string(), 0o644);
    let data = house.path().join("environment.yaml");
    let (data, tarball) = (data.to_str().unwrap(), tarball().to_str().unwrap());
    let create = ["artifact", "create", "debian:system-tarball", "--data", data, "--upload", tarball];
    house.json(&create)["artifact_id"].as_i64().unwrap()
}

/// One for all workers, made anew with each run.
fn tarball() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("system.tar.xz");
        let mut command = Command::new("mmdebstrap");
        command.args(["--mode=root", "--variant=buildd", "bookworm"]).arg(&path).arg(mirror()).env("XZ_OPT", "-0");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        path
    })
}
