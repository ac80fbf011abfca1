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
    for tool in ["debefivm-create", "qemu-img", "mkfs.fat", "mcopy", "sfdisk", "systemctl"] {
        let found = ["/usr/bin", "/usr/sbin", "/sbin"].iter().any(|place| Path::new(place).join(tool).exists());
        assert!(found, "this test needs {tool} (apt-get install debvm qemu-utils dosfstools mtools fdisk systemd)");
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
    let file = image.files.values().next().unwrap().path.display().to_string();
    let info: Value = serde_json::from_str(&output(&["qemu-img", "info", "--output=json", &file])).unwrap();
    assert_eq!(info["format"], "qcow2");
    assert!(info["virtual-size"].as_u64().unwrap() > 3 << 30, "{info}");
}
