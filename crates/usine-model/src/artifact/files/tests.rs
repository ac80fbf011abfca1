//! Files that each category takes and refuses, and the content types that it imposes.

use serde_json::json;
use strum::IntoEnumIterator;

use super::*;
use ArtifactCategory as Category;

const ONE: &str = "0123456789abcdef0123456789abcdef01234567";
const TWO: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn listing(field: &str, names: &[&str]) -> Value {
    let entries: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    json!({field: {"Files": entries}})
}

/// The data that matter for the files, names that fit, and names that do not, each with its message.
type Case = (Value, &'static [&'static [&'static str]], &'static [(&'static [&'static str], &'static str)]);

fn case(category: Category) -> Case {
    const DSC: &str = "hello_1.dsc";
    const TAR: &str = "hello_1.tar.xz";
    const DEB: &str = "hello_1_amd64.deb";
    let any = json!({});
    match category {
        Category::SourcePackage => (
            listing("dsc_fields", &[TAR]),
            &[&[DSC, TAR]],
            &[
                (&[TAR], "Expecting 1 .dsc file in ['hello_1.tar.xz']"),
                (&[], "Expecting 1 .dsc file in []"),
                (&["b.dsc", "a.dsc", TAR], "Expecting 1 .dsc file in ['a.dsc', 'b.dsc', 'hello_1.tar.xz']"),
                (
                    &[DSC],
                    "Files in the package and listed in the .dsc must match. Files: [] Listed: ['hello_1.tar.xz']",
                ),
                (
                    &[DSC, TAR, "x"],
                    "Files in the package and listed in the .dsc must match. Files: ['hello_1.tar.xz', 'x'] Listed: ['hello_1.tar.xz']",
                ),
                (
                    &[DSC, "sub/hello_1.tar.xz"],
                    "Files in the package and listed in the .dsc must match. Files: ['sub/hello_1.tar.xz'] Listed: ['hello_1.tar.xz']",
                ),
            ],
        ),
        Category::Upload => (
            listing("changes_fields", &[DSC, TAR]),
            &[&["hello_1_source.changes", DSC, TAR]],
            &[
                (&[DSC, TAR], "Expecting 1 .changes file in ['hello_1.dsc', 'hello_1.tar.xz']"),
                (
                    &["a.changes", "b.changes", DSC, TAR],
                    "Expecting 1 .changes file in ['a.changes', 'b.changes', 'hello_1.dsc', 'hello_1.tar.xz']",
                ),
                (
                    &["a.changes", DSC],
                    "Files in the upload and listed in the .changes must match. Files: ['hello_1.dsc'] Listed: ['hello_1.dsc', 'hello_1.tar.xz']",
                ),
            ],
        ),
        Category::BinaryPackage => (
            any,
            &[&[DEB], &["hello_1_amd64.udeb"]],
            &[
                (&[], "Must have exactly one file, found []"),
                (&[DEB, "b.udeb"], "Must have exactly one file, found ['b.udeb', 'hello_1_amd64.deb']"),
                (
                    &["hello-dbgsym_1_amd64.ddeb"],
                    "Valid file suffixes: ['.deb', '.udeb']. Invalid filename: \"hello-dbgsym_1_amd64.ddeb\"",
                ),
                (&["hello.DEB"], "Valid file suffixes: ['.deb', '.udeb']. Invalid filename: \"hello.DEB\""),
            ],
        ),
        Category::BinaryPackages => (
            any,
            &[&[DEB], &[DEB, "hello_1_amd64.udeb"]],
            &[
                (&[], "Expected at least one file"),
                (&[DEB, "x.ddeb"], "Valid file suffixes: ['.deb', '.udeb']. Invalid filename: \"x.ddeb\""),
            ],
        ),
        Category::PackageBuildLog => (
            any,
            &[&["hello_1_amd64.build"]],
            &[
                (&[], "Expected number of files: 1 Actual: 0"),
                (&["a.build", "b.build"], "Expected number of files: 1 Actual: 2"),
                (&["hello.log"], "Valid file suffixes: ['.build']. Invalid filename: \"hello.log\""),
            ],
        ),
        Category::DebugSymbols => (
            json!({"build_ids": [TWO, ONE]}),
            &[&[ONE, TWO], &[TWO, ONE]],
            &[
                (
                    &[ONE],
                    "Files in the artifact and build_ids must match. Files: ['0123456789abcdef0123456789abcdef01234567'] Listed: ['0123456789abcdef0123456789abcdef01234567', '89abcdef0123456789abcdef0123456789abcdef']",
                ),
                (&[ONE, TWO, "x.debug"], "Files in the artifact and build_ids must match. Files: ['0123456"),
            ],
        ),
        Category::SystemTarball => (
            json!({"filename": "system.tar.xz"}),
            &[&["system.tar.xz"]],
            &[
                (&[], "Expected number of files: 1 Actual: 0"),
                (&["system.tar.xz", "b.tar.xz"], "Expected number of files: 1 Actual: 2"),
                (&["system.tar.gz"], "Valid file suffixes: ['.tar.xz']. Invalid filename: \"system.tar.gz\""),
            ],
        ),
        Category::SystemImage => (
            any,
            &[&["image.tar.xz"], &["image.qcow2"]],
            &[
                (&[], "Expected number of files: 1 Actual: 0"),
                (&["image.raw"], "Valid file suffixes: ['.tar.xz', '.qcow2']. Invalid filename: \"image.raw\""),
            ],
        ),
        Category::Lintian => (
            any,
            &[&["lintian.txt", "analysis.json"]],
            &[
                (&[], "Files required: ['analysis.json', 'lintian.txt'] Actual: []"),
                (&["lintian.txt"], "Files required: ['analysis.json', 'lintian.txt'] Actual: ['lintian.txt']"),
                (&["lintian.txt", "analysis.json", "x"], "Files required: ['analysis.json', 'lintian.txt'] Actual: ["),
            ],
        ),
        Category::Autopkgtest => (
            any,
            &[&[], &["log", "summary", "artifacts/binaries/x", "binaries.txt"]],
            &[(
                &["log", "binaries/hello.deb"],
                "Invalid file \"binaries/hello.deb\": test results do not include the packages in binaries/",
            )],
        ),
        Category::Piuparts => (
            any,
            &[&["piuparts.txt"]],
            &[
                (&[], "Files required: ['piuparts.txt'] Actual: []"),
                (&["x.txt"], "Files required: ['piuparts.txt'] Actual: ['x.txt']"),
            ],
        ),
        Category::Blhc => (any, &[&["blhc.txt"]], &[(&["x"], "Files required: ['blhc.txt'] Actual: ['x']")]),
        Category::Debdiff => (any, &[&["debdiff.txt"]], &[(&["x"], "Files required: ['debdiff.txt'] Actual: ['x']")]),
        Category::RepositoryIndex => (
            json!({"path": "main/binary-amd64/Packages.xz"}),
            &[&["Packages.xz"]],
            &[
                (&[], "Expected number of files: 1 Actual: 0"),
                (&["Packages.xz", "Packages"], "Expected number of files: 1 Actual: 2"),
                (&["Packages"], "Expected file name: \"Packages.xz\" Actual: \"Packages\""),
                (
                    &["main/binary-amd64/Packages.xz"],
                    "Expected file name: \"Packages.xz\" Actual: \"main/binary-amd64/Packages.xz\"",
                ),
            ],
        ),
        Category::SigningInput => (any, &[&["a"], &["grub/boot/a.efi", "b"]], &[(&[], "Expected at least one file")]),
        Category::SigningOutput => (
            json!({"results": [
                {"file": "a", "output_file": "a.sig"},
                {"file": "b", "output_file": null, "error_message": "no key"},
            ]}),
            &[&["a.sig"]],
            &[
                (&[], "Files in the artifact and output_file of the results must match. Files: [] Listed: ['a.sig']"),
                (
                    &["a.sig", "b.sig"],
                    "Files in the artifact and output_file of the results must match. Files: ['a.sig', 'b.sig'] Listed: ['a.sig']",
                ),
            ],
        ),
        Category::WorkRequestDebugLogs => (
            any,
            &[&[], &["cmd-output.log", "stages.log"]],
            &[(&["logs/a.log"], "Invalid file \"logs/a.log\": debug logs are not in directories")],
        ),
        Category::Test => (any, &[&[], &["x", "y/z.dsc", "a.dsc"]], &[]),
    }
}

#[test]
fn each_category_has_its_files() {
    for category in Category::iter() {
        let (data, fitting, refused) = case(category);
        for files in fitting {
            assert_eq!(validate_files(category, &data, files.iter().copied()), Ok(()), "{category} {files:?}");
        }
        for (files, expected) in refused {
            let error = validate_files(category, &data, files.iter().copied()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{category} {files:?}: {error:?}");
        }
    }
}

#[test]
fn what_the_data_do_not_say_is_not_asked() {
    for data in [json!({"dsc_fields": {}}), json!({"dsc_fields": {"Files": "x"}}), json!({})] {
        assert_eq!(validate_files(Category::SourcePackage, &data, ["a.dsc", "a.tar.xz"]), Ok(()), "{data}");
    }
    for data in [json!({"path": null}), json!({})] {
        assert_eq!(validate_files(Category::RepositoryIndex, &data, ["Packages"]), Ok(()));
    }
    // Nothing was signed.
    let nothing = json!({"results": [{"file": "b", "error_message": "no key"}]});
    assert_eq!(validate_files(Category::SigningOutput, &nothing, []), Ok(()));
}

#[test]
fn a_control_file_is_compared_with_its_own_list() {
    assert_eq!(ControlFile::of(Category::Upload), Some(ControlFile::Changes));
    assert_eq!(ControlFile::of(Category::SourcePackage), Some(ControlFile::Dsc));
    assert_eq!(ControlFile::of(Category::BinaryPackage), None);
    assert_eq!(ControlFile::Dsc.compare(["a.dsc", "b", "c"], ["c", "b"]), Ok(()));
    let differing = InvalidFiles::NotAsListed {
        what: "package and listed in the .dsc",
        files: vec!["b".to_owned()],
        listed: vec!["b".to_owned(), "c".to_owned()],
    };
    assert_eq!(ControlFile::Dsc.compare(["a.dsc", "b"], ["b", "c"]), Err(differing));
}

#[test]
fn content_types_are_imposed() {
    let (text, bytes) = (Some("text/plain; charset=utf-8"), Some("application/octet-stream"));
    for (category, path, expected) in [
        (Category::Upload, "hello_1_source.changes", text),
        (Category::Upload, "hello_1.tar.xz", None),
        (Category::PackageBuildLog, "hello.build", text),
        (Category::WorkRequestDebugLogs, "env-and-cmd", text),
        (Category::DebugSymbols, ONE, bytes),
        (Category::SigningInput, "hello_1_amd64.changes", bytes),
        (Category::SigningOutput, "a.sig", bytes),
        (Category::RepositoryIndex, "Release", text),
        (Category::RepositoryIndex, "Release.gpg", Some("application/pgp-signature; charset=utf-8")),
        (Category::RepositoryIndex, "InRelease", Some("text/PGP; charset=utf-8")),
        (Category::RepositoryIndex, "Packages.xz", Some("application/x-xz; charset=binary")),
        (Category::RepositoryIndex, "Packages", None),
        (Category::Lintian, "lintian.txt", None),
        (Category::Test, "Release", None),
    ] {
        assert_eq!(imposed_content_type(category, path), expected, "{category} {path}");
    }
}
