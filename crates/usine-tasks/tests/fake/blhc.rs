//! Runs of blhc.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::policy::ResourceLimits;
use usine_model::work_request::Results;
use usine_tasks::{Outcome, Surroundings};

use crate::support::{DirHost, log, of, relations};
use crate::world::{World, run};

const LOG: &str = "hello_2.10-3_amd64.build";

fn log_data() -> Value {
    json!({"source": "hello", "version": "2.10-3", "architecture": "amd64", "filename": LOG, "bd_uninstallable": null})
}

async fn blhc(world: &World, log_name: &str, flags: Value) -> Outcome {
    blhc_around(world, &world.surroundings(), log_name, flags).await
}

async fn blhc_around(world: &World, around: &Surroundings, log_name: &str, flags: Value) -> Outcome {
    let (log, image) = (world.file(log_name, "gcc -c hello.c\n"), world.file("system.tar.xz", ""));
    let host = DirHost::new().with(12, ArtifactCategory::PackageBuildLog, log_data(), vec![log]).with(
        3,
        ArtifactCategory::SystemTarball,
        json!({"codename": "bookworm"}),
        vec![image],
    );
    let data =
        json!({"input": {"artifact": 12}, "build_architecture": "amd64", "environment": 3, "extra_flags": flags});
    let dynamic = json!({"environment_id": 3, "input_artifact_id": 12, "input_artifact_data": log_data()});
    run("blhc", &data, Some(&dynamic), around, &host).await
}

fn world(version: &str, exit: i32) -> World {
    let world = World::new();
    world.instance().tool("dpkg-query", &format!("echo {version}"));
    world.tool("blhc", &format!("echo \"$@\" >> \"$0.calls\"; echo 'CFLAGS missing'; exit {exit}"));
    world
}

#[tokio::test]
async fn missing_flags_are_a_failure_and_the_report_is_kept() {
    for (exit, result) in [(0, Results::Success), (1, Results::Success), (8, Results::Failure), (33, Results::Failure)]
    {
        let world = world("0.13-5", exit);
        let outcome = blhc(&world, LOG, json!(["--all", "--debian"])).await;
        assert_eq!(outcome.result, Some(result), "{exit}");
        let report = of(&outcome, ArtifactCategory::Blhc)[0];
        validate_data(report.category, &report.data).unwrap();
        assert_eq!(report.data, json!({"source": "hello", "version": "2.10-3", "architecture": "amd64"}));
        let file = report.files.iter().next().unwrap();
        assert_eq!(file.0.as_str(), "blhc.txt");
        assert_eq!(std::fs::read_to_string(&file.1.path).unwrap(), "CFLAGS missing\n");
        assert_eq!(relations(&outcome), ["blhc relates-to 12", "work-request-debug-logs relates-to 12"]);
        let calls = world.calls("blhc");
        assert!(calls[0].starts_with("--debian --all /") && calls[0].ends_with(LOG), "{calls:?}");
        let commands = log(&outcome, "cmd-output.log").unwrap();
        assert!(commands.starts_with("cmd: blhc --debian --all /"), "{commands}");
        assert!(
            commands.contains(&format!("returncode: {exit}\n")) && commands.contains("CFLAGS missing"),
            "{commands}"
        );
        let installed = log(&outcome, "install.log").unwrap();
        assert!(installed.contains("Executing: apt-get --yes install blhc\nExecution completed (exit code 0)\n"));
    }
}

#[tokio::test]
async fn an_old_blhc_does_not_know_debian() {
    let world = world("0.07-1", 0);
    assert_eq!(blhc(&world, LOG, json!([])).await.result, Some(Results::Success));
    assert!(world.calls("blhc")[0].starts_with('/'));
}

#[tokio::test]
async fn what_is_not_there_ends_in_a_failure_that_says_so() {
    let world = world("0.13-5", 0);
    let outcome = blhc(&world, "hello.log", json!([])).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert_eq!(text, "No *.build files to be analyzed. Files: [\"hello.log\"]\n");

    world.tool("apt-get", "echo 'E: Unable to locate package blhc' >&2; exit 100");
    let outcome = blhc(&world, LOG, json!([])).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(log(&outcome, "configure_for_execution.log").unwrap().contains("E: Unable to locate package blhc"));
    assert!(of(&outcome, ArtifactCategory::Blhc).is_empty());
}

#[tokio::test]
async fn an_installation_ends_with_its_run() {
    let world = world("0.13-5", 0);
    world.tool("apt-get", "touch \"$0.began\"; sleep 60 & wait");
    let around = world.surroundings();
    let (cancel, began) = (around.cancel.clone(), world.root.path().join("bin/apt-get.began"));
    tokio::spawn(async move {
        while !began.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
    });
    let start = Instant::now();
    assert_eq!(blhc_around(&world, &around, LOG, json!([])).await.result, None);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn an_installation_keeps_the_limits() {
    let world = world("0.13-5", 0);
    world.tool("apt-get", "head -c 300M /dev/zero > \"$0.large\"; sleep 60");
    let mut around = world.surroundings();
    around.resources.limits = ResourceLimits { disk: Some(50 << 20), ..ResourceLimits::default() };
    let outcome = blhc_around(&world, &around, LOG, json!([])).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert_eq!(outcome.output_data.errors.as_ref().unwrap()[0].code, "disk-limit-exceeded");
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert!(text.contains("disk"), "{text}");
}
