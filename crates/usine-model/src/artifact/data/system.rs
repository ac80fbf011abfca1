//! Data of root file systems: tarballs and disk images.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::lenient;

/// Declares a struct with what is known about every root file system, and some fields more.
macro_rules! system {
    ($(#[$meta:meta])* $name:ident { $($extra:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Name of the file in the artifact, such as `system.tar.xz`.
            pub filename: String,
            /// `ID` of os-release(5), such as `debian`.
            pub vendor: String,
            /// `VERSION_CODENAME` of os-release(5), but `sid` for unstable.
            pub codename: String,
            /// Of the first repository.
            pub mirror: Url,
            /// Of the first repository. Workers before 0.13 do not say.
            #[serde(default)]
            pub components: Vec<String>,
            /// The variant that mmdebstrap was asked for.
            pub variant: Option<String>,
            /// Installed packages and their versions.
            pub pkglist: BTreeMap<String, String>,
            /// In dpkg's words.
            pub architecture: String,
            /// Whether `/dev` is populated.
            pub with_dev: bool,
            /// Whether there is a `/sbin/init`.
            pub with_init: bool,
            $($extra)*
        }
    };
}

system! {
    /// Data of `debian:system-tarball`.
    SystemTarball {}
}

system! {
    /// Data of `debian:system-image`.
    SystemImage {
        /// Format of the image.
        pub image_format: ImageFormat,
        /// Type of the root file system, such as `ext4`.
        pub filesystem: String,
        /// Size of the disk, in bytes.
        #[serde(deserialize_with = "lenient::integer")]
        pub size: u64,
        /// What starts it.
        pub boot_mechanism: BootMechanism,
    }
}

/// Format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// A sparse file, alone in a `.tar.xz`.
    Raw,
    /// QEMU's format.
    Qcow2,
}

/// What starts the system of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootMechanism {
    /// UEFI firmware.
    Efi,
    /// A PC BIOS.
    Bios,
}
