//! Running debefivm-create, and describing the image that it made.

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use usine_model::artifact::{ArtifactCategory, BootMechanism, SystemImage};
use usine_model::work_request::Results;

use super::command::{DPKG_TAR, command, conversion};
use super::data::ImageData;
use super::overlay::{self, OverlayFile};
use crate::bootstrap::{Configuration, Made, configure, describe_system};
use crate::run::{Bench, BoxFuture, Command, NewArtifact, Run, TaskError};

/// Largest list of installed packages, in bytes; that of a desktop has some 5 MB.
const MAX_STATUS: u64 = 256 * 1024 * 1024;

pub(super) struct ImageRun {
    data: ImageData,
    configuration: Configuration,
    overlay: Vec<OverlayFile>,
}

impl ImageRun {
    pub fn new(data: ImageData) -> Self {
        Self { data, configuration: Configuration::default(), overlay: Vec::new() }
    }

    async fn build(&self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let (_, convert) = conversion(&self.data);
        for argv in [command(&self.data, &self.configuration, &self.overlay), convert] {
            let ended = bench.run(&Command { argv, ..Command::default() }).await?;
            if ended.code != Some(0) {
                return Ok(Results::Failure);
            }
        }
        Ok(Results::Success)
    }

    async fn describe(&self, filename: String, bench: &Bench<'_>) -> Result<SystemImage, TaskError> {
        // A directory that nothing of the new system has seen: what ran in it could have left links in others.
        let admin_directory = bench.make_directory("dpkg-", 0o755)?;
        extract_status(&bench.exec.join(DPKG_TAR), &admin_directory.join("status"))?;
        let root = self.data.root().ok_or_else(|| TaskError::Other("there is no partition".to_owned()))?;
        // What debefivm-create makes always has systemd.
        let made = Made { filename, admin_directory: admin_directory.display().to_string(), with_init: true };
        let system = describe_system(&self.data.bootstrap(), &self.configuration, made, bench).await?;
        Ok(SystemImage {
            filename: system.filename,
            vendor: system.vendor,
            codename: system.codename,
            mirror: system.mirror,
            components: system.components,
            variant: system.variant,
            pkglist: system.pkglist,
            architecture: system.architecture,
            with_dev: system.with_dev,
            with_init: system.with_init,
            image_format: self.data.disk_image.format.into(),
            filesystem: root.filesystem.clone(),
            size: root.size * 1_000_000_000,
            boot_mechanism: BootMechanism::Efi,
        })
    }
}

impl Run for ImageRun {
    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            self.configuration = configure(&self.data.bootstrap(), bench).await?;
            self.overlay = overlay::write(bench)?;
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.build(bench))
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            if result == Results::Success {
                let (name, _) = conversion(&self.data);
                let data = self.describe(name.clone(), bench).await?;
                let artifact = NewArtifact::new(ArtifactCategory::SystemImage, &data)?;
                bench.upload(artifact.with_file(&bench.exec.join(name), None)?)?;
            }
            Ok(())
        })
    }
}

/// dpkg-query(1) needs one file of dpkg's database. Only that is taken out of the archive, which the new system's own
/// programs wrote.
fn extract_status(archive: &Path, target: &Path) -> Result<(), TaskError> {
    let fault = || TaskError::io(format!("cannot read {}", archive.display()));
    if !archive.symlink_metadata().map_err(fault())?.is_file() {
        return Err(TaskError::Other(format!("{} is not a regular file", archive.display())));
    }
    let mut tar = tar::Archive::new(File::open(archive).map_err(fault())?);
    for member in tar.entries().map_err(fault())? {
        let member = member.map_err(fault())?;
        let name = member.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if name != b"dpkg/status" || !member.header().entry_type().is_file() {
            continue;
        }
        let unwritable = || TaskError::io(format!("cannot write {}", target.display()));
        let mut status = File::create_new(target).map_err(unwritable())?;
        status.set_permissions(Permissions::from_mode(0o644)).map_err(unwritable())?;
        let copied = io::copy(&mut member.take(MAX_STATUS), &mut status).map_err(unwritable())?;
        if copied == MAX_STATUS {
            return Err(TaskError::Other(format!("dpkg/status in {DPKG_TAR} has {MAX_STATUS} bytes or more")));
        }
        return Ok(());
    }
    Err(TaskError::Other(format!("{DPKG_TAR} has no file dpkg/status")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_list_of_packages_is_taken_out() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join(DPKG_TAR);
        let mut tar = tar::Builder::new(File::create(&archive).unwrap());
        let mut add = |name: &str, kind: tar::EntryType, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, content).unwrap();
        };
        add("../evil", tar::EntryType::Regular, b"evil");
        add("/abs", tar::EntryType::Regular, b"evil");
        add("dpkg/status", tar::EntryType::Symlink, b"");
        add("./dpkg/status", tar::EntryType::Regular, b"Package: hello\n");
        tar.finish().unwrap();
        let status = directory.path().join("status");
        extract_status(&archive, &status).unwrap();
        assert_eq!(fs::read(&status).unwrap(), b"Package: hello\n");
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["status", DPKG_TAR]);
        assert!(extract_status(&archive, &status).unwrap_err().to_string().contains("cannot write"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&archive, &link).unwrap();
        assert!(extract_status(&link, &directory.path().join("x")).unwrap_err().to_string().contains("not a regular"));
    }
}
