//! Files that the new system gets besides its packages: the agent of Incus, so that commands can be run in a virtual
//! machine, and hooks that keep systemd-boot's entries up to date when kernels come and go.

use std::fs;
use std::path::PathBuf;

use crate::run::{Bench, TaskError};

/// One of the files.
#[derive(Debug)]
pub(super) struct OverlayFile {
    /// Path in the new system, relative to its root.
    pub target: &'static str,
    /// For chmod(1).
    pub mode: &'static str,
    /// Where it was written for the bootstrap.
    pub saved: PathBuf,
}

/// Path, mode and content of each.
const FILES: [(&str, &str, &str); 5] = [
    ("lib/systemd/system/incus-agent.service", "644", include_str!("overlay/incus-agent.service")),
    ("lib/systemd/incus-agent-setup", "755", include_str!("overlay/incus-agent-setup")),
    ("lib/udev/rules.d/99-incus-agent.rules", "644", include_str!("overlay/99-incus-agent.rules")),
    ("etc/kernel/postinst.d/zz-update-systemd-boot", "755", include_str!("overlay/postinst-systemd-boot")),
    ("etc/kernel/postrm.d/zz-update-systemd-boot", "755", include_str!("overlay/postrm-systemd-boot")),
];

/// Writes the files below [`Bench::fetch`], which subordinate users can read.
pub(super) fn write(bench: &Bench<'_>) -> Result<Vec<OverlayFile>, TaskError> {
    let write = |(target, mode, content): (&'static str, &'static str, &'static str)| {
        let saved = bench.fetch.join("overlay").join(target);
        let directory = saved.parent().unwrap_or(&bench.fetch);
        fs::create_dir_all(directory).map_err(TaskError::io(format!("cannot create {}", directory.display())))?;
        bench.write(&saved, content.as_bytes(), 0o644)?;
        Ok(OverlayFile { target, mode, saved })
    };
    FILES.into_iter().map(write).collect()
}
