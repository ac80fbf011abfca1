//! The repositories of a bootstrap: their keyrings, their components, and the deb822 `.sources` that name them
//! (sources.list(5)).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use url::Url;

use super::configuration::SavedKeyring;
use super::data::{BootstrapRepository, CheckSignatureWith, KEYRING_DIRECTORIES, Keyring};
use crate::run::{Bench, TaskError};

/// Largest keyring and largest Release file, in bytes.
const MAX_KEYRING: u64 = 100 * 1024 * 1024;
const MAX_RELEASE: u64 = 16 * 1024 * 1024;

/// A repository with all that was found out about it.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub asked: BootstrapRepository,
    pub components: Vec<String>,
    pub keyring: Option<SavedKeyring>,
}

/// Downloads what a repository needs; keyrings go into `keyrings`.
pub(super) async fn look_up(
    asked: &BootstrapRepository,
    bench: &Bench<'_>,
    keyrings: &Path,
) -> Result<Repository, TaskError> {
    let keyring = match (&asked.keyring, asked.check_signature_with) {
        (Some(keyring), CheckSignatureWith::External) => {
            Some(save_keyring(keyring, &asked.mirror, bench, keyrings).await?)
        }
        _ => None,
    };
    let components = match &asked.components {
        Some(components) => components.clone(),
        None => components_of(asked, bench).await?,
    };
    Ok(Repository { asked: asked.clone(), components, keyring })
}

async fn save_keyring(
    keyring: &Keyring,
    mirror: &str,
    bench: &Bench<'_>,
    directory: &Path,
) -> Result<SavedKeyring, TaskError> {
    let content = match Url::parse(&keyring.url).ok().filter(|url| url.scheme() == "file") {
        Some(url) => read_local(&url)?,
        None => fetch(&keyring.url, MAX_KEYRING, bench, directory).await?,
    };
    let actual = hex::encode(Sha256::digest(&content));
    let expected = &keyring.sha256sum;
    if !expected.is_empty() && *expected != actual {
        let message = format!("sha256 mismatch for keyring repository {mirror}. Actual: {actual} expected: {expected}");
        return Err(TaskError::Other(message));
    }
    let suffix = if content.starts_with(b"-----BEGIN") { ".asc" } else { ".gpg" };
    let path = new_name(directory, "keyring-repo-", suffix)?;
    bench.write(&path, &content, 0o644)?;
    Ok(SavedKeyring { path, install: keyring.install })
}

/// Only from the system's keyring directories, links resolved.
fn read_local(url: &Url) -> Result<Vec<u8>, TaskError> {
    let fault = || TaskError::io(format!("cannot read keyring {url}"));
    let path = url.to_file_path().map_err(|()| TaskError::Other(format!("{url} names no file")))?;
    let path = fs::canonicalize(path).map_err(fault())?;
    if !KEYRING_DIRECTORIES.iter().any(|directory| path.starts_with(directory)) {
        return Err(TaskError::Other(format!("{url} leads to {}, outside the keyring directories", path.display())));
    }
    read_bounded(&path, MAX_KEYRING)
}

/// The components that `MIRROR/dists/SUITE/Release` names.
async fn components_of(asked: &BootstrapRepository, bench: &Bench<'_>) -> Result<Vec<String>, TaskError> {
    let url = format!("{}/dists/{}/Release", asked.mirror.trim_end_matches('/'), asked.suite);
    let content = fetch(&url, MAX_RELEASE, bench, &bench.fetch).await?;
    components_in(&String::from_utf8_lossy(&content))
        .ok_or_else(|| TaskError::Other(format!("Cannot find components in {url}")))
}

fn components_in(release: &str) -> Option<Vec<String>> {
    let fields = usine_debian::parse_paragraph(release).ok()?;
    let is_component = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '/')
    };
    let components: Vec<String> =
        fields.text("Components")?.split_ascii_whitespace().filter(is_component).map(str::to_owned).collect();
    if components.is_empty() { None } else { Some(components) }
}

