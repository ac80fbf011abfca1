//! The directories that tasks run in: made, and removed whatever was left in them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use usine_model::entropy::Entropy;

use crate::{WorkerError, leftovers};

const PREFIX: &str = "WR-";

/// The directory of one run. [`WorkDirectory::remove`] takes it away.
#[derive(Debug)]
pub(crate) struct WorkDirectory {
    path: PathBuf,
}

impl WorkDirectory {
    /// Makes `WR-<id>-<random>`, mode 0755: subordinate users must be able to enter.
    pub fn make(parent: &Path, work_request: i64, entropy: &dyn Entropy) -> io::Result<Self> {
        let random = hex::encode(&entropy.bytes32()[..4]);
        let path = parent.join(format!("{PREFIX}{work_request}-{random}"));
        fs::create_dir(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it; what cannot be removed is logged and left to [`clean`].
    pub async fn remove(self) {
        let path = self.path;
        let removed = tokio::task::spawn_blocking(move || remove_all(&path).map_err(|error| (path, error))).await;
        if let Ok(Err((path, error))) = removed {
            tracing::warn!(directory = %path.display(), %error, "cannot remove the directory of a task");
        }
    }
}

/// Makes the working directory, ends what still runs there, and removes what earlier runs left in it. Blocks.
pub(crate) fn clean(parent: &Path) -> Result<usize, WorkerError> {
    make_reachable(parent)?;
    let ended = leftovers::end(&parent.canonicalize().map_err(WorkerError::io(parent))?);
    if ended > 0 {
        tracing::warn!(ended, "ended processes of tasks whose worker was killed");
    }
    let mut removed = 0;
    for entry in fs::read_dir(parent).map_err(WorkerError::io(parent))? {
        let path = entry.map_err(WorkerError::io(parent))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            remove_all(&path).map_err(WorkerError::io(&path))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Makes a directory, mode 0755, and warns if subordinate users cannot get to it.
pub(crate) fn make_reachable(path: &Path) -> Result<(), WorkerError> {
    if !path.is_dir() {
        fs::create_dir_all(path).map_err(WorkerError::io(path))?;
        fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(WorkerError::io(path))?;
    }
    for ancestor in path.ancestors() {
        let mode = fs::metadata(ancestor).map(|metadata| metadata.permissions().mode()).unwrap_or(0o001);
        if mode & 0o001 == 0 {
            let (directory, mode) = (ancestor.display(), format!("{:04o}", mode & 0o7777));
            tracing::warn!(%directory, mode, "tasks in user namespaces cannot enter this directory: chmod o+x it");
        }
    }
    Ok(())
}

/// Removes a tree. Files of subordinate users need a user namespace, unless we are root.
fn remove_all(path: &Path) -> io::Result<()> {
    let plain = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if plain.kind() == io::ErrorKind::NotADirectory {
        return fs::remove_file(path);
    }
    let status = Command::new("unshare")
        .args(["--map-users=auto", "--map-groups=auto", "--map-root-user", "rm", "-rf", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // In its namespace rm cannot remove the outermost directory from our parent directory if that is not ours there.
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(io::Error::new(plain.kind(), format!("{plain}; in a user namespace: {status}; then: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use usine_model::entropy::CountingEntropy;

    use super::*;

    #[tokio::test]
    async fn made_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let work = parent.path().join("work");
        fs::create_dir_all(work.join("WR-1-old/sub")).unwrap();
        fs::write(work.join("keep"), "").unwrap();
        assert_eq!(clean(&work).unwrap(), 1);
        let entropy = CountingEntropy::default();
        let directory = WorkDirectory::make(&work, 7, &entropy).unwrap();
        let path = directory.path().to_owned();
        assert!(path.file_name().unwrap().to_string_lossy().starts_with("WR-7-"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        fs::create_dir_all(path.join("a/b")).unwrap();
        directory.remove().await;
        assert!(!path.exists() && work.join("keep").exists());
    }
}
