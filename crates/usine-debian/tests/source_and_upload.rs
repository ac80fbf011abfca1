//! A source package and an upload are read, and their files compared with their lists.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use usine_debian::{Algorithm, Changes, Dsc};

const DSC: &str = include_str!("data/hello_2.12.3-1.dsc");
const CHANGES: &str = include_str!("data/hello_2.12.3-1_multi.changes");

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn a_signed_dsc_is_read() {
    let dsc = Dsc::read(&data("hello_2.12.3-1.dsc")).unwrap();
    assert_eq!((dsc.source(), dsc.version()), ("hello", "2.12.3-1"));
    let fields = serde_json::to_value(dsc.fields()).unwrap();
    assert_eq!(fields["Package-List"], "\n hello deb devel optional arch=any");
    assert_eq!(fields["Build-Depends"], "debhelper-compat (= 13), texinfo");
    assert_eq!(
        fields["Files"],
        json!([
            {"md5sum": "05769fb4b6a5473356b8a84df122aeba", "size": "5", "name": "hello_2.12.3.orig.tar.gz"},
            {"md5sum": "c72246579c4437c07cebb86fbcbc6d90", "size": "7", "name": "hello_2.12.3-1.debian.tar.xz"},
        ])
    );
    assert_eq!(fields["Checksums-Sha1"][1]["size"], "7");
    assert_eq!(fields["Checksums-Sha1"][1]["name"], "hello_2.12.3-1.debian.tar.xz");
    let keys: Vec<_> = fields["Checksums-Sha256"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["sha256", "size", "name"]);
    assert_eq!(fields.as_object().unwrap().keys().next_back().unwrap(), "Files", "file order is kept");

    let [orig, debian] = dsc.files() else { panic!("{:?}", dsc.files()) };
    assert_eq!((orig.name.as_str(), orig.size), ("hello_2.12.3.orig.tar.gz", 5));
    assert_eq!(debian.md5.as_deref(), Some("c72246579c4437c07cebb86fbcbc6d90"));
    assert_eq!(debian.sha1.as_ref().unwrap().len(), 40);
    assert_eq!(debian.sha256.as_ref().unwrap().len(), 64);
}

#[test]
fn an_upload_is_read() {
    let changes = Changes::read(&data("hello_2.12.3-1_multi.changes")).unwrap();
    assert_eq!((changes.source(), changes.version()), (Some("hello"), Some("2.12.3-1")));
    assert_eq!(changes.architectures().collect::<Vec<_>>(), ["source", "amd64", "all"]);
    assert!(changes.is_source());
    assert!(!changes.is_source_only());
    assert_eq!(changes.source_packages().collect::<Vec<_>>(), ["hello_2.12.3-1.dsc"]);
    assert_eq!(
        changes.binary_packages("amd64").collect::<Vec<_>>(),
        ["hello-dbgsym_2.12.3-1_amd64.deb", "hello-installer_2.12.3-1_amd64.udeb"]
    );
    assert_eq!(changes.binary_packages("64").count(), 0);
    assert_eq!(changes.names().count(), 6);
    assert_eq!(changes.listing().names(Algorithm::Sha256).count(), 6);
    let fields = serde_json::to_value(changes.fields()).unwrap();
    assert_eq!(fields["Changes"], "\n hello (2.12.3-1) unstable; urgency=medium\n .\n   * New upstream release.");
    assert_eq!(
        fields["Files"][2],
        json!({
            "md5sum": changes.files()[2].md5,
            "size": "4",
            "section": "debug",
            "priority": "optional",
            "name": "hello-dbgsym_2.12.3-1_amd64.deb",
        })
    );
}

#[test]
fn a_source_upload_is_one() {
    let changes = Changes::from_text("x.changes", "Architecture: source\n").unwrap();
    assert!(changes.is_source_only());
    assert_eq!(changes.files(), []);
    assert!(!Changes::from_text("x.changes", "Source: x\n").unwrap().is_source_only());
}

#[test]
fn a_field_that_is_missing_is_named() {
    let error = |text| Dsc::from_text("x.dsc", text).unwrap_err().to_string();
    assert_eq!(error("Version: 1\n"), "'x.dsc' does not contain Source field");
    assert_eq!(error("Source: x\n"), "'x.dsc' does not contain Version field");
    assert_eq!(error(""), "'x.dsc' is not a control file: line 1: there are no fields");
}

