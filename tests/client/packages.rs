//! A source package and what is built of it, made with Debian's own tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::source;

/// An upload of source and binaries.
pub struct Packages {
    pub dsc: PathBuf,
    pub deb: PathBuf,
    pub changes: PathBuf,
}

/// Makes one below `place`.
pub fn make(place: &Path) -> Packages {
    let dsc = source::tiny(place, "true");
    let root = dsc.parent().unwrap();
    let tree = root.join("tiny-1.0");
    run(Command::new("debian/rules").arg("binary").current_dir(&tree));
    let changes = root.join("tiny_1.0_multi.changes");
    let output = format!("-O{}", changes.display());
    run(Command::new("dpkg-genchanges").arg(output).current_dir(&tree));
    let deb = root.join("tiny-doc_1.0_all.deb");
    assert!(deb.exists() && changes.exists());
    Packages { dsc, deb, changes }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
