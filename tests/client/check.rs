//! `usine check`: from a source package to a table of verdicts. The worker is a fake one, so that the story is quick.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory::{self, *};
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_protocol::work_request::WorkRequest;

use crate::fake_worker::{End, FakeWorker, Made, WITHHELD};
use crate::house::{House, architecture};
use crate::source;
use crate::support::Outcome;

const CHECKS: [&str; 6] = ["build", "lintian", "autopkgtest", "piuparts", "blhc", "debdiff"];

fn house() -> House {
    let mut house = House::new(None);
    house.start_server();
    house
}

/// An environment, as mmdebstrap's task would make it; its id.
fn environment(house: &House, codename: &str, variant: &str) -> i64 {
    environment_in(house, "System", codename, variant)
}

fn environment_in(house: &House, workspace: &str, codename: &str, variant: &str) -> i64 {
    let data = json!({
        "filename": "system.tar.xz", "vendor": "debian", "codename": codename, "mirror": "https://mirror.example.org/debian",
        "components": ["main"], "variant": variant, "pkglist": {}, "architecture": architecture(), "with_dev": true,
        "with_init": true,
    });
    house.write("environment.yaml", &data.to_string(), 0o644);
    house.write("system.tar.xz", codename, 0o644);
    let path = |name: &str| house.path().join(name).to_str().unwrap().to_owned();
    let (data, file) = (path("environment.yaml"), path("system.tar.xz"));
    let create = ["artifact", "create", "debian:system-tarball", "--workspace", workspace];
    let created = house.json(&[&create[..], &["--data", &data, "--upload", &file]].concat());
    created["artifact_id"].as_i64().unwrap()
}

/// The same source package with an older version.
fn older(dsc: &Path) -> PathBuf {
    let root = dsc.parent().unwrap();
    let changelog = root.join("tiny-1.0/debian/changelog");
    let text = std::fs::read_to_string(&changelog).unwrap();
    std::fs::write(&changelog, text.replacen("(1.0)", "(0.9)", 1)).unwrap();
    let status = Command::new("dpkg-source").args(["-b", "tiny-1.0"]).current_dir(root).output().unwrap().status;
    assert!(status.success());
    root.join("tiny_0.9.dsc")
}

fn check(house: &House, arguments: &[&str]) -> Outcome {
    house.try_client(&[&["check"], arguments].concat(), "")
}

fn data(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
}

/// One key of all checks, in their order.
fn each<'a>(report: &'a Value, key: &str) -> Vec<&'a str> {
    report["checks"].as_array().unwrap().iter().map(|check| check[key].as_str().unwrap()).collect()
}

