//! What is in a binary package, unpacked inside an instance and brought out. It is read without leaving its directory:
//! `cap-std` resolves every link beneath it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use usine_debian::MAX_TEXT_BYTES;

use crate::executor::Inside;
use crate::run::{Bench, TaskError};

/// What a package may unpack to, in bytes; the largest packages with something to sign (kernels) have half a gigabyte.
const MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// A directory on the worker.
pub(crate) struct Tree {
    path: PathBuf,
    directory: Dir,
}

impl Tree {
    /// Unpacks a package that is in the instance as `name` in the working directory there, and brings all of it out.
    pub async fn of_package(bench: &mut Bench<'_>, package: &Path, name: &str) -> Result<Self, TaskError> {
        let (package, unpacked) = (package.display().to_string(), bench.exec.join(name).display().to_string());
        let unpack = Inside::new(["dpkg-deb", "-x", &package, &unpacked]).within(&bench.exec);
        if bench.run_inside(&unpack, None).await?.code != Some(0) {
            return Err(TaskError::Other(format!("dpkg-deb cannot unpack {package}: see cmd-output.log")));
        }
        let measure = Inside::new(["du", "--summarize", "--bytes", &unpacked]);
        let measured = String::from_utf8_lossy(&bench.output_inside(&measure).await?).into_owned();
        let bytes = measured.split_whitespace().next().and_then(|bytes| bytes.parse::<u64>().ok());
        if bytes.is_none_or(|bytes| bytes > MAX_BYTES) {
            return Err(TaskError::Other(format!(
                "{package} unpacks to {} bytes; at most {MAX_BYTES} are allowed",
                measured.split_whitespace().next().unwrap_or("unknown")
            )));
        }
        let place = bench.make_directory("tree-", 0o700)?;
        let archive = place.join("archive.tar");
        let pack = Inside::new(["tar", "--create", "--mode=u+rwX", "--directory", &unpacked, "."]);
        bench.pull_output(&pack, &archive).await?;
        let unpacking = tokio::task::spawn_blocking(move || Self::unpack(&archive, place.join("tree")));
        unpacking.await.map_err(|error| TaskError::Other(error.to_string()))?
    }

    /// Unpacks a tar archive into a new directory, and removes the archive. Members cannot get out of the directory.
    fn unpack(archive: &Path, path: PathBuf) -> Result<Self, TaskError> {
        let fault = || TaskError::io(format!("cannot unpack {} to {}", archive.display(), path.display()));
        fs::create_dir(&path).map_err(fault())?;
        let file = File::open(archive).map_err(fault())?;
        tar::Archive::new(file).unpack(&path).map_err(fault())?;
        fs::remove_file(archive).map_err(fault())?;
        Self::open(path)
    }

    /// An existing directory.
    pub fn open(path: PathBuf) -> Result<Self, TaskError> {
        let directory = Dir::open_ambient_dir(&path, ambient_authority());
        let directory = directory.map_err(TaskError::io(format!("cannot open {}", path.display())))?;
        Ok(Self { path, directory })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a small regular file; `None` if there is nothing of that name.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TaskError> {
        let Some(file) = self.regular(path)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(MAX_TEXT_BYTES + 1)
            .read_to_end(&mut content)
            .map_err(TaskError::io(format!("cannot read {path}")))?;
        if content.len() as u64 > MAX_TEXT_BYTES {
            return Err(TaskError::Other(format!("{path} is larger than {MAX_TEXT_BYTES} bytes")));
        }
        Ok(Some(content))
    }

    /// Copies a regular file to a new one anywhere; whether there is one.
    pub fn copy_out(&self, path: &str, target: &Path) -> Result<bool, TaskError> {
        let Some(mut file) = self.regular(path)? else { return Ok(false) };
        let copied = File::create_new(target).and_then(|mut target| io::copy(&mut file, &mut target));
        copied.map_err(TaskError::io(format!("cannot copy {path} to {}", target.display())))?;
        Ok(true)
    }

    /// Copies a file to a new one in here, with the directories above it.
    pub fn copy_in(&self, source: &Path, path: &str) -> Result<(), TaskError> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut options = cap_std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        let copied = (|| {
            if !parent.is_empty() {
                self.directory.create_dir_all(parent)?;
            }
            io::copy(&mut File::open(source)?, &mut self.directory.open_with(path, &options)?)
        })();
        copied.map(drop).map_err(TaskError::io(format!("cannot copy {} to {path}", source.display())))
    }

    /// Whether there is anything of that name, a dangling link included.
    pub fn has(&self, path: &str) -> Result<bool, TaskError> {
        match self.directory.symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fault(path, error)),
        }
    }

    /// Moves a directory below this one to `target`, to be a tree of its own; `None` if it is not there, or only by a link.
    pub fn take_directory(&self, path: &str, target: PathBuf) -> Result<Option<Self>, TaskError> {
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let Some(part) = path.get(..end) else { return Ok(None) };
            match self.directory.symlink_metadata(part) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(fault(part, error)),
            }
        }
        let moved = fs::rename(self.path.join(path), &target);
        moved.map_err(TaskError::io(format!("cannot move {path} to {}", target.display())))?;
        Self::open(target).map(Some)
    }

    fn regular(&self, path: &str) -> Result<Option<cap_std::fs::File>, TaskError> {
        let file = match self.directory.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(path, error)),
        };
        if file.metadata().map_err(|error| fault(path, error))?.is_file() {
            Ok(Some(file))
        } else {
            Err(TaskError::Other(format!("{path} is not a regular file")))
        }
    }
}

