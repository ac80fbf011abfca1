//! The whole program at its real work: server and worker as processes of their own, real mmdebstrap, real sbuild, and
//! what happens when either is killed in the middle. One story after the other, because they share an environment.

#[path = "../../crates/usine-tasks/tests/real/fetch.rs"]
mod fetch;
mod house;
#[path = "../../crates/usine-db/tests/support/postgres.rs"]
mod postgres;
mod source;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use house::{House, until};

/// Most memory that a process may take for large files, in KiB.
const MEMORY: u64 = 48 * 1024;

/// A gibibyte.
const GIB: u64 = 1 << 30;

/// Builds take all cores: one factory at a time.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn the_factory_on_sqlite() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut house = House::new(None);
    house.start_server();
    house.start_worker();
    let environment = make_environment(&house, "bookworm", "buildd");
    builds_survive_the_death_of_the_worker(&mut house, environment);
    builds_survive_the_absence_of_the_server(&mut house, environment);
    hello_gets_six_verdicts(&house);
    large_files_need_little_memory(&mut house, environment);
    house.check();
}

#[test]
fn the_factory_on_postgresql() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (name, url) = runtime.block_on(postgres::create_database());
    let mut house = House::new(Some(&url));
    house.start_server();
    house.start_worker();
    let environment = make_environment(&house, "bookworm", "buildd");
    builds_survive_the_death_of_the_worker(&mut house, environment);
    builds_survive_the_absence_of_the_server(&mut house, environment);
    house.check();
    drop(house);
    runtime.block_on(postgres::drop_database(&name));
}

/// A system from the mirror that this machine uses itself.
fn make_environment(house: &House, suite: &str, variant: &str) -> i64 {
    let data = json!({
        "bootstrap_options": {"architecture": house::architecture(), "variant": variant},
        "bootstrap_repositories": [{"mirror": house::mirror(), "suite": suite, "components": ["main"]}],
    });
    let id = house.submit("mmdebstrap", &data);
    house.wait(id, "success");
    let tarball = &house.artifacts(id, "debian:system-tarball")[0];
    assert_eq!(tarball["data"]["codename"], suite);
    tarball["id"].as_i64().unwrap()
}

fn submit_build(house: &House, dsc: &Path, environment: i64, extra: &[i64]) -> i64 {
    let source = house.json(&["artifact", "import", dsc.to_str().unwrap()])["artifact_id"].as_i64().unwrap();
    let data = json!({
        "input": {"source_artifact": source, "extra_binary_artifacts": extra},
        "build_architecture": house::architecture(),
        "build_components": ["any", "all"],
        "environment": environment,
    });
    house.submit("sbuild", &data)
}

/// `kill -9` of the worker in the middle of a build: it comes back, gets the same work request again, and it is done once.
fn builds_survive_the_death_of_the_worker(house: &mut House, environment: i64) {
    let dsc = source::tiny(house.path(), "sleep 20");
    let id = submit_build(house, &dsc, environment, &[]);
    house.wait_for_log(id, "the build sleeps");
    house.kill_worker();
    assert_eq!(house.status(id), "running", "the worker may come back within its lease");
    house.start_worker();
    house.wait(id, "success");

    let details = house.details(id);
    assert_eq!(outcomes(&details), ["worker-restarted", "reported"]);
    assert!(events(&details).contains(&"handed-out-again".to_owned()), "{details}");
    assert_eq!(house.artifacts(id, "debian:upload").len(), 1);
    let binaries = house.artifacts(id, "debian:binary-package");
    let names: Vec<_> = binaries.iter().map(|artifact| artifact["data"]["deb_fields"]["Package"].clone()).collect();
    assert!(names.contains(&json!("tiny")) && names.contains(&json!("tiny-doc")), "{names:?}");
}

