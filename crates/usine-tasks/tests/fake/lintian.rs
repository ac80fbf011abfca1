//! Runs of lintian.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::Results;
use usine_tasks::{NewArtifact, Outcome};

use crate::support::{DirHost, log, of, relations};
use crate::world::{World, run};

/// The output of lintian 2.116.3 on a package made to be bad, abridged.
const SAMPLE: &str = include_str!("../samples/lintian-nasty.txt");

/// A worker whose lintian prints `output`.
fn world(output: &str, exit: i32) -> World {
    let world = World::new();
    let output = world.file("lintian-output", output);
    world.instance().tool(
        "lintian",
        &format!(
            "[ \"$1\" = --print-version ] && {{ echo 2.116.3; exit; }}\necho \"$@\" >> \"$0.calls\"; cat {}; exit {exit}",
            output.display()
        ),
    );
    world
}

/// A real binary package.
fn deb(world: &World, name: &str, architecture: &str, suffix: &str) -> PathBuf {
    let tree = world.root.path().join(format!("{name}-tree"));
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: {architecture}\nMaintainer: T <t@example.org>\nDescription: x\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file = world.root.path().join(format!("{name}_1.0_{architecture}.{suffix}"));
    let built = Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(tree).arg(&file).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    file
}

/// The source package 12, the binary package 20, an upload 21 with two binary packages, the environment 3.
fn host(world: &World) -> DirHost {
    let dsc = world.file("nasty_1.0.dsc", "Format: 3.0 (native)\nSource: nasty\nBinary: nasty\nVersion: 1.0\n");
    let changes = world.file("nasty_1.0_amd64.changes", "Source: nasty\nVersion: 1.0\n");
    let upload = vec![changes, deb(world, "nasty", "amd64", "deb"), deb(world, "nasty-udeb", "amd64", "udeb")];
    DirHost::new()
        .with(12, ArtifactCategory::SourcePackage, json!({"name": "nasty", "version": "1.0"}), vec![dsc])
        .with(20, ArtifactCategory::BinaryPackage, json!({}), vec![deb(world, "nasty-doc", "all", "deb")])
        .with(21, ArtifactCategory::Upload, json!({}), upload)
        .with(22, ArtifactCategory::Upload, json!({}), vec![world.file("other_1.buildinfo", "")])
        .with(
            3,
            ArtifactCategory::SystemTarball,
            json!({"codename": "bookworm"}),
            vec![world.file("system.tar.xz", "")],
        )
}

/// Runs with further task data.
async fn lintian(world: &World, further: Value) -> Outcome {
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": [20, 21]});
    lintian_of(world, dynamic, further).await
}

async fn lintian_of(world: &World, dynamic: Value, further: Value) -> Outcome {
    let mut data = json!({"input": {"source_artifact": 12, "binary_artifacts": [20, 21]}, "environment": 3});
    data.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    run("lintian", &data, Some(&dynamic), &world.surroundings(), &host(world)).await
}

fn text(artifact: &NewArtifact, name: &str) -> String {
    let (_, file) = artifact.files.iter().find(|(path, _)| path.as_str() == name).unwrap();
    fs::read_to_string(&file.path).unwrap()
}

