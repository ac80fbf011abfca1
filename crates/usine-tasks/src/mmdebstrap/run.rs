//! Running mmdebstrap, and describing the tarball that it made.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use url::Url;
use usine_model::artifact::{ArtifactCategory, SystemTarball};
use usine_model::work_request::Results;

use super::command::{Files, TARBALL, command};
use super::data::MmdebstrapData;
use super::repositories::{Repository, chroot_sources, host_sources, look_up};
use crate::run::{Bench, BoxFuture, Command, NewArtifact, Run, TaskError};

pub(super) struct MmdebstrapRun {
    data: MmdebstrapData,
    repositories: Vec<Repository>,
    files: Files,
}

impl MmdebstrapRun {
    pub fn new(data: MmdebstrapData) -> Self {
        Self { data, repositories: Vec::new(), files: Files::default() }
    }

    async fn write_configuration(&mut self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        // Subordinate users read keyrings and sources: both directories are open to all.
        let directory = bench.fetch.clone();
        fs::set_permissions(&directory, Permissions::from_mode(0o755))
            .map_err(TaskError::io(format!("cannot open {} to all", directory.display())))?;
        let keyrings = directory.join("keyrings");
        fs::create_dir(&keyrings).map_err(TaskError::io(format!("cannot create {}", keyrings.display())))?;
        bench.own(&keyrings)?;
        bench.check_reachable(&keyrings)?;
        for asked in &self.data.bootstrap_repositories {
            let repository = look_up(asked, bench, &keyrings).await?;
            self.files.keyrings.extend(repository.keyring.clone());
            self.repositories.push(repository);
        }
        let use_signed_by = self.data.bootstrap_options.use_signed_by;
        self.files.host_sources = directory.join("host.sources");
        self.files.chroot_sources = directory.join("chroot.sources");
        for (path, content) in [
            (&self.files.host_sources, host_sources(&self.repositories, use_signed_by)),
            (&self.files.chroot_sources, chroot_sources(&self.repositories, use_signed_by)),
        ] {
            bench.write(path, content.as_bytes(), 0o644)?;
            bench.append_log(&path.file_name().unwrap_or_default().to_string_lossy(), &content)?;
        }
        if let Some(script) = &self.data.customization_script {
            let path = directory.join("customization_script");
            bench.write(&path, script.as_bytes(), 0o755)?;
            self.files.script = Some(path);
        }
        Ok(())
    }

    async fn describe(&self, bench: &Bench<'_>) -> Result<SystemTarball, TaskError> {
        let release = os_release(&read(&bench.exec.join("os-release"))?);
        let field = |name: &str| {
            release
                .get(name)
                .cloned()
                .ok_or_else(|| TaskError::Other(format!("the new system's os-release has no {name}")))
        };
        let first = self.repositories.first().ok_or_else(|| TaskError::Other("there is no repository".to_owned()))?;
        let codename = match first.asked.suite.as_str() {
            "unstable" | "sid" => "sid".to_owned(),
            _ => field("VERSION_CODENAME")?,
        };
        let query = ["dpkg-query", "--admindir=var_lib_dpkg/dpkg", "--show"].map(str::to_owned);
        let packages = bench.output(&query).await?;
        let mirror = &first.asked.mirror;
        let options = &self.data.bootstrap_options;
        Ok(SystemTarball {
            filename: TARBALL.to_owned(),
            vendor: field("ID")?,
            codename,
            mirror: Url::parse(mirror).map_err(|error| TaskError::Other(format!("mirror {mirror}: {error}")))?,
            components: first.components.clone(),
            variant: options.variant.map(|variant| variant.to_string()),
            pkglist: package_list(&String::from_utf8_lossy(&packages)),
            architecture: options.architecture.clone(),
            with_dev: true,
            with_init: read(&bench.exec.join("test-sbin-init"))?.trim() == "0",
        })
    }
}

impl Run for MmdebstrapRun {
    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            self.write_configuration(bench).await?;
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(async move {
            let argv = command(&self.data, &self.files, bench.surroundings.http_read_timeout);
            let ended = bench.run(&Command { argv, ..Command::default() }).await?;
            Ok(if ended.code == Some(0) { Results::Success } else { Results::Failure })
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            if result == Results::Success {
                let data = self.describe(bench).await?;
                let tarball = bench.exec.join(TARBALL);
                bench.upload(NewArtifact::new(ArtifactCategory::SystemTarball, &data)?.with_file(&tarball, None)?)?;
            }
            Ok(())
        })
    }
}

/// Reads a small text file that the command made.
fn read(path: &Path) -> Result<String, TaskError> {
    const MAX: u64 = 1024 * 1024;
    let fault = || TaskError::io(format!("cannot read {}", path.display()));
    let kind = path.symlink_metadata().map_err(fault())?;
    if !kind.is_file() || kind.len() > MAX {
        return Err(TaskError::Other(format!("{} is not a file of at most {MAX} bytes", path.display())));
    }
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(fault())
}

/// The assignments of os-release(5), values unquoted as sh(1) does it.
fn os_release(text: &str) -> BTreeMap<String, String> {
    let assignment = |line: &str| {
        let (key, value) = line.trim().split_once('=')?;
        Some((key.to_owned(), shell_words::split(value).ok()?.concat()))
    };
    text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(assignment).collect()
}

/// Lines `name<TAB>version` of dpkg-query(1).
fn package_list(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_unquoted() {
        let release = os_release(
            "# comment\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nX='it'\"'\"'s'\n\nbroken\n",
        );
        assert_eq!(release["PRETTY_NAME"], "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(release["ID"], "debian");
        assert_eq!(release["X"], "it's");
    }

    #[test]
    fn packages_and_versions() {
        let list = package_list("hello\t2.10-3\nlibc6:amd64\t2.36-9+deb12u10\nodd\n");
        assert_eq!(list.len(), 2);
        assert_eq!(list["libc6:amd64"], "2.36-9+deb12u10");
    }
}