async fn fetch(url: &str, limit: u64, bench: &Bench<'_>, directory: &Path) -> Result<Vec<u8>, TaskError> {
    let path = new_name(directory, "download-", "")?;
    bench.fetch_url(url, limit, &path).await?;
    let content = read_bounded(&path, limit)?;
    fs::remove_file(&path).map_err(TaskError::io(format!("cannot remove {}", path.display())))?;
    Ok(content)
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, TaskError> {
    let fault = || TaskError::io(format!("cannot read {}", path.display()));
    let mut content = Vec::new();
    File::open(path).map_err(fault())?.take(limit + 1).read_to_end(&mut content).map_err(fault())?;
    if content.len() as u64 > limit {
        return Err(TaskError::Other(format!("{} has more than {limit} bytes", path.display())));
    }
    Ok(content)
}

/// A name that nothing has yet; the directory is ours alone.
fn new_name(directory: &Path, prefix: &str, suffix: &str) -> Result<PathBuf, TaskError> {
    let fault = TaskError::io(format!("cannot create a file in {}", directory.display()));
    let file = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(directory).map_err(fault)?;
    Ok(file.path().to_owned())
}

/// The sources that mmdebstrap itself uses.
pub(super) fn host_sources(repositories: &[Repository], use_signed_by: bool) -> String {
    sources(repositories, |keyring| use_signed_by.then(|| keyring.path.display().to_string()))
}

/// The sources of the new system: its keyrings are elsewhere, if it has them at all.
pub(super) fn chroot_sources(repositories: &[Repository], use_signed_by: bool) -> String {
    sources(repositories, |keyring| {
        (use_signed_by && keyring.install).then(|| format!("/etc/apt/keyrings-debusine/{}", keyring.name()))
    })
}

fn sources(repositories: &[Repository], signed_by: impl Fn(&SavedKeyring) -> Option<String>) -> String {
    let paragraph = |repository: &Repository| {
        let asked = &repository.asked;
        let types: Vec<String> = asked.types.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "Types: {}\nURIs: {}\nSuites: {}\nComponents: {}\n",
            types.join(" "),
            asked.mirror,
            asked.suite,
            repository.components.join(" ")
        );
        if asked.check_signature_with == CheckSignatureWith::NoCheck {
            text.push_str("Trusted: yes\n");
        }
        if let Some(path) = repository.keyring.as_ref().and_then(&signed_by) {
            text.push_str(&format!("Signed-By: {path}\n"));
        }
        text
    };
    repositories.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sources_of_host_and_chroot() {
        let repository = |data, keyring| Repository {
            asked: serde_json::from_value(data).unwrap(),
            components: vec!["main".into(), "contrib".into()],
            keyring,
        };
        let keyring = |install| Some(SavedKeyring { path: "/f/keyrings/k.asc".into(), install });
        let all = [
            repository(
                json!({"mirror": "https://a/", "suite": "sid", "types": ["deb", "deb-src"], "check_signature_with": "no-check"}),
                None,
            ),
            repository(json!({"mirror": "https://b/", "suite": "sid"}), keyring(true)),
            repository(json!({"mirror": "https://c/", "suite": "sid"}), keyring(false)),
        ];
        assert_eq!(
            host_sources(&all, true),
            "Types: deb deb-src\nURIs: https://a/\nSuites: sid\nComponents: main contrib\nTrusted: yes\n\n\
             Types: deb\nURIs: https://b/\nSuites: sid\nComponents: main contrib\nSigned-By: /f/keyrings/k.asc\n\n\
             Types: deb\nURIs: https://c/\nSuites: sid\nComponents: main contrib\nSigned-By: /f/keyrings/k.asc\n"
        );
        let chroot = chroot_sources(&all, true);
        assert_eq!(chroot.matches("Signed-By: /etc/apt/keyrings-debusine/k.asc\n").count(), 1);
        assert!(!chroot.contains("/f/keyrings"));
        assert!(!host_sources(&all, false).contains("Signed-By"));
    }

    #[test]
    fn components_of_a_release() {
        assert_eq!(
            components_in("Origin: Debian\nComponents: main updates/main non-free-firmware x1\nMD5Sum:\n a 1 b\n"),
            Some(vec!["main".into(), "updates/main".into(), "non-free-firmware".into()])
        );
        assert_eq!(components_in("Origin: Debian\n"), None);
        assert_eq!(components_in("<html>"), None);
    }
}
