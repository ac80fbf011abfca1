//! Whole runs of the task `autopkgtest` with a fake autopkgtest(1).

use std::fs;

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::Results;
use usine_tasks::{LogStream, Outcome};

use crate::support::{DirHost, log, of, relations};
use crate::world::{DSC, World, run};

/// A host with the source package 12, the binary packages 20 and 21, the upload 30 and the environment 3.
fn host(world: &World) -> DirHost {
    let file = |name: &str| vec![world.file(name, "")];
    let image = json!({"vendor": "debian", "codename": "bullseye", "architecture": "amd64"});
    DirHost::new()
        .with(12, ArtifactCategory::SourcePackage, json!({}), vec![world.file("tiny_1.0.dsc", DSC)])
        .with(20, ArtifactCategory::BinaryPackage, json!({}), file("tiny_1.0_amd64.deb"))
        .with(21, ArtifactCategory::BinaryPackage, json!({}), file("tiny-doc_1.0_all.deb"))
        .with(30, ArtifactCategory::Upload, json!({}), vec![world.file("z.changes", ""), world.file("a_2_all.deb", "")])
        .with(3, ArtifactCategory::SystemTarball, image, file("system.tar.xz"))
}

fn data(more: Value) -> Value {
    let mut data = json!({
        "input": {"source_artifact": 12, "binary_artifacts": [20, 21], "context_artifacts": [30]},
        "build_architecture": "amd64", "environment": 3,
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    data
}

fn dynamic() -> Value {
    json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": [20, 21],
        "input_context_artifacts_ids": [30], "extra_repositories": null, "subject": "tiny"})
}

async fn test(world: &World, data: &Value) -> Outcome {
    run("autopkgtest", data, Some(&dynamic()), &world.surroundings(), &host(world)).await
}

/// A world whose autopkgtest knows all options, notes its arguments, writes a summary and ends with `code`.
fn world(summary: &str, code: i32) -> World {
    world_with(&format!("mkdir artifact-dir; printf '{summary}' > artifact-dir/summary; exit {code}"))
}

fn world_with(script: &str) -> World {
    let world = World::new();
    let argv = world.root.path().join("argv");
    let tool = format!(
        "[ \"$*\" = --help ] && echo '  --timeout TIMEOUT  Global timeout' && exit 20\nprintf '%s\\n' \"$@\" > {}\n{script}",
        argv.display()
    );
    world.tool("autopkgtest", &tool);
    world
}

