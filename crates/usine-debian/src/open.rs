//! Opening files that strangers may have put there: only regular ones, and never waiting for a named pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading; symbolic links are followed.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    open(path, OFlags::NONBLOCK)
}

/// Opens a regular file for reading; `None` if there is nothing of that name, or a link or something else that
/// is not a regular file.
pub(crate) fn regular_no_follow(path: &Path) -> io::Result<Option<File>> {
    match open(path, OFlags::NONBLOCK | OFlags::NOFOLLOW) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `ELOOP` is a symbolic link, `ENXIO` a socket, `InvalidInput` our own "not regular" or a NUL in the name,
/// `ENAMETOOLONG` a name that no file here can have.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
        || [rustix::io::Errno::LOOP, rustix::io::Errno::NXIO, rustix::io::Errno::NAMETOOLONG]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// The last component of `path`, for messages.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