/// Ends a work request as its task would: a good package with one warning of lintian.
fn good(work_request: &WorkRequest) -> End {
    let mut end = End { result: Results::Success, output_data: OutputData::default(), made: Vec::new() };
    let mut make = |category: ArtifactCategory, data: Value, files: &[(&'static str, &'static str)]| {
        end.made.push(Made { category, data, files: files.to_vec() });
    };
    match work_request.task_name.as_str() {
        "sbuild" => {
            let log = json!({"source": "tiny", "version": "1.0", "architecture": "amd64", "filename": "tiny.build"});
            make(PackageBuildLog, log, &[("tiny.build", "Status: successful\n")]);
            for (package, file) in [("tiny", "tiny_1.0_all.deb"), ("tiny-dbgsym", "tiny-dbgsym_1.0_all.deb")] {
                let fields = json!({"Package": package, "Version": "1.0", "Architecture": "all"});
                let data = json!({"srcpkg_name": "tiny", "srcpkg_version": "1.0", "deb_fields": fields,
                    "deb_control_files": ["control"]});
                make(BinaryPackage, data, &[(file, "a package")]);
            }
        }
        "lintian" => {
            let severities = ["error", "info", "pedantic", "experimental", "overridden", "classification"];
            let mut counts: Value = severities.iter().map(|severity| ((*severity).to_owned(), json!(0))).collect();
            counts["warning"] = json!(1);
            let summary = json!({"tags_count_by_severity": counts, "package_filename": {"tiny": "tiny_1.0.dsc"},
                "tags_found": ["a-tag"], "overridden_tags_found": [], "lintian_version": "2.116.3",
                "distribution": "debian:unstable"});
            let files = [("analysis.json", "{}"), ("lintian.txt", "W: tiny source: a-tag\n")];
            make(Lintian, json!({"architecture": "source", "summary": summary}), &files);
            if work_request.task_data["fail_on_severity"] == "warning" {
                end.result = Results::Failure;
            }
        }
        "autopkgtest" => {
            let data = json!({
                "results": {"a": {"status": "PASS", "details": null}, "b": {"status": "PASS", "details": null}},
                "cmdline": "autopkgtest", "architecture": "amd64", "distribution": "debian:bookworm",
                "source_package": {"name": "tiny", "version": "1.0", "url": "http://server.example.org/tiny_1.0.dsc"},
            });
            make(Autopkgtest, data, &[("summary", "a PASS\nb PASS\n")]);
        }
        "piuparts" => {
            let data = json!({"piuparts_version": "1.6.0", "binary_packages": {"tiny": "1.0"}, "architecture": "amd64",
                "distribution": "debian:bookworm"});
            make(Piuparts, data, &[("piuparts.txt", "0m20.0s INFO: PASS: All tests.\n")]);
        }
        "blhc" => {
            let data = json!({"source": "tiny", "version": "1.0", "architecture": "amd64"});
            make(Blhc, data, &[("blhc.txt", "")]);
        }
        "debdiff" => {
            let diff = "diff -Nru a/debian/changelog b/debian/changelog\n--- a/debian/changelog\t1\n\
                +++ b/debian/changelog\t2\n@@ -1 +1 @@\n-tiny (0.9)\n+tiny (1.0)\n";
            let data = json!({"original": "tiny_0.9.dsc", "new": "tiny_1.0.dsc", "label": null});
            make(Debdiff, data, &[("debdiff.txt", diff)]);
        }
        other => panic!("nobody asked for {other}"),
    }
    end
}

/// Does not build, and cannot do anything else.
fn bad(work_request: &WorkRequest) -> End {
    assert_eq!(work_request.task_name, "sbuild");
    let data = json!({"source": "tiny", "version": "1.0", "architecture": "amd64", "filename": "tiny.build"});
    let files = vec![("tiny.build", "Fail-Stage: build\nStatus: attempted\n")];
    let made = vec![Made { category: PackageBuildLog, data, files }];
    End { result: Results::Failure, output_data: OutputData::default(), made }
}

/// All is well, but that piuparts cannot run.
fn without_piuparts(work_request: &WorkRequest) -> End {
    match work_request.task_name.as_str() {
        "piuparts" => {
            let output_data = OutputData::error("setup-failed", "the environment's piuparts is too old");
            End { result: Results::Error, output_data, made: Vec::new() }
        }
        _ => good(work_request),
    }
}

/// Lintian breaks off, autopkgtest passes a limit, and the report of blhc gets lost.
fn with_trouble(work_request: &WorkRequest) -> End {
    let mut end = good(work_request);
    match work_request.task_name.as_str() {
        "lintian" => {
            let files = vec![("stages.log", "the mirror is down\n")];
            let made = vec![Made { category: WorkRequestDebugLogs, data: json!({}), files }];
            end = End { result: Results::Failure, made, ..end };
        }
        "autopkgtest" => {
            let output_data = OutputData::error("deadline-total", "stopped after 60 s\nas it was asked to");
            end = End { result: Results::Failure, output_data, ..end };
        }
        "blhc" => end.made[0].files = vec![("blhc.txt", WITHHELD)],
        _ => {}
    }
    end
}

