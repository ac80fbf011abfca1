//! The files that configure a bootstrap: sources, keyrings, the customization script.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Bootstrap;
use super::repositories::{Repository, chroot_sources, host_sources, look_up};
use crate::run::{Bench, TaskError};

/// What was prepared for a bootstrap.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// The repositories, with what was found out about them.
    pub repositories: Vec<Repository>,
    /// Sources for bootstrapping.
    pub host_sources: PathBuf,
    /// Sources of the new system.
    pub chroot_sources: PathBuf,
    pub keyrings: Vec<SavedKeyring>,
    pub script: Option<PathBuf>,
}

/// A keyring that was downloaded for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedKeyring {
    pub path: PathBuf,
    pub install: bool,
}

impl SavedKeyring {
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Downloads and writes what the bootstrap needs into [`Bench::fetch`]; the sources are copied to the logs.
pub(crate) async fn configure(bootstrap: &Bootstrap<'_>, bench: &Bench<'_>) -> Result<Configuration, TaskError> {
    // Subordinate users read keyrings and sources: both directories are open to all.
    let directory = &bench.fetch;
    fs::set_permissions(directory, Permissions::from_mode(0o755))
        .map_err(TaskError::io(format!("cannot open {} to all", directory.display())))?;
    let keyrings = directory.join("keyrings");
    fs::create_dir(&keyrings).map_err(TaskError::io(format!("cannot create {}", keyrings.display())))?;
    bench.own(&keyrings)?;
    bench.check_reachable(&keyrings)?;
    let mut made = Configuration {
        host_sources: directory.join("host.sources"),
        chroot_sources: directory.join("chroot.sources"),
        ..Configuration::default()
    };
    for asked in bootstrap.repositories {
        let repository = look_up(asked, bench, &keyrings).await?;
        made.keyrings.extend(repository.keyring.clone());
        made.repositories.push(repository);
    }
    for (path, content) in [
        (&made.host_sources, host_sources(&made.repositories, bootstrap.use_signed_by)),
        (&made.chroot_sources, chroot_sources(&made.repositories, bootstrap.use_signed_by)),
    ] {
        bench.write(path, content.as_bytes(), 0o644)?;
        bench.append_log(&path.file_name().unwrap_or_default().to_string_lossy(), &content)?;
    }
    if let Some(script) = bootstrap.script {
        let path = directory.join("customization_script");
        bench.write(&path, script.as_bytes(), 0o755)?;
        made.script = Some(path);
    }
    Ok(made)
}
