//! Debian's own source packages. Also used by the tests of the whole program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's own source package, with an apt of its own that leaves the machine's configuration alone.
pub fn source_package(directory: &Path, mirror: &str, name: &str) -> PathBuf {
    let apt = directory.join("apt");
    fs::create_dir_all(apt.join("lists/partial")).unwrap();
    let sources = apt.join("sources.list");
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(&sources, format!("deb-src [signed-by={keyring}] {mirror} bookworm main\n")).unwrap();
    let options = [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", apt.join("lists").display()),
        "Dir::Cache::srcpkgcache=".to_owned(),
        "Dir::Cache::pkgcache=".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let run = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        for option in &options {
            command.args(["-o", option]);
        }
        let done = command.args(words).current_dir(directory).output().unwrap();
        assert!(done.status.success(), "apt-get {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run(&["update", "-qq"]);
    run(&["source", "--download-only", "-qq", name]);
    let files = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "dsc")).expect("a .dsc")
}
