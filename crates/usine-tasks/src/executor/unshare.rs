//! The `unshare` executor: a tarball unpacked into a directory, and commands in user, pid and mount namespaces of their
//! own (unshare(1)). No isolation of the network. Needs subordinate user ids (subuid(5)), newuidmap(1) and xz(1).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{HostCommand, INSIDE_PATH, Inside, Instance, USER, User};
use crate::capabilities::which;
use crate::run::{BoxFuture, Shell, Step, TaskError, quote, quote_all};

const NAMESPACE: [&str; 3] = ["unshare", "--map-users=auto", "--map-groups=auto"];

/// The command that removes what processes in a user namespace left: their files belong to subordinate ids.
pub(crate) fn unshare_remove(paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let command = ["--map-root-user", "rm", "-rf", "--"];
    NAMESPACE.into_iter().chain(command).map(str::to_owned).chain(paths).collect()
}

/// A system in a directory.
pub(super) struct Unshare {
    tarball: PathBuf,
    /// Belongs to the worker's user; everybody may enter.
    directory: PathBuf,
    /// Belongs to the first subordinate id.
    root: PathBuf,
    program: String,
}

impl Unshare {
    pub fn new(tarball: PathBuf, directory: PathBuf) -> Self {
        let root = directory.join("root");
        Self { tarball, directory, root, program: NAMESPACE[0].to_owned() }
    }

    fn namespace<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> HostCommand {
        let options = NAMESPACE.into_iter().skip(1).chain(words).map(str::to_owned);
        let argv = std::iter::once(self.program.clone()).chain(options).collect();
        // Nothing of the worker's environment gets in.
        HostCommand { argv, environment: BTreeMap::from([("PATH".to_owned(), INSIDE_PATH.to_owned())]) }
    }

    async fn unpack(&mut self, shell: Shell<'_>) -> Result<(), TaskError> {
        let path = shell.path();
        let program = which(path, NAMESPACE[0])
            .ok_or_else(|| TaskError::Other(format!("there is no unshare in {path}: install util-linux")))?;
        self.program = program.display().to_string();
        fs::create_dir(&self.root).map_err(TaskError::io(format!("cannot create {}", self.root.display())))?;
        shell.own(&self.root)?;
        let root = self.root.display().to_string();
        shell.output(Step::of(self.namespace(["--map-root-user", "chown", "1:1", &root]))).await?;
        let as_root = ["--setuid=0", "--setgid=0"];
        let unpack = self.namespace(as_root.into_iter().chain(["tar", "-C", &root, "--xz", "-x"]));
        // Device nodes cannot be made in a namespace: tar always complains, and /dev is mounted over them anyway.
        let unpacked = shell.attempt(Step::of(unpack).reading(&self.tarball)?).await?;
        if !self.root.join("usr").is_dir() {
            let reason = String::from_utf8_lossy(&unpacked.stderr);
            return Err(TaskError::Other(format!("cannot unpack {}: {}", self.tarball.display(), reason.trim())));
        }
        let resolver = format!("{root}/etc/resolv.conf");
        let remove = self.namespace(as_root.into_iter().chain(["rm", "--force", &resolver]));
        shell.output(Step::of(remove)).await?;
        let copy = ["cp", "--dereference", "/etc/resolv.conf", &resolver];
        shell.output(Step::of(self.namespace(as_root.into_iter().chain(copy)))).await?;
        Ok(())
    }
}

impl Instance for Unshare {
    fn start<'a>(&'a mut self, shell: Shell<'a>) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(self.unpack(shell))
    }

    fn command(&self, inside: &Inside) -> HostCommand {
        let root = self.root.display().to_string();
        let mut argv = inside.argv.clone();
        if let Some(directory) = &inside.directory {
            let script = format!("cd {} && exec {}", quote_path(directory), quote_all(&argv));
            argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
        }
        if inside.user == User::Ordinary {
            argv.splice(0..0, ["/sbin/runuser", "-u", USER, "--"].map(str::to_owned));
        }
        let quoted = quote(&root);
        let script = format!("mount --rbind /dev {quoted}/dev && exec /usr/sbin/chroot {quoted} {}", quote_all(&argv));
        let proc = format!("--mount-proc={root}/proc");
        let words = ["--setuid=0", "--setgid=0", "--kill-child", "--pid", "--mount", &proc, "sh", "-c", &script];
        let mut command = self.namespace(words);
        let given = inside.environment.iter().filter(|(name, _)| *name != "PATH");
        command.environment.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        command
    }

    fn stop<'a>(&'a mut self, shell: Shell<'a>) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            if self.root.symlink_metadata().is_ok() {
                let root = self.root.display().to_string();
                let removal = Step::of(self.namespace(["--map-root-user", "rm", "-rf", "--", &root]));
                // The stop belongs to a cancelled run, too.
                shell.uncancellable().output(removal).await?;
            }
            fs::remove_dir_all(&self.directory)
                .map_err(TaskError::io(format!("cannot remove {}", self.directory.display())))
        })
    }
}

fn quote_path(path: &Path) -> String {
    quote(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_through_namespaces_and_chroot() {
        let unshare = Unshare::new("/images/3/system.tar.xz".into(), "/w/unshare-x".into());
        let script = |inside: &Inside| {
            let command = unshare.command(inside);
            let (script, words) = command.argv.split_last().unwrap();
            let expected = "unshare --map-users=auto --map-groups=auto --setuid=0 --setgid=0 --kill-child --pid --mount \
                 --mount-proc=/w/unshare-x/root/proc sh -c";
            assert_eq!(words.join(" "), expected);
            (script.clone(), command.environment)
        };
        let chroot = "mount --rbind /dev /w/unshare-x/root/dev && exec /usr/sbin/chroot /w/unshare-x/root ";
        let (text, environment) = script(&Inside::as_root(["apt-get", "update"]).with("A", "b c"));
        assert_eq!(text, format!("{chroot}apt-get update"));
        let expected = [("A", "b c"), ("PATH", INSIDE_PATH)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment, BTreeMap::from(expected));
        let (text, _) = script(&Inside::new(["lintian", "a b.deb"]).within("/w/exec x".as_ref()));
        let inner = r#"cd '/w/exec x' && exec lintian 'a b.deb'"#;
        let expected = format!("{chroot}/sbin/runuser -u _debusine -- sh -c {}", quote(inner));
        assert_eq!(text, expected);
    }
}
