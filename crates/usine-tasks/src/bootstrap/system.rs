//! The description of a system that was made, from the files that hooks took out of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use url::Url;
use usine_model::artifact::SystemTarball;

use super::{Bootstrap, Configuration};
use crate::run::{Bench, TaskError};

/// Where a hook puts os-release(5), in the working directory.
pub(crate) const OS_RELEASE: &str = "os-release";

/// What is known of a system only when it is made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The name of the artifact's file.
    pub filename: String,
    /// Where a copy of its dpkg database is; relative to the working directory.
    pub admin_directory: String,
    pub with_init: bool,
}

/// The data of the artifact that has the system.
pub(crate) async fn describe_system(
    bootstrap: &Bootstrap<'_>,
    configuration: &Configuration,
    made: Made,
    bench: &Bench<'_>,
) -> Result<SystemTarball, TaskError> {
    let release = os_release(&read_small(&bench.exec.join(OS_RELEASE))?);
    let field = |name: &str| {
        release.get(name).cloned().ok_or_else(|| TaskError::Other(format!("the new system's os-release has no {name}")))
    };
    let first =
        configuration.repositories.first().ok_or_else(|| TaskError::Other("there is no repository".to_owned()))?;
    let codename = match first.asked.suite.as_str() {
        "unstable" | "sid" => "sid".to_owned(),
        _ => field("VERSION_CODENAME")?,
    };
    let query = ["dpkg-query".to_owned(), format!("--admindir={}", made.admin_directory), "--show".to_owned()];
    let packages = bench.output(&query).await?;
    let mirror = &first.asked.mirror;
    Ok(SystemTarball {
        filename: made.filename,
        vendor: field("ID")?,
        codename,
        mirror: Url::parse(mirror).map_err(|error| TaskError::Other(format!("mirror {mirror}: {error}")))?,
        components: first.components.clone(),
        variant: bootstrap.variant.clone(),
        pkglist: package_list(&String::from_utf8_lossy(&packages)),
        architecture: bootstrap.architecture.to_owned(),
        with_dev: true,
        with_init: made.with_init,
    })
}

/// Reads a small text file that a command made.
pub(crate) fn read_small(path: &Path) -> Result<String, TaskError> {
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
