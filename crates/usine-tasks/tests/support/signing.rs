//! A signing template, a package with something to sign, and signatures that are none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use usine_model::artifact::{ArtifactCategory, BinaryPackage};

use super::Stored;

const TEMPLATE: &str = "tiny-signed-template";
pub const CHANGELOG: &str = "tiny-signed (1:1.0+1) sid; urgency=medium\n\n  * Sign (Closes: #1234).\n\n -- Tiny <tiny@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n";
const CONTROL: &str = "Source: tiny-signed\nSection: misc\nPriority: optional\nMaintainer: Tiny <tiny@example.org>\n\
     Standards-Version: 4.6.2\n\nPackage: tiny-signed\nArchitecture: any\nDescription: tiny, signed\n Tiny.\n";

/// A binary package with what `fill` puts into its directory.
pub fn deb(root: &Path, package: &str, fill: impl FnOnce(&Path)) -> Stored {
    let tree = root.join(format!("{package}.tree"));
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {package}\nSource: tiny\nVersion: 1:1.0\nArchitecture: amd64\n\
         Maintainer: Tiny <tiny@example.org>\nDescription: tiny\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fill(&tree);
    let path = root.join(format!("{package}.deb"));
    let (from, to) = (tree.to_str().unwrap(), path.to_str().unwrap());
    let packed = Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-b", from, to]).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let parsed = usine_debian::Deb::read(&path).unwrap();
    let data = BinaryPackage {
        srcpkg_name: "tiny".into(),
        srcpkg_version: "1:1.0".into(),
        deb_fields: parsed.fields().as_map().clone(),
        deb_control_files: parsed.control_files().to_vec(),
    };
    Stored { category: ArtifactCategory::BinaryPackage, data: serde_json::to_value(data).unwrap(), files: vec![path] }
}

/// Files to be written, by path below a directory.
fn write(directory: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The package with something to sign.
pub fn tiny(root: &Path) -> Stored {
    deb(root, "tiny", |tree| {
        write(tree, &[("boot/tiny-1.0.efi", "code\n"), ("usr/lib/tiny/second.efi", "more code\n")]);
        symlink("tiny-1.0.efi", tree.join("boot/tiny.efi")).unwrap();
        symlink("../../../../../../../../etc/hostname", tree.join("boot/out.efi")).unwrap();
    })
}

pub fn files_json(files: &[&str]) -> String {
    let files: Vec<Value> = files.iter().map(|file| json!({"sig_type": "efi", "file": file})).collect();
    json!({"packages": {"tiny": {"trusted_certs": ["ab".repeat(32)], "files": files}}}).to_string()
}

/// The template; `more` are files of its source tree.
pub fn template(root: &Path, files_json: &str, more: &[(&str, &str)]) -> Stored {
    deb(root, TEMPLATE, |tree| {
        let place = tree.join("usr/share/code-signing").join(TEMPLATE);
        write(&place, &[("files.json", files_json)]);
        let own = [
            ("debian/source/format", "3.0 (native)\n"),
            ("debian/changelog", CHANGELOG),
            ("debian/control", CONTROL),
            ("debian/copyright", "Public domain.\n"),
            ("debian/rules", "#!/usr/bin/make -f\n"),
        ];
        write(&place.join("source-template"), &own);
        write(&place.join("source-template"), more);
    })
}

/// Signature files below a directory, as a signing-output.
pub fn signed(base: &Path, files: &[&str]) -> Stored {
    let signature = |file: &&str| {
        let path = base.join(format!("{file}.sig"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("signature of {file}\n")).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().map(signature).collect();
    let results: Vec<Value> = files
        .iter()
        .map(|file| json!({"file": file, "output_file": format!("{file}.sig"), "error_message": null}))
        .collect();
    let data =
        json!({"purpose": "uefi", "fingerprint": "cd".repeat(32), "results": results, "binary_package_name": "tiny"});
    Stored { category: ArtifactCategory::SigningOutput, data, files: paths }
}