/// `cap-std` refuses what leads out as a lack of permission.
fn fault(path: &str, error: io::Error) -> TaskError {
    if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
        return TaskError::Other(format!("file name '{path}' may not traverse symlinks to outside the package"));
    }
    TaskError::Io { what: format!("cannot read {path}"), source: error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree `tree/` with links of all kinds, and a file `secret` beside it.
    fn tree() -> (tempfile::TempDir, Tree) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("tree");
        fs::create_dir_all(path.join("boot/efi")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(path.join("boot/vmlinuz-1"), "kernel").unwrap();
        symlink("vmlinuz-1", path.join("boot/vmlinuz")).unwrap();
        symlink("../../boot/../boot/vmlinuz", path.join("boot/efi/up-and-down")).unwrap();
        symlink("../../secret", path.join("boot/out")).unwrap();
        symlink(root.path().join("secret"), path.join("boot/absolute")).unwrap();
        symlink("..", path.join("parent")).unwrap();
        symlink("nowhere", path.join("dangling")).unwrap();
        symlink("boot", path.join("boot-link")).unwrap();
        let tree = Tree::open(path).unwrap();
        (root, tree)
    }

    #[test]
    fn links_are_followed_beneath_only() {
        let (root, tree) = tree();
        for good in ["boot/vmlinuz-1", "boot/vmlinuz", "boot/efi/up-and-down", "boot-link/vmlinuz"] {
            assert_eq!(tree.read(good).unwrap().unwrap(), b"kernel", "{good}");
        }
        for bad in ["boot/out", "boot/absolute", "parent/secret", "../secret", "/etc/passwd"] {
            let expected = format!("file name '{bad}' may not traverse symlinks to outside the package");
            assert_eq!(tree.read(bad).unwrap_err().to_string(), expected);
            assert_eq!(tree.copy_out(bad, &root.path().join("x")).unwrap_err().to_string(), expected);
            assert!(!root.path().join("x").exists());
        }
        for missing in ["boot/none", "none/x", "dangling"] {
            assert_eq!(tree.read(missing).unwrap(), None, "{missing}");
        }
        assert_eq!(tree.read("boot").unwrap_err().to_string(), "boot is not a regular file");
        assert!(tree.copy_out("boot/vmlinuz", &root.path().join("x")).unwrap());
        assert_eq!(fs::read(root.path().join("x")).unwrap(), b"kernel");
        assert!(tree.has("dangling").unwrap() && tree.has("boot/out").unwrap() && !tree.has("none/x").unwrap());
        assert!(tree.has("parent/secret").is_err());
    }

    #[test]
    fn files_are_written_beneath_only() {
        let (root, tree) = tree();
        let source = root.path().join("signature");
        fs::write(&source, "signature").unwrap();
        tree.copy_in(&source, "debian/signatures/shim/x.sig").unwrap();
        assert_eq!(tree.read("debian/signatures/shim/x.sig").unwrap().unwrap(), b"signature");
        for bad in ["parent/new", "parent/a/b", "boot/out", "boot/vmlinuz", "../new"] {
            assert!(tree.copy_in(&source, bad).is_err(), "{bad}");
        }
        assert_eq!(fs::read(root.path().join("secret")).unwrap(), b"secret");
        assert!(!root.path().join("new").exists() && !root.path().join("a").exists());
    }

    #[test]
    fn a_directory_is_taken_where_no_link_leads() {
        let (root, tree) = tree();
        let target = root.path().join("target");
        for missing in ["boot-link/efi", "boot-link", "none", "boot/vmlinuz-1"] {
            assert!(tree.take_directory(missing, target.clone()).unwrap().is_none(), "{missing}");
        }
        let taken = tree.take_directory("boot/efi", target).unwrap().unwrap();
        assert!(taken.has("up-and-down").unwrap());
        assert!(taken.read("up-and-down").is_err(), "its link now leads out");
    }

    #[test]
    fn an_archive_cannot_write_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let archive = |name: &str, members: &[(&str, tar::EntryType, &str)]| {
            let mut builder = tar::Builder::new(Vec::new());
            for (path, kind, link) in members {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(*kind);
                header.set_mode(0o644);
                let raw = &mut header.as_old_mut();
                raw.name[..path.len()].copy_from_slice(path.as_bytes());
                raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
                header.set_size(if *kind == tar::EntryType::Regular { 4 } else { 0 });
                header.set_cksum();
                let content: &[u8] = if *kind == tar::EntryType::Regular { b"evil" } else { b"" };
                builder.append(&header, content).unwrap();
            }
            let path = root.path().join(name);
            fs::write(&path, builder.into_inner().unwrap()).unwrap();
            path
        };
        let outside = root.path().join("outside");
        let outside = outside.to_str().unwrap();
        let (file, link) = (tar::EntryType::Regular, tar::EntryType::Symlink);
        let through = archive("1.tar", &[("d", link, ".."), ("d/outside", file, "")]);
        assert!(Tree::unpack(&through, root.path().join("1")).is_err());
        let over = archive("2.tar", &[("f", link, outside), ("f", file, "")]);
        let over = Tree::unpack(&over, root.path().join("2")).unwrap();
        assert_eq!(over.read("f").unwrap().unwrap(), b"evil");
        let up = archive("3.tar", &[("../outside", file, ""), ("fifo", tar::EntryType::Fifo, "")]);
        let up = Tree::unpack(&up, root.path().join("3")).unwrap();
        assert!(!up.has("outside").unwrap());
        assert!(!root.path().join("outside").exists());
    }
}
