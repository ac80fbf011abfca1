//! Source packages that the stories build: made here, because they must sleep, or be large.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A native package with one architecture-dependent and one independent binary and no build dependency. The build says
/// that it sleeps, then runs `command`.
pub fn tiny(place: &Path, command: &str) -> PathBuf {
    let binaries = [("tiny", "any"), ("tiny-doc", "all")];
    package(place, "tiny", &binaries, &format!("\techo the build sleeps\n\t{command}\n"), "", &[])
}

/// The source package `dsc` with one more entry in its changelog, in a directory of its own.
pub fn next_version(dsc: &Path) -> PathBuf {
    let place = dsc.parent().unwrap().join("next");
    fs::create_dir(&place).unwrap();
    run(&place, &["dpkg-source", "--no-check", "-x", dsc.to_str().unwrap(), "tree"]);
    let changelog = place.join("tree/debian/changelog");
    let old = fs::read_to_string(&changelog).unwrap();
    let version = old.split(['(', ')']).nth(1).unwrap();
    let (name, _) = old.split_once(' ').unwrap();
    let entry = format!(
        "{name} ({version}+usine1) unstable; urgency=medium\n\n  * Next.\n\n -- Usine <usine@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n\n"
    );
    fs::write(&changelog, entry + old.as_str()).unwrap();
    run(&place, &["dpkg-source", "-b", "tree"]);
    let files = fs::read_dir(&place).unwrap().flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "dsc")).unwrap()
}

/// A package with a fault for each check: it has no copyright file, its test fails, it refuses to be removed, and it is
/// compiled without hardening flags.
pub fn faulty(place: &Path) -> PathBuf {
    let build = "\techo 'int main(void) { return 0; }' > soft.c\n\tgcc -O2 -c soft.c -o soft.o\n\tgcc soft.o -o soft\n";
    let leave = "\tmkdir -p debian/faulty/DEBIAN\n\tprintf '#!/bin/sh\\nset -e\\nexit 3\\n' > debian/faulty/DEBIAN/prerm\n\
                 \tchmod 755 debian/faulty/DEBIAN/prerm\n";
    let more = [("debian/tests/control", "Test-Command: false\nDepends:\nRestrictions: superficial\n")];
    package(place, "faulty", &[("faulty", "any")], build, leave, &more)
}

fn run(place: &Path, argv: &[&str]) {
    let done = Command::new(argv[0]).args(&argv[1..]).current_dir(place).output().unwrap();
    assert!(done.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A package whose binary has `size` random bytes.
pub fn large(place: &Path, size: u64) -> PathBuf {
    let make = format!(
        "\tmkdir -p debian/large/usr/share/large\n\thead -c {size} /dev/urandom > debian/large/usr/share/large/data\n"
    );
    package(place, "large", &[("large", "any")], "", &make, &[])
}

fn package(
    place: &Path,
    name: &str,
    binaries: &[(&str, &str)],
    build: &str,
    before: &str,
    more: &[(&str, &str)],
) -> PathBuf {
    let root = tempfile::tempdir_in(place).unwrap().keep();
    let tree = root.join(format!("{name}-1.0"));
    let write = |path: &str, text: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("debian/source/format", "3.0 (native)\n");
    write(
        "debian/changelog",
        &format!(
            "{name} (1.0) unstable; urgency=medium\n\n  * First.\n\n -- Usine <usine@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n"
        ),
    );
    let mut control = format!(
        "Source: {name}\nSection: misc\nPriority: optional\nMaintainer: Usine <usine@example.org>\n\
         Standards-Version: 4.6.2\nRules-Requires-Root: no\n"
    );
    let mut rules = format!(
        "#!/usr/bin/make -f\nclean:\n\trm -rf debian/*/DEBIAN debian/files\nbuild-indep:\nbuild build-arch:\n{build}"
    );
    for (target, architecture) in [("binary-arch", "any"), ("binary-indep", "all")] {
        rules.push_str(&format!("{target}: build-arch\n"));
        for (binary, of) in binaries {
            if *of == architecture {
                control.push_str(&format!(
                    "\nPackage: {binary}\nArchitecture: {of}\nDescription: made by a test\n Nothing.\n"
                ));
                rules.push_str(before);
                rules.push_str(&format!(
                    "\tmkdir -p debian/{binary}/DEBIAN debian/{binary}/usr/share/doc/{binary}\n\
                     \tcp debian/changelog debian/{binary}/usr/share/doc/{binary}/\n\
                     \tdpkg-gencontrol -p{binary} -Pdebian/{binary}\n\
                     \tdpkg-deb --root-owner-group -Znone --build debian/{binary} ..\n"
                ));
            }
        }
    }
    rules.push_str("binary: binary-arch binary-indep\n.PHONY: clean build build-arch build-indep binary binary-arch binary-indep\n");
    write("debian/control", &control);
    write("debian/rules", &rules);
    fs::set_permissions(tree.join("debian/rules"), Permissions::from_mode(0o755)).unwrap();
    for (path, text) in more {
        write(path, text);
    }
    run(&root, &["dpkg-source", "-b", tree.to_str().unwrap()]);
    root.join(format!("{name}_1.0.dsc"))
}

/// A file that does not compress.
pub fn random_file(path: &Path, size: u64) {
    let mut random = File::open("/dev/urandom").unwrap().take(size);
    let mut file = File::create(path).unwrap();
    std::io::copy(&mut random, &mut file).unwrap();
    file.flush().unwrap();
}