/// `kill -9` of the server in the middle of a build: the build goes on, its result waits on the worker's disk, and is
/// reported when the server is back. A restart of the worker in between changes nothing.
fn builds_survive_the_absence_of_the_server(house: &mut House, environment: i64) {
    let dsc = source::tiny(house.path(), "sleep 5");
    let id = submit_build(house, &dsc, environment, &[]);
    house.wait_for_log(id, "the build sleeps");
    house.kill_server();
    let spool = house.spool();
    until("the result to be on the worker's disk", Duration::from_secs(180), || {
        std::fs::read_dir(&spool)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.path().join("manifest.json").exists()))
    });
    house.kill_worker();
    house.start_server();
    house.start_worker();
    house.wait(id, "success");
    let details = house.details(id);
    assert_eq!(outcomes(&details), ["reported"], "{details}");
    assert_eq!(events(&details).iter().filter(|event| *event == "completed").count(), 1);
    assert_eq!(house.artifacts(id, "debian:upload").len(), 1);
}

/// `usine check`: Debian's `hello` with a new version, against the old one, by all checks; then a package with faults.
fn hello_gets_six_verdicts(house: &House) {
    make_environment(house, "trixie", "minbase");
    let place = house.path().join("hello");
    std::fs::create_dir(&place).unwrap();
    let old = fetch::source_package(&place, &house::mirror(), "hello");
    let new = source::next_version(&old);
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let report = house.json(&["check", new, "--against", old, "--suite", "bookworm"]);
    let verdicts = strings(&report["checks"], "verdict");
    assert_eq!(strings(&report["checks"], "check"), ["build", "lintian", "autopkgtest", "piuparts", "blhc", "debdiff"]);
    assert_eq!(verdicts, ["passed"; 6], "{report:#}");
    assert_eq!(report["verdict"], "passed");
    let found = strings(&report["checks"], "found");
    assert_eq!(found[2], "2 PASS", "autopkgtest");
    assert_eq!(found[4], "no flags missing", "blhc");
    assert_eq!(found[5], "1 file, +6 −0", "debdiff");

    let bad = source::faulty(house.path());
    let (code, stdout, stderr) = house.user(&["check", bad.to_str().unwrap(), "--suite", "bookworm", "--json"]);
    assert_eq!(code, Some(10), "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let verdicts = strings(&report["checks"], "verdict");
    assert_eq!(verdicts, ["passed", "failed", "failed", "failed", "failed", "skipped"], "{report:#}");
}

/// A gibibyte goes up and down, through client, server and worker, and none of them grows.
fn large_files_need_little_memory(house: &mut House, environment: i64) {
    let before = house.memory();
    // Up and down by the client.
    let original = house.path().join("large.bin");
    source::random_file(&original, GIB);
    let data = house.path().join("empty.yaml");
    std::fs::write(&data, "{}\n").unwrap();
    let upload = [
        "artifact",
        "create",
        "debusine:test",
        "--data",
        data.to_str().unwrap(),
        "--upload",
        original.to_str().unwrap(),
    ];
    let artifact = house.json(&upload)["artifact_id"].as_i64().unwrap();
    let target = house.path().join("down");
    std::fs::create_dir(&target).unwrap();
    house.client(&["artifact", "download", "--target-directory", target.to_str().unwrap(), &artifact.to_string()]);
    house::assert_same(&original, &target.join("large.bin"));
    std::fs::remove_file(&original).unwrap();
    std::fs::remove_file(target.join("large.bin")).unwrap();

    // Up by the worker: a package as large. Down to the worker: that package as an input of another build.
    let dsc = source::large(house.path(), GIB);
    let id = submit_build(house, &dsc, environment, &[]);
    house.wait(id, "success");
    let binary = house.artifacts(id, "debian:binary-package")[0]["id"].as_i64().unwrap();
    let dsc = source::tiny(house.path(), "true");
    let id = submit_build(house, &dsc, environment, &[binary]);
    house.wait(id, "success");

    for ((name, before), peak) in ["server", "worker"].into_iter().zip(before).zip(house.peak_memory()) {
        println!("memory of the {name}: {} MiB before, {} MiB at most", before / 1024, peak / 1024);
        assert!(peak - before < MEMORY, "the {name} had {before} KiB, then {peak} KiB");
    }
}

fn outcomes(details: &Value) -> Vec<String> {
    strings(&details["attempts"], "outcome")
}

fn events(details: &Value) -> Vec<String> {
    strings(&details["history"], "event")
}

fn strings(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap_or_default().to_owned()).collect()
}