fn architectures(outcome: &Outcome) -> Vec<&str> {
    of(outcome, ArtifactCategory::Lintian).iter().map(|made| made.data["architecture"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_architecture_has_a_report() {
    let world = world(SAMPLE, 2);
    let outcome = lintian(&world, json!({"include_tags": ["a", "b"], "target_distribution": "kali:rolling"})).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{:?}", log(&outcome, "execution.log"));
    assert_eq!(architectures(&outcome), ["all", "amd64", "source"]);
    let mut count = 0;
    for report in of(&outcome, ArtifactCategory::Lintian) {
        validate_data(report.category, &report.data).unwrap();
        let files: Vec<_> = report.files.iter().map(|(path, f)| (path.as_str(), f.content_type.as_deref())).collect();
        assert_eq!(
            files,
            [
                ("analysis.json", Some("application/json; charset=utf-8")),
                ("lintian.txt", Some("text/plain; charset=utf-8"))
            ]
        );
        assert_eq!(text(report, "lintian.txt"), SAMPLE);
        let analysis: Value = serde_json::from_str(&text(report, "analysis.json")).unwrap();
        assert_eq!(analysis["version"], 1);
        assert_eq!(analysis["summary"], report.data["summary"]);
        assert_eq!(analysis["summary"]["lintian_version"], "2.116.3");
        assert_eq!(analysis["summary"]["distribution"], "kali:rolling");
        count += analysis["tags"].as_array().unwrap().len();
    }
    let lines = SAMPLE.lines().filter(|line| !line.starts_with(['N', 'M'])).count();
    assert_eq!(count, lines);
    let amd64 = &of(&outcome, ArtifactCategory::Lintian)[1].data["summary"];
    assert_eq!(
        amd64["package_filename"],
        json!({"nasty": "nasty_1.0_amd64.deb", "nasty-udeb": "nasty-udeb_1.0_amd64.udeb"})
    );
    assert_eq!(amd64["overridden_tags_found"], json!(["no-copyright-file"]));

    let related: Vec<String> = ["lintian", "lintian", "lintian", "work-request-debug-logs"]
        .iter()
        .flat_map(|from| [12, 20, 21].map(|id| format!("{from} relates-to {id}")))
        .collect();
    assert_eq!(relations(&outcome), related);
    let calls = world.calls("lintian");
    let common =
        "--no-cfg --display-level >=classification --display-experimental --info --show-overrides --tags=a,b /";
    assert!(calls[0].starts_with(common), "{calls:?}");
    let names: Vec<_> = calls[0].split(' ').filter_map(|word| word.rsplit_once('/')).map(|(_, name)| name).collect();
    assert_eq!(names, ["nasty_1.0.dsc", "nasty-doc_1.0_all.deb", "nasty-udeb_1.0_amd64.udeb", "nasty_1.0_amd64.deb"]);
    let commands = log(&outcome, "cmd-output.log").unwrap();
    assert!(commands.starts_with("cmd: lintian --no-cfg --display-level '>=classification' "), "{commands}");
    let installed = log(&outcome, "install.log").unwrap();
    assert!(installed.contains("Executing: apt-get --yes install lintian\nExecution completed (exit code 0)\n"));
}

#[tokio::test]
async fn verdicts() {
    let (warning, error) = ("N:\nW: nasty source: w\n", "N:\nE: nasty-doc: e\nN:\nI: nasty: i\n");
    for (output, exit, further, result) in [
        ("", 0, json!({}), Results::Success),
        (warning, 0, json!({}), Results::Success),
        (warning, 0, json!({"fail_on_severity": "warning"}), Results::Failure),
        (warning, 2, json!({"fail_on_severity": "warning"}), Results::Failure),
        (error, 2, json!({}), Results::Failure),
        (error, 2, json!({"fail_on_severity": "none"}), Results::Success),
        (error, 2, json!({"output": {"binary_all_analysis": false}}), Results::Success),
        (error, 2, json!({"output": {"binary_all_analysis": false}, "fail_on_severity": "info"}), Results::Failure),
        (
            error,
            2,
            json!({"output": {"binary_all_analysis": false, "binary_any_analysis": false}, "fail_on_severity": "info"}),
            Results::Success,
        ),
        // It is not known what lintian would have found.
        (error, 1, json!({"fail_on_severity": "none"}), Results::Error),
        ("", 25, json!({}), Results::Error),
    ] {
        let world = world(output, exit);
        let outcome = lintian(&world, further.clone()).await;
        assert_eq!(outcome.result, Some(result), "{output:?} {exit} {further}");
        assert_eq!(of(&outcome, ArtifactCategory::Lintian).is_empty(), result == Results::Error);
        for report in of(&outcome, ArtifactCategory::Lintian) {
            validate_data(report.category, &report.data).unwrap();
        }
    }
}

#[tokio::test]
async fn only_what_is_wanted_is_reported() {
    let world = world(SAMPLE, 2);
    let outcome = lintian(&world, json!({"output": {"binary_all_analysis": false, "binary_any_analysis": "no"}})).await;
    assert_eq!((outcome.result, architectures(&outcome)), (Some(Results::Success), vec!["source"]));
    let nothing = json!({"source_analysis": false, "binary_all_analysis": false, "binary_any_analysis": false});
    let outcome = lintian(&world, json!({"output": nothing})).await;
    assert_eq!((outcome.result, outcome.artifacts.len()), (Some(Results::Success), 1));
}

#[tokio::test]
async fn what_lintian_should_not_say_is_not_passed_over() {
    for (output, expected) in [
        ("E: nasty: e\nlintian: something\n", "Failed to parse line: lintian: something"),
        ("E: other: e\n", "lintian found e in other, which is not among the packages that it was given"),
        ("E: nasty-doc source: e\n", "lintian found e in nasty-doc, which is not among"),
    ] {
        let world = world(output, 0);
        let outcome = lintian(&world, json!({})).await;
        assert_eq!(outcome.result, Some(Results::Failure));
        let text = log(&outcome, "execution.log").unwrap();
        assert!(text.contains(expected), "{text}");
        assert!(of(&outcome, ArtifactCategory::Lintian).is_empty());
    }
}

#[tokio::test]
async fn what_is_not_there_ends_in_a_failure_that_says_so() {
    let world = world("", 0);
    for (dynamic, file, expected) in [
        (
            json!({"environment_id": 3, "input_binary_artifacts_ids": [22]}),
            "configure_for_execution.log",
            "No *.dsc, *.deb or *.udeb to be analyzed. Files: [\"other_1.buildinfo\"]\n",
        ),
        (
            json!({"input_source_artifact_id": 12}),
            "configure_for_execution.log",
            "lintian needs an environment to run in, and the task data name none.\n",
        ),
        (
            json!({"environment_id": 3, "input_source_artifact_id": 20}),
            "fetch_input.log",
            "input.source_artifact points to a debian:binary-package, not the expected debian:source-package or debian:upload.\n",
        ),
        (
            json!({"environment_id": 3, "input_binary_artifacts_ids": [20, 12]}),
            "fetch_input.log",
            "input.binary_artifacts[1] points to a debian:source-package, not the expected debian:binary-package or debian:upload.\n",
        ),
    ] {
        let outcome = lintian_of(&world, dynamic, json!({})).await;
        assert_eq!(outcome.result, Some(Results::Failure));
        assert_eq!(log(&outcome, file).as_deref(), Some(expected));
    }
    world.tool("apt-get", "echo 'E: Unable to locate package lintian' >&2; exit 100");
    let outcome = lintian(&world, json!({})).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(log(&outcome, "configure_for_execution.log").unwrap().contains("E: Unable to locate package lintian"));
    assert!(world.calls("lintian").is_empty());
}

#[tokio::test]
async fn an_architecture_that_is_a_path_goes_nowhere() {
    let world = world("", 0);
    let bad = deb(&world, "bad", "all", "deb");
    let tree = world.root.path().join("bad-tree/DEBIAN/control");
    let control = fs::read_to_string(&tree).unwrap().replace("Architecture: all", "Architecture: ../../x");
    fs::write(&tree, control).unwrap();
    let packed = Command::new("sh")
        .args(["-c", "printf '2.0\\n' > debian-binary && tar -cJf control.tar.xz -C bad-tree/DEBIAN control && tar -cJf data.tar.xz -T /dev/null && rm bad_1.0_all.deb && ar rc bad_1.0_all.deb debian-binary control.tar.xz data.tar.xz"])
        .current_dir(world.root.path())
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let host = host(&world).with(30, ArtifactCategory::BinaryPackage, json!({}), vec![bad]);
    let data = json!({"input": {"binary_artifacts": [30]}, "environment": 3});
    let dynamic = json!({"environment_id": 3, "input_binary_artifacts_ids": [30]});
    let outcome = run("lintian", &data, Some(&dynamic), &world.surroundings(), &host).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert!(text.contains("bad_1.0_all.deb has the architecture \"../../x\""), "{text}");
}
