//! Task data of simplesystemimagebuild.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;
use usine_model::artifact::ImageFormat;
use usine_model::lookup::LookupSingle;

use crate::bootstrap::{Bootstrap, BootstrapOptions, BootstrapRepository, EMPTY_LIST, check_word};
use crate::task_data::{SingleSchema, TaskDataError, default_task_configuration, natural};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageData {
    pub bootstrap_options: BootstrapOptions<Variant>,
    /// At least one.
    #[schemars(length(min = 1))]
    pub bootstrap_repositories: Vec<BootstrapRepository>,
    /// A program that is run inside the new system, as root.
    #[serde(default)]
    pub customization_script: Option<String>,
    pub disk_image: DiskImage,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

/// Which packages a system begins with (mmdebstrap(1), VARIANTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Variant {
    Buildd,
    Minbase,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiskImage {
    pub format: Format,
    /// Of the image in the artifact, without its suffix.
    #[serde(default = "default_filename")]
    pub filename: String,
    /// Without it, [`DEFAULT_KERNEL`].
    #[serde(default)]
    pub kernel_package: Option<String>,
    /// Accepted and not used, as in the reference.
    #[serde(default)]
    bootloader: Option<String>,
    /// Only the first counts, and it is the root file system.
    #[schemars(length(min = 1))]
    pub partitions: Vec<Partition>,
}

/// What the image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Raw,
    Qcow2,
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Qcow2 => Self::Qcow2,
        }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    /// In GB.
    #[serde(deserialize_with = "natural")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub size: u64,
    /// Such as `ext4`.
    pub filesystem: String,
    #[serde(default = "no_mountpoint")]
    mountpoint: String,
}

/// The kernel of systems that name none: a virtual package that each architecture's kernel provides.
pub(super) const DEFAULT_KERNEL: &str = "linux-image-generic";

/// autopkgtest's own preparation of a test bed: as `customization_script` it is run on the worker, for it is written to
/// be a hook of mmdebstrap, which gets the directory of the new system.
pub(super) const SETUP_TESTBED: &str = "/usr/share/autopkgtest/setup-commands/setup-testbed";

/// A thousand terabytes: more is a mistake.
const MAX_SIZE: u64 = 1_000_000;

fn default_filename() -> String {
    "image".to_owned()
}

fn no_mountpoint() -> String {
    "none".to_owned()
}

impl ImageData {
    /// The part that is common to all bootstraps.
    pub fn bootstrap(&self) -> Bootstrap<'_> {
        let script = self.customization_script.as_deref().filter(|script| *script != SETUP_TESTBED);
        self.bootstrap_options.bootstrap(&self.bootstrap_repositories, script)
    }

    /// Whether the worker's [`SETUP_TESTBED`] customizes the system.
    pub fn is_testbed(&self) -> bool {
        self.customization_script.as_deref() == Some(SETUP_TESTBED)
    }

    /// The root file system.
    pub fn root(&self) -> Option<&Partition> {
        self.disk_image.partitions.first()
    }

    /// Adds to `error` the rules that are broken.
    pub fn check(&self, error: &mut TaskDataError) {
        self.bootstrap().check(error);
        let image = &self.disk_image;
        if image.partitions.is_empty() {
            error.add("disk_image.partitions", EMPTY_LIST);
        }
        for (index, partition) in image.partitions.iter().enumerate() {
            let message = match partition.size {
                0 => "Input should be greater than 0",
                1..=MAX_SIZE => continue,
                _ => "Input should be less than or equal to 1000000",
            };
            error.add(format!("disk_image.partitions[{index}].size"), message);
        }
        if let Some(kernel) = &image.kernel_package {
            check_word("disk_image.kernel_package", kernel, error);
        }
        if !is_plain_name(&image.filename) {
            let message =
                "Value error, must be a plain file name: letters, digits and any of '._+-', the first no sign";
            error.add("disk_image.filename", message);
        }
    }
}

