//! Source packages for these stories: Debian's own, and small ones made here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use usine_debian::Dsc;
use usine_model::artifact::{ArtifactCategory, PackageFormat, SourcePackage};

use crate::house::output;
use crate::support::Stored;

/// A source package on disk as an artifact.
pub fn artifact(dsc: &Path) -> Stored {
    let parsed = Dsc::read(dsc).unwrap();
    let data = SourcePackage {
        name: parsed.source().to_owned(),
        version: parsed.version().to_owned(),
        format: PackageFormat::Dpkg,
        dsc_fields: parsed.fields().as_map().clone(),
    };
    let beside = parsed.listing().files().iter().map(|file| dsc.with_file_name(&file.name));
    let files = std::iter::once(dsc.to_owned()).chain(beside).collect();
    Stored { category: ArtifactCategory::SourcePackage, data: serde_json::to_value(data).unwrap(), files }
}

/// A native source package `NAME_VERSION` of the files given below `debian/` (and of others, by `../NAME`), beside a
/// changelog and a source format.
pub fn package(directory: &Path, name: &str, version: &str, files: &[(&str, &str)]) -> PathBuf {
    let tree = directory.join(format!("{name}-{version}"));
    let changelog = format!(
        "{name} ({version}) unstable; urgency=medium\n\n  * Version {version}.\n\n -- Tiny <tiny@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n"
    );
    let own = [("source/format", "3.0 (native)\n"), ("changelog", changelog.as_str())];
    for (path, content) in own.iter().chain(files) {
        let path = tree.join("debian").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }
    fs::set_permissions(tree.join("debian/rules"), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = directory.display().to_string();
    output(&["sh", "-c", r#"cd "$1" && dpkg-source -b "$2""#, "pack", &directory, &format!("{name}-{version}")]);
    Path::new(&directory).join(format!("{name}_{version}.dsc"))
}

/// `debian/control` of [`tiny`], and a start for others.
pub const CONTROL: &str = "Source: tiny\nSection: misc\nPriority: optional\nMaintainer: Tiny <tiny@example.org>\n\
     Standards-Version: 4.6.2\nRules-Requires-Root: no\n\nPackage: tiny\nArchitecture: any\nDescription: tiny\n Tiny.\n\n\
     Package: tiny-doc\nArchitecture: all\nDescription: tiny's documents\n Tiny.\n";

/// `debian/rules` without debhelper: `build` is what the target of that name does.
pub fn rules(build: &str) -> String {
    format!(
        "#!/usr/bin/make -f\nclean:\n\trm -rf debian/tiny debian/tiny-doc\nbuild build-arch build-indep:\n{build}\
         binary: binary-arch binary-indep\nbinary-arch: P = tiny\nbinary-indep: P = tiny-doc\n\
         binary-arch binary-indep: build\n\
         \tmkdir -p debian/$(P)/DEBIAN debian/$(P)/usr/share/doc/$(P)\n\
         \tcp debian/changelog debian/$(P)/usr/share/doc/$(P)/\n\
         \tdpkg-gencontrol -p$(P) -Pdebian/$(P)\n\
         \tdpkg-deb --root-owner-group --build debian/$(P) ..\n\
         .PHONY: clean build build-arch build-indep binary binary-arch binary-indep\n"
    )
}

/// A package without build dependencies that makes one binary for any architecture and one for all.
pub fn tiny(directory: &Path) -> PathBuf {
    package(directory, "tiny", "1.0", &[("control", CONTROL), ("rules", &rules(""))])
}
