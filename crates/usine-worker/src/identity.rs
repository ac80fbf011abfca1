//! The user that tasks run as when the worker is root.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use usine_tasks::Identity;

use crate::WorkerError;

/// The identity of tasks: `None` (the worker's own) unless it is root.
pub fn for_tasks(user: &str) -> Result<Option<Identity>, WorkerError> {
    if rustix::process::geteuid().is_root() && user != "root" { look_up(user).map(Some) } else { Ok(None) }
}

/// Asks the user database, through getent(1) so that users from elsewhere than `/etc/passwd` are found, too.
pub fn look_up(user: &str) -> Result<Identity, WorkerError> {
    let failed = |source| WorkerError::UserLookup { name: user.to_owned(), source };
    let output = Command::new("getent").args(["--", "passwd", user]).output().map_err(failed)?;
    // getent: 2 is "not there".
    if output.status.code() == Some(2) {
        return Err(WorkerError::NoUser(user.to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let entry = text.lines().next().and_then(parse).filter(|_| output.status.success());
    entry.ok_or_else(|| failed(io::Error::other(format!("getent: {} {:?}", output.status, text.trim()))))
}

/// A line of passwd(5): `name:password:uid:gid:gecos:home:shell`.
fn parse(line: &str) -> Option<Identity> {
    let fields: Vec<&str> = line.split(':').collect();
    let &[name, _, uid, gid, _, home, _] = fields.as_slice() else { return None };
    Some(Identity { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: PathBuf::from(home) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let root = look_up("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        let error = look_up("nobody-of-this-name").unwrap_err();
        assert!(error.to_string().contains("usine doctor --fix"), "{error}");
        assert_eq!(parse("a:x:1:2::/home/a:/bin/sh").unwrap().home, PathBuf::from("/home/a"));
        assert_eq!(parse("a:x:one:2::/home/a:/bin/sh"), None);
        assert_eq!(parse(""), None);
    }
}
