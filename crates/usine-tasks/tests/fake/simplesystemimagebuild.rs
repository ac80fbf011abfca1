//! Runs of simplesystemimagebuild.

use std::fs;

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, validate_data};
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::support::{DirHost, log, of};
use crate::world::{World, run};

/// Leaves what the hooks would leave, and notes its arguments and what the overlay is.
const FAKE: &str = r#"
for argument; do last=$argument; printf '%s\n' "$argument"; done > "$0.argv"
for argument; do case "$argument" in
    *"=upload "*/overlay/*) set -- $argument; printf '%s %s %s\n' "$3" "$(head -n 1 "$2")" "$(sh -n "$2" 2>&1 | wc -l)" ;;
esac; done > "$0.overlay"
cp "$last" "$0.sources"
printf 'ID=debian\nVERSION_CODENAME=bookworm\n' > os-release
mkdir dpkg; printf 'Package: hello\n' > dpkg/status; tar -cf var_lib_dpkg.tar dpkg; rm -r dpkg
echo image > system.img
exit EXIT"#;

fn world(exit: i32) -> World {
    let world = World::new();
    world.tool("debefivm-create", &FAKE.replace("EXIT", &exit.to_string()));
    world.tool("dpkg-query", r#"grep -q '^Package: hello$' "${1#--admindir=}/status" && printf 'hello\t2.10-3\n'"#);
    world.tool("qemu-img", r#"[ "$1 $2 $3" = "convert -O qcow2" ] && { echo qcow2; cat "$4"; } > "$5""#);
    world
}

async fn build(world: &World, disk_image: Value) -> Outcome {
    let data = json!({
        "bootstrap_options": {"architecture": "amd64", "variant": "minbase"},
        "bootstrap_repositories": [
            {"mirror": "https://d.example/debian", "suite": "bookworm", "components": ["main", "contrib"]}
        ],
        "customization_script": "#!/bin/sh\ntrue\n",
        "disk_image": disk_image,
    });
    run("simplesystemimagebuild", &data, None, &world.surroundings(), &DirHost::new()).await
}

fn disk(format: &str) -> Value {
    json!({"format": format, "filename": "bookworm", "partitions": [{"size": 4, "filesystem": "ext4"}]})
}

#[tokio::test]
async fn an_image_becomes_an_artifact() {
    let world = world(0);
    let outcome = build(&world, disk("qcow2")).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", log(&outcome, "cmd-output.log"));
    let image = of(&outcome, ArtifactCategory::SystemImage)[0];
    validate_data(image.category, &image.data).unwrap();
    assert_eq!(
        image.data,
        json!({"filename": "bookworm.qcow2", "vendor": "debian", "codename": "bookworm",
            "mirror": "https://d.example/debian", "components": ["main", "contrib"], "variant": "minbase",
            "pkglist": {"hello": "2.10-3"}, "architecture": "amd64", "with_dev": true, "with_init": true,
            "image_format": "qcow2", "filesystem": "ext4", "size": 4_000_000_000_u64, "boot_mechanism": "efi"})
    );
    let (name, file) = image.files.iter().next().unwrap();
    assert_eq!((name.as_str(), image.files.len()), ("bookworm.qcow2", 1));
    assert_eq!(fs::read_to_string(&file.path).unwrap(), "qcow2\nimage\n");
    assert!(outcome.relations.is_empty());

    let noted = |what| fs::read_to_string(world.root.path().join(format!("bin/debefivm-create.{what}"))).unwrap();
    let argv = noted("argv");
    assert!(argv.starts_with("--architecture=amd64\n--release=bookworm\n--rootsize=4G\n--output=system.img\n--\n"));
    assert!(argv.contains("\n--include=linux-image-generic\n/") && argv.ends_with("/host.sources\n"), "{argv}");
    assert_eq!(noted("sources"), log(&outcome, "host.sources").unwrap());
    assert!(log(&outcome, "chroot.sources").unwrap().contains("Components: main contrib\n"));
    let overlay: Vec<_> = noted("overlay").lines().map(str::to_owned).collect();
    let script = |path: &str| format!("{path} #!/bin/sh 0");
    assert_eq!(overlay.len(), 5);
    assert_eq!(overlay[1], script("/lib/systemd/incus-agent-setup"));
    assert_eq!(overlay[3], script("/etc/kernel/postinst.d/zz-update-systemd-boot"));
    assert_eq!(overlay[4], script("/etc/kernel/postrm.d/zz-update-systemd-boot"));
    let log = log(&outcome, "cmd-output.log").unwrap();
    assert_eq!(log.matches("cmd: ").count(), 2);
}

#[tokio::test]
async fn a_raw_image_is_packed() {
    let world = world(0);
    let outcome = build(&world, disk("raw")).await;
    assert_eq!(outcome.result, Some(Results::Success), "{:?}", log(&outcome, "cmd-output.log"));
    let image = of(&outcome, ArtifactCategory::SystemImage)[0];
    validate_data(image.category, &image.data).unwrap();
    assert_eq!((&image.data["image_format"], &image.data["filename"]), (&json!("raw"), &json!("bookworm.tar.xz")));
    let file = &image.files.values().next().unwrap().path;
    let listed = std::process::Command::new("tar").arg("-tJf").arg(file).output().unwrap();
    assert_eq!(listed.stdout, b"system.img\n");
}

#[tokio::test]
async fn failures_make_no_image() {
    let failed = world(2);
    let outcome = build(&failed, disk("qcow2")).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(of(&outcome, ArtifactCategory::SystemImage).is_empty());
    assert!(!log(&outcome, "cmd-output.log").unwrap().contains("qemu-img"));

    let unconverted = world(0);
    unconverted.tool("qemu-img", "echo 'no space left'; exit 1");
    let outcome = build(&unconverted, disk("qcow2")).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(of(&outcome, ArtifactCategory::SystemImage).is_empty());
    assert!(log(&outcome, "cmd-output.log").unwrap().contains("no space left"));
}