#[test]
fn a_source_package_is_built_and_checked() {
    let house = house();
    let dsc = source::tiny(house.path(), "true");
    let old = older(&dsc);
    let (dsc, old) = (dsc.to_str().unwrap(), old.to_str().unwrap());
    let before = house.holdings();
    check(&house, &[dsc]).assert_failed(
        3,
        &["No environment for", "usine work-request create mmdebstrap --workspace System <<END"],
        "",
    );
    assert_eq!(house.holdings(), before, "nothing is imported in vain");
    let build = environment(&house, "bookworm", "buildd");
    check(&house, &[dsc]).assert_failed(3, &["piuparts needs an environment of trixie or newer", "minbase"], "");
    let trixie = environment(&house, "trixie", "minbase");
    let _worker = FakeWorker::start(&house, good);

    // The first version has nothing to be compared with.
    let first = check(&house, &[old, "--json"]);
    assert_eq!(first.code, Some(0), "{first:#?}");
    let first = data(&first);
    assert_eq!((&first["verdict"], &first["version"]), (&json!("passed"), &json!("0.9")));
    assert_eq!(each(&first, "check"), CHECKS);
    assert_eq!(each(&first, "verdict"), ["passed", "passed", "passed", "passed", "passed", "skipped"]);
    assert_eq!(first["checks"][5]["found"], "skipped: nothing to compare with");
    assert_eq!(first["environments"], json!({"environment": build, "piuparts_environment": trixie, "base_tgz": build}));

    // The second one with the first, by itself.
    let second = check(&house, &[dsc]);
    assert_eq!(second.code, Some(0), "{second:#?}");
    let rows: Vec<&str> =
        second.stdout.lines().filter(|line| CHECKS.iter().any(|check| line.contains(check))).collect();
    let found = [
        "1 package, 1 of debug symbols",
        "0 errors, 1 warning",
        "2 PASS",
        "1 package",
        "no flags missing",
        "1 file, +1 −1",
    ];
    assert_eq!(rows.len(), 6, "{}", second.stdout);
    for ((row, check), found) in rows.iter().zip(CHECKS).zip(found) {
        let columns: Vec<&str> = row.split('│').map(str::trim).collect();
        assert_eq!((columns[0], columns[1], columns[2], columns[4]), (check, "passed", "success", found), "{row}");
        assert!(columns[5].starts_with(&house.url()), "{row}");
    }
    assert!(second.stdout.starts_with("tiny 1.0 ("), "{}", second.stdout);
    let artifacts = house.json(&["artifact", "list", "--category", "debian:source-package"]);
    let debdiff = &house.json(&["work-request", "list", "--limit", "5"]);
    let debdiff = debdiff.as_array().unwrap().iter().find(|row| row["task_name"] == "debdiff").unwrap();
    let compared = json!([artifacts[1]["id"], artifacts[0]["id"]]);
    assert_eq!(debdiff["task_data"]["input"], json!({"source_artifacts": compared}));

    // A fault, and an explicit version to compare with.
    let third = check(&house, &[dsc, "--against", old, "--fail-on-severity", "warning", "--json"]);
    assert_eq!(third.code, Some(10), "{third:#?}");
    let third = data(&third);
    assert_eq!(third["verdict"], "failed");
    assert_eq!(each(&third, "verdict"), ["passed", "failed", "passed", "passed", "passed", "passed"]);
    let lintian = &third["checks"][1];
    assert_eq!(lintian["reports"][0]["category"], "debian:lintian");
    assert!(lintian["duration"].is_number() && lintian["url"].as_str().unwrap().starts_with(&house.url()), "{lintian}");
    house.admin(&["check"]);
}

#[test]
fn what_was_not_built_is_not_checked() {
    let house = house();
    let dsc = source::tiny(house.path(), "false");
    environment(&house, "trixie", "buildd");
    let _worker = FakeWorker::start(&house, bad);
    let outcome = check(&house, &[dsc.to_str().unwrap(), "--yaml"]);
    assert_eq!(outcome.code, Some(10), "{outcome:#?}");
    assert!(outcome.stdout.contains("verdict: failed\n"), "{outcome:#?}");
    assert!(outcome.stdout.contains("found: failed in stage build\n"), "{outcome:#?}");
    assert_eq!(outcome.stdout.matches("found: \"skipped: nothing was built\"").count(), 5, "{outcome:#?}");
}