/// It becomes a file in the working directory and a word of a command.
fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
        && name.len() <= 200
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simplesystemimagebuild::SimpleSystemImageBuild;
    use crate::worker_task::read;

    fn changed(change: impl FnOnce(&mut Value)) -> Result<ImageData, TaskDataError> {
        let mut data = json!({
            "bootstrap_options": {"architecture": "amd64"},
            "bootstrap_repositories": [{"mirror": "https://d.example/debian", "suite": "bookworm"}],
            "disk_image": {"format": "raw", "partitions": [{"size": 4, "filesystem": "ext4"}]},
        });
        change(&mut data);
        read::<SimpleSystemImageBuild>(&data)
    }

    fn fault(change: impl FnOnce(&mut Value)) -> String {
        changed(change).unwrap_err().to_string()
    }

    #[test]
    fn minimal_data_have_defaults() {
        let data = changed(|_| {}).unwrap();
        let image = &data.disk_image;
        assert_eq!((image.filename.as_str(), image.kernel_package.as_deref()), ("image", None));
        assert_eq!((data.root().unwrap().size, data.root().unwrap().mountpoint.as_str()), (4, "none"));
        assert_eq!(data.task_configuration, default_task_configuration());
        assert!(!data.is_testbed());
    }

    #[test]
    fn what_is_accepted() {
        let data = changed(|data| {
            data["bootstrap_options"]["variant"] = json!("minbase");
            data["disk_image"] = json!({"format": "qcow2", "filename": "sid-amd64.1", "kernel_package": "linux-image-amd64",
                "bootloader": "systemd-boot", "partitions": [
                    {"size": "10", "filesystem": "ext4", "mountpoint": "/"}, {"size": 1, "filesystem": "vfat"}]});
            data["customization_script"] = json!("#!/bin/sh\n");
        })
        .unwrap();
        assert_eq!(data.root().unwrap().size, 10);
        assert_eq!(data.bootstrap().script, Some("#!/bin/sh\n"));
        let testbed = changed(|data| data["customization_script"] = json!(SETUP_TESTBED)).unwrap();
        assert!(testbed.is_testbed() && testbed.bootstrap().script.is_none());
    }

    #[test]
    fn required_and_unknown_keys() {
        for (pointer, key, path) in [
            ("", "bootstrap_options", "bootstrap_options"),
            ("", "bootstrap_repositories", "bootstrap_repositories"),
            ("", "disk_image", "disk_image"),
            ("/disk_image", "format", "disk_image.format"),
            ("/disk_image", "partitions", "disk_image.partitions"),
            ("/disk_image/partitions/0", "size", "disk_image.partitions[0].size"),
            ("/disk_image/partitions/0", "filesystem", "disk_image.partitions[0].filesystem"),
        ] {
            let text = fault(|data| {
                data.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
            });
            assert_eq!(text, format!("1 validation error: {path}: Field required"));
        }
        for (pointer, path) in
            [("", "x"), ("/disk_image", "disk_image.x"), ("/disk_image/partitions/0", "disk_image.partitions[0].x")]
        {
            let text = fault(|data| data.pointer_mut(pointer).unwrap()["x"] = json!(1));
            assert_eq!(text, format!("1 validation error: {path}: Extra inputs are not permitted"));
        }
    }

    #[test]
    fn bad_values() {
        let image = |key: &str, value: Value| fault(|data| data["disk_image"][key] = value);
        let partition = |key: &str, value: Value| fault(|data| data["disk_image"]["partitions"][0][key] = value);
        assert!(
            fault(|data| data["bootstrap_options"]["variant"] = json!("apt"))
                .contains("bootstrap_options.variant: Input should be 'buildd' or 'minbase'")
        );
        assert!(fault(|data| data["bootstrap_repositories"] = json!([])).contains("at least 1 item"));
        assert!(
            fault(|data| data["bootstrap_repositories"][0]["suite"] = json!("a b"))
                .contains("bootstrap_repositories[0].suite")
        );
        assert!(image("format", json!("vdi")).contains("disk_image.format: Input should be 'raw' or 'qcow2'"));
        assert!(image("partitions", json!([])).contains("disk_image.partitions: List should have at least 1 item"));
        assert!(image("partitions", json!({})).contains("disk_image.partitions: Input should be a valid list"));
        assert!(image("bootloader", json!(1)).contains("disk_image.bootloader: Input should be a valid string"));
        assert!(image("kernel_package", json!("a b")).contains("disk_image.kernel_package"));
        for name in ["", "../x", "a/b", ".hidden", "-o", "a b", "a\nb"] {
            assert!(image("filename", json!(name)).contains("disk_image.filename: Value error"), "{name:?}");
        }
        for (size, expected) in [
            (json!("x"), "a valid integer"),
            (json!(1.5), "a valid integer"),
            (json!(null), "a valid integer"),
            (json!(-1), "greater than or equal to 0"),
            (json!(0), "greater than 0"),
            (json!(1_000_001), "less than or equal to 1000000"),
        ] {
            let expected = format!("1 validation error: disk_image.partitions[0].size: Input should be {expected}");
            assert_eq!(partition("size", size), expected);
        }
        assert!(
            partition("mountpoint", json!(null)).contains("partitions[0].mountpoint: Input should be a valid string")
        );
        assert!(partition("filesystem", json!(4)).contains("partitions[0].filesystem: Input should be a valid string"));
    }
}