#[test]
fn a_name_that_leaves_the_directory_is_refused_in_each_list() {
    for (number, field) in [(0, "Checksums-Sha1"), (1, "Checksums-Sha256"), (2, "Files")] {
        for bad in ["../hello_2.12.3.orig.tar.gz", "/etc/passwd", "..", "a/b"] {
            let lists = DSC.match_indices("hello_2.12.3.orig.tar.gz").nth(number).unwrap().0;
            let mut text = DSC.to_owned();
            text.replace_range(lists..lists + "hello_2.12.3.orig.tar.gz".len(), bad);
            assert_eq!(
                Dsc::from_text("hello.dsc", &text).unwrap_err().to_string(),
                format!("'hello.dsc' has an entry in {field} with more than one path component: '{bad}'")
            );

            let lists = CHANGES.match_indices("hello_2.12.3-1.dsc").nth(number).unwrap().0;
            let mut text = CHANGES.to_owned();
            text.replace_range(lists..lists + "hello_2.12.3-1.dsc".len(), bad);
            assert_eq!(
                Changes::from_text("hello.changes", &text).unwrap_err().to_string(),
                format!("'hello.changes' has an entry in {field} with more than one path component: '{bad}'")
            );
        }
    }
}

#[test]
fn malformed_and_contradictory_lists_are_refused() {
    let error = |lists: &str| Changes::from_text("x.changes", lists).unwrap_err().to_string();
    assert_eq!(
        error("Files:\n abc 5 x.deb\n"),
        "'x.changes' has a malformed entry in Files: 'abc 5 x.deb'; expected 'md5sum size section priority name'"
    );
    for size in ["+5", "-5", "5k", "99999999999999999999999"] {
        assert_eq!(
            error(&format!("Checksums-Sha1:\n abc {size} x\n")),
            format!("'x.changes' has a malformed entry in Checksums-Sha1: 'abc {size} x'; expected 'sha1 size name'")
        );
    }
    assert_eq!(
        error("Checksums-Sha1:\n a 5 x\nChecksums-Sha256:\n b 6 x\n"),
        "'x.changes' contradicts itself about 'x': its size is 5 and 6"
    );
    assert_eq!(
        error("Checksums-Sha1:\n a 5 x\n b 5 x\n"),
        "'x.changes' contradicts itself about 'x': it is twice in Checksums-Sha1"
    );
}

#[test]
fn field_names_are_found_in_any_spelling() {
    let dsc = Dsc::from_text("x.dsc", "SOURCE: x\nversion: 1\nfiles:\n abc 5 x.tar\n").unwrap();
    assert_eq!(dsc.files()[0].name, "x.tar");
    assert_eq!(dsc.fields().as_map()["files"], json!([{"md5sum": "abc", "size": "5", "name": "x.tar"}]));
    assert!(matches!(dsc.fields().get("Files"), Some(Value::Array(_))));
}

#[test]
fn files_are_compared_with_the_lists() {
    let dsc = Dsc::from_text("hello.dsc", DSC).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let orig = directory.path().join("hello_2.12.3.orig.tar.gz");
    let debian = directory.path().join("hello_2.12.3-1.debian.tar.xz");
    fs::write(&orig, "orig\n").unwrap();
    fs::write(&debian, "debian\n").unwrap();
    assert_eq!(dsc.listing().verify(directory.path()).unwrap(), [""; 0]);

    fs::write(&debian, "another\n").unwrap();
    let problems = dsc.listing().verify(directory.path()).unwrap();
    assert_eq!(problems.len(), 3);
    assert_eq!(
        problems[2],
        "md5 for file hello_2.12.3-1.debian.tar.xz does not match: expected: c72246579c4437c07cebb86fbcbc6d90 \
         actual: 3740570a423feec44c2a759225a9fcf9. Size expected: 7 actual: 8"
    );
    assert!(problems[0].starts_with("sha1 for file "), "{problems:?}");
    assert!(problems[1].starts_with("sha256 for file "), "{problems:?}");

    fs::write(&debian, "debian\n").unwrap();
    fs::rename(&orig, directory.path().join("elsewhere")).unwrap();
    let missing = ["Checksums-Sha1", "Checksums-Sha256", "Files"]
        .map(|section| format!("File in .changes section {section} does not exist: 'hello_2.12.3.orig.tar.gz'"));
    assert_eq!(dsc.listing().verify(directory.path()).unwrap(), missing);

    std::os::unix::fs::symlink("elsewhere", &orig).unwrap();
    assert_eq!(dsc.listing().verify(directory.path()).unwrap(), missing, "a link is not a file");
    fs::remove_file(&orig).unwrap();
    fs::create_dir(&orig).unwrap();
    assert_eq!(dsc.listing().verify(directory.path()).unwrap(), missing, "a directory is not a file");
}

proptest::proptest! {
    #[test]
    fn arbitrary_lists_never_panic(line in "\\PC{0,40}", field in "Files|Checksums-Sha1|checksums-sha256") {
        let text = format!("Source: x\nVersion: 1\n{field}:\n {line}\n abc 5 ../{line}\n");
        let _ = Dsc::from_text("x.dsc", &text);
        let _ = Changes::from_text("x.changes", &text);
    }
}