#[test]
fn a_check_that_cannot_run_is_no_fault_of_the_package() {
    let house = house();
    let dsc = source::tiny(house.path(), "true");
    environment(&house, "trixie", "buildd");
    let _worker = FakeWorker::start(&house, without_piuparts);
    let outcome = check(&house, &[dsc.to_str().unwrap(), "--json"]);
    assert_eq!(outcome.code, Some(12), "{outcome:#?}");
    let report = data(&outcome);
    assert_eq!(report["verdict"], "broken");
    assert_eq!(report["checks"][3]["verdict"], "broken");
    assert_eq!(report["checks"][3]["found"], "the environment's piuparts is too old");
}

#[test]
fn trouble_of_the_infrastructure_is_no_fault_of_the_package() {
    let house = house();
    let dsc = source::tiny(house.path(), "true");
    environment(&house, "trixie", "buildd");
    let _worker = FakeWorker::start(&house, with_trouble);
    let outcome = check(&house, &[dsc.to_str().unwrap(), "--json"]);
    assert_eq!(outcome.code, Some(12), "{outcome:#?}");
    let report = data(&outcome);
    assert_eq!(report["verdict"], "broken");
    assert_eq!(each(&report, "verdict"), ["passed", "broken", "broken", "passed", "broken", "skipped"]);
    assert_eq!(each(&report, "result"), ["success", "failure", "failure", "success", "success", ""]);
    let checks = &report["checks"];
    assert_eq!(checks[1]["found"], "broke off: see the debug logs");
    assert_eq!(checks[1]["reports"][0]["category"], "debusine:work-request-debug-logs");
    assert_eq!(checks[2]["found"], "stopped after 60 s");
    assert_ne!(checks[4]["found"], "");
    assert!(checks[4]["work_request_id"].is_number(), "{outcome:#?}");
}

/// A server that goes away on the way to the end is waited for.
#[test]
fn a_short_absence_of_the_server_is_survived() {
    let mut house = house();
    let dsc = source::tiny(house.path(), "true");
    environment(&house, "trixie", "buildd");
    let mut checking = house.follow("check", &["check", dsc.to_str().unwrap(), "--json"]);
    checking.wait_for("build: work request ");
    house.kill_server();
    checking.wait_for("trying again");
    assert!(checking.is_running());
    house.start_server();
    let _worker = FakeWorker::start(&house, good);
    assert_eq!(checking.end().code(), Some(0), "{}", checking.stderr());
    let report: Value = serde_json::from_str(&checking.stdout()).unwrap();
    assert_eq!(report["verdict"], "passed");
}

/// A workspace like the one that is always there. No command makes one.
fn add_workspace(house: &House, name: &str) {
    let database = format!("sqlite:{}", house.path().join("server/usine.db").display());
    let columns = "scope_id, public, default_expiration_delay, created_at, description";
    let insert = format!("INSERT INTO workspace (name, {columns}) SELECT '{name}', {columns} FROM workspace");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = sea_orm::Database::connect(database).await.unwrap();
        sea_orm::ConnectionTrait::execute_unprepared(&database, &insert).await.unwrap();
    });
}

