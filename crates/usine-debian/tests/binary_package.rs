//! Binary packages, built here with dpkg-deb as Debian's are, are read; damaged ones are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use usine_debian::{Deb, build_ids, extract_build_ids};

const CONTROL: &str = "Package: hello\nSource: foo (1.2)\nVersion: 2.12.3-1+b1\nArchitecture: amd64\n\
    Maintainer: Ann Example <ann@example.org>\nInstalled-Size: 368\nDescription: example package\n The long text.\n .\n  verbatim\n";

/// A package with these files, compressed in this way.
fn build(directory: &TempDir, compression: &str, control: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let tree = tempfile::tempdir_in(directory).unwrap();
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(tree.path().join("DEBIAN")).unwrap();
    fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
    fs::write(tree.path().join("DEBIAN/md5sums"), "").unwrap();
    for (name, content) in files {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let deb = directory.path().join(format!("hello_{compression}.deb"));
    let output = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--uniform-compression", &format!("-Z{compression}"), "--build"])
        .args([tree.path(), &deb])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    deb
}

fn build_id(digit: char) -> (String, String) {
    let rest = digit.to_string().repeat(38);
    (format!("ab{rest}"), format!("usr/lib/debug/.build-id/ab/{rest}.debug"))
}

/// A `.deb` around a data archive made by hand, for members that dpkg-deb would not write.
fn wrap(directory: &TempDir, data: &[u8]) -> PathBuf {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &[]), ("data.tar", data)] {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        bytes.extend(content);
    }
    let path = directory.path().join("hand-made.deb");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_compression_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (id, file) = build_id('c');
    for compression in ["none", "gzip", "xz", "zstd"] {
        let path = build(&directory, compression, CONTROL, &[(&file, b"symbols"), ("usr/share/doc/x", b"y")]);
        let deb = Deb::read(&path).unwrap();
        assert_eq!(deb.source(), ("foo", "1.2"));
        assert_eq!(deb.control_files(), ["control", "md5sums"]);
        assert_eq!(deb.fields().text("Installed-Size"), Some("368"));
        assert_eq!(deb.fields().text("description"), Some("example package\n The long text.\n .\n  verbatim"));
        assert_eq!(build_ids(&path).unwrap(), [id.as_str()], "{compression}");
    }
}

#[test]
fn debug_symbols_are_extracted() {
    let directory = tempfile::tempdir().unwrap();
    let (first, first_file) = build_id('1');
    let (second, second_file) = build_id('2');
    let large = vec![7; 300_000];
    let path = build(&directory, "xz", CONTROL, &[(&first_file, b"one"), (&second_file, &large)]);
    let target = directory.path().join("symbols");
    fs::create_dir(&target).unwrap();
    let mut ids = extract_build_ids(&path, &target).unwrap();
    ids.sort();
    assert_eq!(ids, [first.clone(), second.clone()]);
    assert_eq!(fs::read(target.join(first)).unwrap(), b"one");
    assert_eq!(fs::read(target.join(second)).unwrap(), large);
    assert!(extract_build_ids(&path, &target).unwrap_err().to_string().starts_with("cannot write "), "never twice");
}

#[test]
fn a_package_without_debug_symbols_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = build(&directory, "xz", CONTROL, &[("usr/bin/hello", b"x")]);
    assert_eq!(build_ids(&path).unwrap(), [""; 0]);
}

#[test]
fn another_name_among_the_build_ids_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let upper = build_id('C').1;
    for name in ["usr/lib/debug/.build-id/ab/cd.debug", "usr/lib/debug/.build-id/README", &upper] {
        let path = build(&directory, "none", CONTROL, &[(name, b"x")]);
        let error = build_ids(&path).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is not named by a build-id"), "{error}");
    }
}

#[test]
fn links_are_no_debug_symbols_and_no_id_comes_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (id, file) = build_id('c');
    let name = format!("./{file}");
    let mut tar = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, &name, "/etc/passwd").unwrap();
    assert_eq!(build_ids(&wrap(&directory, &tar.clone_bytes())).unwrap(), [""; 0]);

    for _ in 0..2 {
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        tar.append_data(&mut header, &name, &b"abc"[..]).unwrap();
    }
    let error = build_ids(&wrap(&directory, &tar.clone_bytes())).unwrap_err().to_string();
    assert!(error.ends_with(&format!("it has the build-id {id} twice")), "{error}");
}

/// The bytes written so far, closed as an archive.
trait CloneBytes {
    fn clone_bytes(&self) -> Vec<u8>;
}

impl CloneBytes for tar::Builder<Vec<u8>> {
    fn clone_bytes(&self) -> Vec<u8> {
        let mut bytes = self.get_ref().clone();
        bytes.extend([0; 1024]);
        bytes
    }
}

#[test]
fn a_member_name_of_many_megabytes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(8 << 20);
    header.set_cksum();
    let mut data = header.as_bytes().to_vec();
    data.resize(512 + (8 << 20), b'x');
    let error = build_ids(&wrap(&directory, &data)).unwrap_err().to_string();
    assert!(error.contains("more than is allowed"), "{error}");
}

#[test]
fn a_control_archive_that_explodes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = build(&directory, "xz", CONTROL, &[]);
    // Where the control archive is small, put one of 80 MiB of zeros into its place.
    let tree = directory.path().join("bomb");
    fs::create_dir(&tree).unwrap();
    fs::File::create(tree.join("zeros")).unwrap().set_len(80 << 20).unwrap();
    let archive = directory.path().join("control.tar.gz");
    let run = Command::new("tar")
        .args(["--gzip", "--create", "--file"])
        .arg(&archive)
        .arg("--directory")
        .args([&tree, Path::new(".")])
        .status();
    assert!(run.unwrap().success());
    let control = fs::read(&archive).unwrap();
    assert!(control.len() < 1 << 20);
    let mut bytes = fs::read(&path).unwrap()[..72].to_vec();
    bytes.extend(
        format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "control.tar.gz", 0, 0, 0, 100_644, control.len()).bytes(),
    );
    bytes.extend(control);
    fs::write(&path, bytes).unwrap();
    let error = Deb::read(&path).unwrap_err().to_string();
    assert!(error.contains("more than is allowed"), "{error}");
}

#[test]
fn a_truncated_package_is_refused_wherever_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (_, file) = build_id('c');
    let whole = fs::read(build(&directory, "xz", CONTROL, &[(&file, b"symbols")])).unwrap();
    let path = directory.path().join("cut.deb");
    // The last byte may be padding, which is not missed.
    for length in (0..whole.len() - 1).step_by(7).chain([whole.len() - 2]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Deb::read(&path).unwrap_err().to_string();
        assert!(error.starts_with("'cut.deb' is not a readable binary package: "), "{length}: {error}");
        assert!(build_ids(&path).is_err(), "{length}");
    }
}

#[test]
fn a_package_without_what_it_needs_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = Deb::read(&wrap(&directory, &[])).unwrap_err().to_string();
    assert!(error.ends_with("its control archive has no file control"), "{error}");
    assert!(Deb::read(&directory.path().join("absent.deb")).unwrap_err().to_string().starts_with("cannot read "));
}
