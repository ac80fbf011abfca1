//! Runs inside instances of a fake Incus, which runs the commands here.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::{Results, TaskType};
use usine_tasks::{Outcome, Surroundings, execute};

use crate::support::{DirHost, log, of};
use crate::world::World;

const LOG: &str = "hello_2.10-3_amd64.build";

const FAKE_INCUS: &str = r#"
printf %s "$*" | tr "\n" " " >> "$0.calls"; echo >> "$0.calls"
PATH="$(dirname "$0"):$PATH"
export PATH
case "$1" in
    image)
        [ "$2" = info ] && { [ -e "$0.image" ]; exit; }
        tar -tf "$3" > "$0.members" && touch "$0.image" ;;
    info)
        # The first name is taken.
        [ ! -e "$0.asked" ] && touch "$0.asked" ;;
    exec)
        while [ "$1" != -- ]; do shift; done
        shift
        [ "$1" = /sbin/runuser ] && shift 4
        case "$1 $2" in
            "systemctl is-system-running")
                if [ -e "$0.booted" ]; then echo degraded; exit 1; fi
                touch "$0.booted"; echo starting; exit 1 ;;
            "systemctl start") exit 1 ;;
            "tar --extract") exec cat > /dev/null ;;
        esac
        exec "$@" ;;
esac"#;

fn world(init: &str, blhc: &str) -> World {
    let world = World::new();
    world.instance().tool("incus", FAKE_INCUS).tool("dpkg-query", "echo 0.13-5").tool("blhc", blhc);
    let script = r#"mkdir -p system/usr/sbin && touch "system/usr/sbin/$1" && tar -C system -cJf system.tar.xz ."#;
    let packed = Command::new("sh").args(["-c", script, "pack", init]).current_dir(world.root.path()).status().unwrap();
    assert!(packed.success());
    world
}

fn host(world: &World) -> DirHost {
    let system = json!({"codename": "bookworm", "vendor": "debian", "architecture": "amd64"});
    let image = world.root.path().join("system.tar.xz");
    let log = world.file(LOG, "gcc -c hello.c\n");
    DirHost::new().with(12, ArtifactCategory::PackageBuildLog, log_data(), vec![log]).with(
        3,
        ArtifactCategory::SystemTarball,
        system,
        vec![image],
    )
}

fn log_data() -> Value {
    json!({"source": "hello", "version": "2.10-3", "architecture": "amd64", "filename": LOG, "bd_uninstallable": null})
}

async fn blhc(backend: &str, around: &Surroundings, host: &DirHost) -> Outcome {
    let data = json!({"input": {"artifact": 12}, "build_architecture": "amd64", "environment": 3, "backend": backend});
    let dynamic = json!({"environment_id": 3, "input_artifact_id": 12, "input_artifact_data": log_data()});
    let outcome = execute(TaskType::Worker, "blhc", &data, Some(&dynamic), around, host).await;
    let left = std::fs::read_dir(&around.directory).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("incus")).collect();
    assert!(left.is_empty(), "{left:?} is left");
    outcome
}

/// What was asked of Incus, in short, and the name of the instance.
fn asked(world: &World) -> (Vec<String>, String) {
    let calls = world.calls("incus");
    let launch = calls.iter().find(|call| call.starts_with("launch "));
    let name = launch.map(|call| call.rsplit(' ').next().unwrap().to_owned()).unwrap_or_default();
    let short = calls.iter().filter_map(|call| {
        let (client, command) = call.split_once(" -- ").unwrap_or((call, ""));
        let command = command.trim_start_matches("/sbin/runuser -u _debusine -- ");
        let verb = client.split(' ').take(2).collect::<Vec<_>>().join(" ");
        match client.starts_with("exec") {
            true => Some(format!("exec {}", command.split(' ').next()?)),
            false => Some(verb),
        }
    });
    (short.collect(), name)
}

