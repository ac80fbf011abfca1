//! A directory with fake tools: shell scripts on a `PATH` of their own that record their arguments and leave files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use usine_model::work_request::TaskType;
use usine_tasks::{Outcome, Surroundings, execute};

use super::support::{DirHost, surroundings};

/// A source package that no tool of these tests unpacks.
pub const DSC: &str = "Format: 3.0 (native)\nSource: tiny\nBinary: tiny\nArchitecture: any all\nVersion: 1:1.0\n";

/// A root directory, with fake tools in `bin/`.
pub struct World {
    pub root: TempDir,
    pub path: String,
}

impl World {
    pub fn new() -> Self {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        let path = format!("{}:/usr/bin:/bin", root.path().join("bin").display());
        Self { root, path }
    }

    pub fn tool(&self, name: &str, script: &str) -> &Self {
        let path = self.root.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// An executor without a system: what should run inside runs here, with the fake tools, and what is copied in is there
    /// already.
    pub fn instance(&self) -> &Self {
        self.tool("unshare", FAKE_UNSHARE).tool("apt-get", "").tool("getent", "").tool("chown", "")
    }

    /// What the tool `name` was called with, if it recorded that by `echo "$@" >> "$0.calls"`.
    pub fn calls(&self, name: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.root.path().join("bin").join(format!("{name}.calls"))).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    pub fn surroundings(&self) -> Surroundings {
        surroundings(&self.root, &self.path, None)
    }
}

/// Runs a task.
pub async fn run(task: &str, data: &Value, dynamic: Option<&Value>, around: &Surroundings, host: &DirHost) -> Outcome {
    let outcome = execute(TaskType::Worker, task, data, dynamic, around, host).await;
    if let Ok(left) = fs::read_dir(&around.directory) {
        let mut left = left.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        assert_eq!(left.find(|name| name.starts_with("unshare-")), None, "an instance is left");
    }
    outcome
}

const FAKE_UNSHARE: &str = r#"
PATH="$(dirname "$0"):$PATH"
export PATH
while case "${1:-}" in --*) true ;; *) false ;; esac; do shift; done
case "$1" in
    tar) mkdir -p "$3/usr"; cat > /dev/null; exit 2 ;;
    rm) [ "$2" = -rf ] && exec "$@"; exit 0 ;;
    sh)
        command=${3#*exec /usr/sbin/chroot }
        command=${command#* }
        command=${command#/sbin/runuser -u _debusine -- }
        case "$command" in
            "tar --extract"* | *"cat >"*) exec cat > /dev/null ;;
        esac
        exec sh -c "$command" ;;
esac
exit 0"#;