/// The server refuses inputs from another workspace than the one of the work request.
#[test]
fn everything_is_of_one_workspace() {
    let mut house = House::new(None);
    add_workspace(&house, "qa");
    house.start_server();
    let dsc = source::tiny(house.path(), "true");
    let old = older(&dsc);
    let (dsc, old) = (dsc.to_str().unwrap(), old.to_str().unwrap());
    let elsewhere = environment_in(&house, "qa", "trixie", "buildd");
    let source = house.json(&["artifact", "import", old, "--workspace", "qa"])["artifact_id"].to_string();
    let before = house.holdings();
    house.refuses(&["check", dsc], "", &["No environment for", "is in the workspace System. Make one:"]);
    let named = elsewhere.to_string();
    let words = |option| format!("Error: {option}: artifact {{}} is in the workspace qa, the checks run in System");
    let text = words("--environment").replace("{}", &named);
    house.refuses(&["check", dsc, "--environment", &named], "", &[&text, "give --workspace qa"]);
    assert_eq!(house.holdings(), before, "nothing is imported in vain");

    let here = environment(&house, "trixie", "buildd");
    let elsewhere = environment_in(&house, "qa", "trixie", "buildd");
    let text = words("--against").replace("{}", &source);
    house.refuses(&["check", dsc, "--against", &source], "", &[&text]);

    // A server with another default workspace tells it when something has been imported.
    house.kill_server();
    let config = std::fs::read_to_string(house.path().join("server.toml")).unwrap();
    house.write("server.toml", &format!("{config}default-workspace = \"qa\"\n"), 0o600);
    house.start_server();
    let mut following = house.follow("check", &["check", dsc]);
    following.wait_for("build: work request ");
    following.signal(Signal::INT);
    assert_eq!(following.end().code(), Some(14));
    let build = &house.json(&["work-request", "list"])[0];
    assert_eq!((&build["workspace"], &build["task_data"]["environment"]), (&json!("qa"), &json!(elsewhere)));
    house.client(&["work-request", "abort", &build["id"].to_string()]);
    house.kill_server();
    house.write("server.toml", &config, 0o600);
    house.start_server();

    let _worker = FakeWorker::start(&house, good);
    for (workspace, environment, debdiff) in [("System", here, "skipped"), ("qa", elsewhere, "passed")] {
        let outcome =
            check(&house, &[&[dsc, "--json"][..], if workspace == "qa" { &["-w", "qa"] } else { &[] }].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let report = data(&outcome);
        assert_eq!(report["environments"]["base_tgz"], environment, "{workspace}");
        assert_eq!(report["checks"][5]["verdict"], debdiff, "{workspace}");
        assert_eq!(house.json(&["work-request", "list"])[0]["workspace"], workspace);
    }
}

/// What is named is looked at before anything is changed.
#[test]
fn what_is_named_must_fit() {
    let house = house();
    let dsc = source::tiny(house.path(), "true");
    let environment = environment(&house, "trixie", "buildd").to_string();
    let before = house.holdings();
    let other = if architecture() == "riscv64" { "amd64" } else { "riscv64" };
    for option in ["--environment", "--piuparts-environment", "--base-tgz"] {
        let arguments = ["check", dsc.to_str().unwrap(), option, &environment, "--architecture", other];
        let words = format!("Error: {option}: artifact {environment} is for {}", architecture());
        house.refuses(&arguments, "", &[&words, &format!("the checks are for {other}")]);
    }
    assert_eq!(house.holdings(), before);
}

#[test]
fn an_interruption_leaves_the_work_requests_running() {
    let house = house();
    let dsc = source::tiny(house.path(), "true");
    let environment = environment(&house, "trixie", "buildd");
    let mut following = house.follow("check", &["check", dsc.to_str().unwrap(), "--suite", "trixie"]);
    following.wait_for("build: work request ");
    following.signal(Signal::INT);
    assert_eq!(following.end().code(), Some(14));
    let build = &house.json(&["work-request", "list"])[0];
    assert_eq!((&build["task_name"], &build["status"]), (&json!("sbuild"), &json!("pending")));
    assert_eq!(build["task_data"]["environment"], environment);
    assert!(following.stderr().contains(&format!("  usine work-request watch {}   # build", build["id"])));
}

#[test]
fn what_is_no_source_package_is_refused() {
    let house = house();
    house.write("a.changes", "Format: 1.8\n", 0o644);
    let path = |name: &str| house.path().join(name).to_str().unwrap().to_owned();
    for (arguments, code, words) in [
        (&[path("a.changes")][..], 2, "is not the .dsc of a source package"),
        (&[path("none.dsc")], 2, "can't open"),
        (&[path("none.dsc"), "--against".to_owned(), "0".to_owned()], 2, "can't open"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        check(&house, &arguments).assert_failed(code, &[words], &format!("{arguments:?}"));
    }
    house.write("a.dsc", "", 0o644);
    let (dsc, other) = (path("a.dsc"), environment(&house, "trixie", "buildd").to_string());
    house.refuses(&["check", &dsc, "--against", &other], "", &["is a debian:system-tarball; --against wants"]);
    house.refuses(&["check", &dsc, "--environment", "999"], "", &["404"]);
}