#[tokio::test]
async fn an_instance_is_made_used_and_removed() {
    let world = world("init", "echo all is well");
    let (around, host) = (world.surroundings(), host(&world));
    let outcome = blhc("incus-lxc", &around, &host).await;
    assert_eq!(outcome.result, Some(Results::Success));
    assert_eq!(of(&outcome, ArtifactCategory::Blhc).len(), 1);
    let (calls, name) = asked(&world);
    let expected = "image info, image import, info debusine, info debusine, launch --ephemeral, exec systemctl, exec systemctl, \
         exec systemctl, exec apt-get, exec apt-get, exec dpkg-query, exec sh, exec sh, exec sh, exec tar, exec sh, exec blhc, \
         delete --force";
    let calls: Vec<String> = calls
        .into_iter()
        .map(|call| if call.starts_with("info debusine-") { "info debusine".into() } else { call })
        .collect();
    assert_eq!(calls.join(", "), expected);
    let calls = world.calls("incus");
    assert!(calls[1].ends_with("/incus.tar --alias artifact/3"), "{}", calls[1]);
    assert!(calls[2] != calls[3] && calls[3] == format!("info {name}"), "a taken name is not used: {calls:?}");
    assert_eq!(calls[4], format!("launch --ephemeral --profile debusine artifact/3 {name}"));
    assert_eq!(*calls.last().unwrap(), format!("delete --force {name}"));
    let members = std::fs::read_to_string(world.root.path().join("bin/incus.members")).unwrap();
    assert!(members.contains("metadata.yaml\n") && members.contains("rootfs/usr/sbin/init\n"), "{members}");

    // Incus has the image now.
    blhc("incus-lxc", &world.surroundings(), &host).await;
    assert_eq!(world.calls("incus").iter().filter(|call| call.starts_with("image import")).count(), 1);
}

#[tokio::test]
async fn an_instance_is_removed_after_a_failure() {
    let world = world("init", "echo 'CFLAGS missing'; exit 8");
    assert_eq!(blhc("incus-lxc", &world.surroundings(), &host(&world)).await.result, Some(Results::Failure));
    let (_, name) = asked(&world);
    assert_eq!(*world.calls("incus").last().unwrap(), format!("delete --force {name}"));

    world.tool("apt-get", "echo 'E: Unable to locate package blhc' >&2; exit 100");
    let outcome = blhc("incus-lxc", &world.surroundings(), &host(&world)).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(log(&outcome, "configure_for_execution.log").unwrap().contains("Unable to locate package blhc"));
    let calls = world.calls("incus");
    assert_eq!(calls.iter().filter(|call| call.starts_with("launch")).count(), 2);
    assert_eq!(calls.iter().filter(|call| call.starts_with("delete --force debusine-")).count(), 2);
}

#[tokio::test]
async fn an_instance_is_removed_when_the_run_is_cancelled() {
    let world = world("init", "sleep 60");
    let (around, host) = (world.surroundings(), host(&world));
    let cancel = async {
        while !world.calls("incus").iter().any(|call| call.contains("-- blhc")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        around.cancel.cancel();
    };
    let limit = Duration::from_secs(60);
    let (outcome, ()) =
        tokio::time::timeout(limit, async { tokio::join!(blhc("incus-lxc", &around, &host), cancel) }).await.unwrap();
    assert_eq!(outcome.result, None);
    let (_, name) = asked(&world);
    assert_eq!(*world.calls("incus").last().unwrap(), format!("delete --force {name}"));
}

#[tokio::test]
async fn an_environment_that_cannot_boot_is_not_launched() {
    let world = world("no-init", "");
    let outcome = blhc("incus-lxc", &world.surroundings(), &host(&world)).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert!(text.contains("Image doesn't contain an init, not bootable in LXC"), "{text}");
    assert_eq!(world.calls("incus"), ["image info artifact/3"]);

    let outcome = blhc("incus-vm", &world.surroundings(), &host(&world)).await;
    let text = log(&outcome, "configure_for_execution.log").unwrap();
    assert!(text.contains("Unexpected artifact type debian:system-tarball; expected debian:system-image"), "{text}");
}
