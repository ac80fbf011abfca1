//! A small image of the real debefivm-create.

use std::path::Path;

use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;

use crate::house::{House, all_logs, architecture, mirror, output};
use crate::support::{DirHost, of};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built() {
    let house = House::new();
    for tool in ["debefivm-create", "qemu-img", "mkfs.fat", "mcopy", "sfdisk", "systemctl", "objcopy"] {
        let found = ["/usr/bin", "/usr/sbin", "/sbin"].iter().any(|place| Path::new(place).join(tool).exists());
        assert!(
            found,
            "this test needs {tool} (apt-get install debvm qemu-utils dosfstools mtools fdisk systemd binutils; debvm from \
             bookworm-backports or later)"
        );
    }
    let data = json!({
        "bootstrap_options": {"architecture": architecture(), "variant": "minbase", "extra_packages": ["python3-minimal"]},
        "bootstrap_repositories": [{"mirror": mirror(), "suite": "bookworm", "components": ["main"]}],
        "disk_image": {"format": "qcow2", "partitions": [{"size": 3, "filesystem": "ext4"}]},
        "customization_script": "#!/bin/sh\necho customized > /etc/customized\n",
    });
    let outcome = house.run("simplesystemimagebuild", &data, Value::Null, &DirHost::new()).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let image = of(&outcome, ArtifactCategory::SystemImage)[0];
    assert_eq!((&image.data["codename"], &image.data["image_format"]), (&json!("bookworm"), &json!("qcow2")));
    assert!(image.data["pkglist"]["python3-minimal"].is_string());
    assert!(image.data["pkglist"].as_object().unwrap().keys().any(|name| name.starts_with("linux-image-")));
    let file = &image.files.values().next().unwrap().path;
    let info = output(&["qemu-img", "info", "--output=json", &file.display().to_string()]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["format"], "qcow2");
    assert!(info["virtual-size"].as_u64().unwrap() > 3 << 30, "{info}");
    // What it was converted from: the root file system comes after 127 MiB of partition table and EFI partition.
    let root = format!("{}?offset={}", file.with_file_name("system.img").display(), 127 << 20);
    let inside = |command: &str| output(&["/sbin/debugfs", "-R", command, &root]);
    assert_eq!(inside("cat /etc/customized"), "customized\n");
    assert!(inside("cat /etc/apt/sources.list.d/file.sources").contains("Suites: bookworm\n"));
    for (path, mode) in [
        ("/usr/lib/systemd/system/incus-agent.service", "0644"),
        ("/usr/lib/systemd/incus-agent-setup", "0755"),
        ("/usr/lib/udev/rules.d/99-incus-agent.rules", "0644"),
        ("/etc/kernel/postinst.d/zz-update-systemd-boot", "0755"),
        ("/etc/kernel/postrm.d/zz-update-systemd-boot", "0755"),
    ] {
        let found = inside(&format!("stat {path}"));
        assert!(found.contains(&format!("Mode:  {mode}")), "{path}: {found}");
    }
}