fn arguments(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.root.path().join("argv")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn test_results_become_an_artifact() {
    let script = "echo fine; echo framework >&2; mkdir -p artifact-dir/binaries artifact-dir/artifacts/binaries; cd artifact-dir
        printf 'good PASS (superficial)\\nother PASS\\n' > summary; echo all > log; echo fine > good-stdout; echo '{}' > testinfo.json
        touch binaries/tiny.deb artifacts/binaries/x artifacts/shot.png good-packages \"$(printf 'artifacts/new\\nline')\"
        ln -s /etc/passwd artifacts/link; ln -s /etc artifacts/etc";
    let world = world_with(script);
    let host = host(&world);
    let around = world.surroundings();
    let outcome = run("autopkgtest", &data(json!({})), Some(&dynamic()), &around, &host).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", host.log.lock().unwrap());
    let report = of(&outcome, ArtifactCategory::Autopkgtest)[0];
    validate_data(report.category, &report.data).unwrap();
    let mut data = report.data.clone();
    let cmdline = data.as_object_mut().unwrap().remove("cmdline").unwrap();
    assert_eq!(
        data,
        json!({
            "results": {
                "good": {"status": "PASS", "details": "(superficial)"}, "other": {"status": "PASS", "details": null},
            },
            "source_package": {"name": "tiny", "version": "1:1.0",
                "url": "https://d.example/artifact/12/raw/tiny_1.0.dsc"},
            "architecture": "amd64", "distribution": "debian:bullseye",
        })
    );
    assert!(cmdline.as_str().unwrap().starts_with("autopkgtest --apt-upgrade --output-dir=artifact-dir "));
    let files: Vec<_> = report.files.iter().map(|(name, file)| (name.as_str(), file.content_type.as_deref())).collect();
    let text = Some("text/plain; charset=utf-8");
    assert_eq!(
        files,
        [
            ("artifacts/binaries/x", None),
            ("artifacts/shot.png", None),
            ("good-packages", text),
            ("good-stdout", text),
            ("log", text),
            ("summary", text),
            ("testinfo.json", Some("application/json; charset=utf-8")),
        ]
    );
    let left_out = log(&outcome, "post_execution.log").unwrap();
    assert!(left_out.contains("artifacts/new\\nline\" is not uploaded"), "{left_out}");
    assert_eq!(
        relations(&outcome),
        [
            "autopkgtest relates-to 12",
            "autopkgtest relates-to 20",
            "autopkgtest relates-to 21",
            "work-request-debug-logs relates-to 12",
            "work-request-debug-logs relates-to 20",
            "work-request-debug-logs relates-to 21",
            "work-request-debug-logs relates-to 30",
        ]
    );
    assert_eq!(host.text(LogStream::Stdout), "fine\nframework\n");
    let words = arguments(&world);
    let targets: Vec<_> = words.iter().filter_map(|word| word.rsplit_once('/')).map(|(_, name)| name).collect();
    let expected = ["a_2_all.deb", "tiny-doc_1.0_all.deb", "tiny_1.0_amd64.deb", "tiny_1.0.dsc", "system.tar.xz"];
    assert_eq!(targets[targets.len() - 5..], expected);
    let image = world.root.path().join("system.tar.xz").display().to_string();
    let server = ["--", "unshare", "--arch", "amd64", "--release", "bullseye", "--tarball", &image];
    assert_eq!(words[words.len() - 8..], server);
    assert!(words.contains(&"--copy=/etc/resolv.conf:/etc/resolv.conf".to_owned()));
}

#[tokio::test]
async fn extra_repositories_are_copied_into_the_test_bed() {
    let world = world("a PASS\\n", 0);
    let repository = |architectures: Value| {
        json!({"url": "https://deb.example.org/", "suite": "sid", "components": ["main"], "signing_key": "KEY",
            "architectures": architectures})
    };
    let mut dynamic = dynamic();
    dynamic["extra_repositories"] = json!([repository(json!(["arm64"])), repository(json!(null))]);
    let around = world.surroundings();
    let outcome = run("autopkgtest", &data(json!({})), Some(&dynamic), &around, &host(&world)).await;
    assert_eq!(outcome.result, Some(Results::Success));
    let copied: Vec<_> = arguments(&world)
        .into_iter()
        .filter_map(|word| Some(word.strip_prefix("--copy=")?.split_once(':')?.1.to_owned()))
        .collect();
    let (source, key) = ("/etc/apt/sources.list.d/extra_repository_0.sources", "/etc/apt/keyrings/extra_apt_key_0.asc");
    assert_eq!(copied, [source, key, "/etc/resolv.conf"]);
}

#[tokio::test]
async fn verdicts_by_exit_code_and_summary() {
    let strict = json!({"fail_on": {"failed_test": true, "flaky_test": true, "skipped_test": true}});
    let lax = json!({"fail_on": {"failed_test": false}});
    for (summary, code, more, expected) in [
        ("a PASS\\nb FAIL non-zero exit status 1\\n", 4, json!({}), Results::Failure),
        ("a PASS\\nb FAIL non-zero exit status 1\\n", 4, lax, Results::Success),
        ("a PASS\\nb FLAKY x\\n", 2, json!({}), Results::Success),
        ("a PASS\\nb FLAKY x\\n", 2, strict.clone(), Results::Failure),
        ("a SKIP x\\n", 8, json!({}), Results::Skipped),
        ("a SKIP x\\n", 8, strict, Results::Failure),
        ("a FAIL badpkg\\nblame: tiny\\nbadpkg: it has faults\\n", 12, json!({}), Results::Failure),
    ] {
        let world = world(summary, code);
        let outcome = test(&world, &data(more.clone())).await;
        assert_eq!(outcome.result, Some(expected), "{summary} {code} {more}");
        assert_eq!(of(&outcome, ArtifactCategory::Autopkgtest).len(), 1);
        assert_eq!(log(&outcome, "task_result.log"), None);
    }
}

#[tokio::test]
async fn a_temporary_failure_has_a_reason_and_no_report() {
    for (script, reason) in [
        ("exit 16", "Could not run tests due to a temporary testbed failure\n"),
        (
            "mkdir artifact-dir; echo 'quitting: x' > artifact-dir/summary; exit 20",
            "Unexpected autopkgtest exit code 20\n",
        ),
        ("kill -9 $$", "Unexpected autopkgtest exit code -9\n"),
    ] {
        let world = world_with(script);
        let outcome = test(&world, &data(json!({}))).await;
        assert_eq!(outcome.result, Some(Results::TemporaryFailure), "{script}");
        assert_eq!(log(&outcome, "task_result.log").unwrap(), reason);
        assert_eq!(log(&outcome, "consistency.log"), None);
        assert!(of(&outcome, ArtifactCategory::Autopkgtest).is_empty());
    }
}

#[tokio::test]
async fn a_summary_that_is_missing_or_strange_is_a_failure() {
    let world = world_with("mkdir artifact-dir");
    let outcome = test(&world, &data(json!({}))).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert_eq!(log(&outcome, "consistency.log").unwrap(), "'artifact-dir/summary' does not exist\n");
    assert!(of(&outcome, ArtifactCategory::Autopkgtest).is_empty());
    for (script, expected) in [
        ("mkdir artifact-dir; echo a BROKEN > artifact-dir/summary", "Failed to parse line of the summary: a BROKEN"),
        ("mkdir artifact-dir; ln -s /etc/hostname artifact-dir/summary", "artifact-dir/summary is not a regular file"),
        ("mkdir artifact-dir; truncate -s 5M artifact-dir/summary", "has more than 4194304 bytes"),
    ] {
        let world = world_with(script);
        let outcome = test(&world, &data(json!({}))).await;
        assert_eq!(outcome.result, Some(Results::Failure), "{script}");
        let text = log(&outcome, "execution.log").unwrap();
        assert!(text.contains(expected), "{text}");
        assert!(of(&outcome, ArtifactCategory::Autopkgtest).is_empty());
    }
}

#[tokio::test]
async fn a_global_timeout_that_cannot_be_honoured_is_said() {
    let limit = data(json!({"timeout": {"global": 600, "test": 60}}));
    let new = world("a PASS\\n", 0);
    let outcome = test(&new, &limit).await;
    assert_eq!(outcome.result, Some(Results::Success));
    assert!(arguments(&new).contains(&"--timeout=600".to_owned()));
    assert_eq!(log(&outcome, "configure_for_execution.log"), None);

    let old = World::new();
    let script = "case $1 in --help) echo '  --timeout-test T  x'; exit 20;; esac
        case \"$*\" in *--timeout=*) exit 20;; *--timeout-test=60*) mkdir artifact-dir; echo a PASS > artifact-dir/summary;; esac";
    old.tool("autopkgtest", script);
    let host = host(&old);
    let outcome = run("autopkgtest", &limit, Some(&dynamic()), &old.surroundings(), &host).await;
    assert_eq!(outcome.result, Some(Results::Success));
    let expected = "timeout.global (600 s) is not honoured";
    assert!(log(&outcome, "configure_for_execution.log").unwrap().starts_with(expected));
    assert!(host.text(LogStream::Internal).contains(expected));
}

#[tokio::test]
async fn inputs_that_do_not_fit() {
    let world = world("a PASS\\n", 0);
    let image = vec![world.file("image.qcow2", "")];
    let build_log = (ArtifactCategory::PackageBuildLog, json!({}), vec![world.file("x.build", "")]);
    let no_dsc = (ArtifactCategory::Upload, json!({}), vec![world.file("x.changes", "")]);
    let broken = (ArtifactCategory::SourcePackage, json!({}), vec![world.file("broken.dsc", "nothing")]);
    let tarball = (ArtifactCategory::SystemImage, json!({}), image);
    let unfit = "points to a debian:package-build-log, not the expected";
    for (id, (category, artifact, files), file, expected) in [
        (12, build_log.clone(), "fetch_input.log", format!("input.source_artifact {unfit} debian:source-package or")),
        (
            21,
            build_log.clone(),
            "fetch_input.log",
            format!("input.binary_artifacts[1] {unfit} debian:binary-package or"),
        ),
        (30, build_log, "fetch_input.log", format!("input.context_artifacts[0] {unfit}")),
        (3, tarball, "fetch_input.log", "Unexpected artifact type debian:system-image".into()),
        (12, no_dsc, "configure_for_execution.log", "input.source_artifact has no .dsc file".into()),
        (12, broken, "configure_for_execution.log", "'broken.dsc' is not a control file".into()),
    ] {
        let host = host(&world).with(id, category, artifact, files);
        let around = world.surroundings();
        let outcome = run("autopkgtest", &data(json!({})), Some(&dynamic()), &around, &host).await;
        assert_eq!(outcome.result, Some(Results::Failure), "{expected}");
        let text = log(&outcome, file).unwrap();
        assert!(text.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn an_upload_may_be_source_and_binary_package_at_once() {
    let world = world("a PASS\\n", 0);
    let files = vec![world.file("tiny_1.0.dsc", DSC), world.file("tiny_1.0_amd64.deb", "")];
    let host = host(&world).with(12, ArtifactCategory::Upload, json!({}), files);
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": [12]});
    let outcome = run("autopkgtest", &data(json!({})), Some(&dynamic), &world.surroundings(), &host).await;
    assert_eq!(outcome.result, Some(Results::Success));
    assert_eq!(relations(&outcome), ["autopkgtest relates-to 12", "work-request-debug-logs relates-to 12"]);
}
