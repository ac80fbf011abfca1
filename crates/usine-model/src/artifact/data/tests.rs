//! A good and a bad example of every category, every rule of uploads, every label.

use serde_json::json;
use strum::IntoEnumIterator;

use super::*;
use ArtifactCategory as Category;

const BUILD_ID: &str = "0123456789abcdef0123456789abcdef01234567";

/// Valid data with every key, and its label.
fn example(category: Category) -> (Value, &'static str) {
    match category {
        Category::SourcePackage => (
            json!({"name": "hello", "version": "1:2.12.3-1", "type": "dpkg", "dsc_fields": {"Source": "hello", "Files": []}}),
            "hello_1:2.12.3-1",
        ),
        Category::BinaryPackage => (
            json!({
                "srcpkg_name": "hello", "srcpkg_version": "2.12.3-1",
                "deb_fields": {"Package": "hello-l10n", "Version": "2.12.3-1+b1", "Architecture": "amd64"},
                "deb_control_files": ["control", "md5sums"],
            }),
            "hello-l10n_2.12.3-1+b1_amd64",
        ),
        Category::BinaryPackages => (
            json!({
                "srcpkg_name": "hello", "srcpkg_version": "2.12.3-1", "version": "2.12.3-1+b1", "architecture": "amd64",
                "packages": ["hello"],
            }),
            "hello_2.12.3-1",
        ),
        Category::Upload => (upload("source", &["hello_2.12.3-1.dsc"]), "hello_2.12.3-1"),
        Category::PackageBuildLog => (
            json!({
                "source": "hello", "version": "2.12.3-1", "architecture": "amd64",
                "filename": "hello_2.12.3-1_amd64-2026-01-01T00:00:00Z.build", "bd_uninstallable": dose3(),
            }),
            "hello_2.12.3-1_amd64-2026-01-01T00:00:00Z",
        ),
        Category::DebugSymbols => (json!({"build_ids": [BUILD_ID]}), "debug-symbols (1 build-id)"),
        Category::SystemTarball => (system("system.tar.xz", json!({})), "system.tar.xz"),
        Category::SystemImage => (
            system(
                "system.qcow2",
                json!({"image_format": "qcow2", "filesystem": "ext4", "size": 5_000_000_000_u64, "boot_mechanism": "efi"}),
            ),
            "system.qcow2",
        ),
        Category::Lintian => (
            json!({
                "architecture": "all",
                "summary": {
                    "tags_count_by_severity": {
                        "error": 0, "warning": 1, "info": "2", "pedantic": 0, "experimental": 0, "overridden": 0,
                        "classification": 0,
                    },
                    "package_filename": {"hello": "hello_2.12.3-1.dsc", "aaa": "aaa_1_all.deb"},
                    "tags_found": ["no-manual-page"],
                    "overridden_tags_found": [],
                    "lintian_version": "2.118.0",
                    "distribution": "debian:unstable",
                },
            }),
            "lintian: aaa, hello",
        ),
        Category::Autopkgtest => (
            json!({
                "results": {"upstream": {"status": "PASS"}, "flaky one": {"status": "FLAKY", "details": "non-zero exit"}},
                "cmdline": "autopkgtest hello.dsc -- unshare",
                "source_package": {"name": "hello", "version": "2.12.3-1", "url": "https://example.org/hello_2.12.3-1.dsc"},
                "architecture": "amd64",
                "distribution": "debian:sid",
            }),
            "hello",
        ),
        Category::Piuparts => (
            json!({
                "piuparts_version": "1.6.0", "binary_packages": {"zzz": "1", "hello": "2.12.3-1"}, "architecture": "amd64",
                "distribution": "debian:trixie",
            }),
            "piuparts: hello, zzz",
        ),
        Category::Blhc => (
            json!({"source": "hello", "version": "2.12.3-1", "architecture": "amd64"}),
            "blhc analysis for hello_2.12.3-1_amd64",
        ),
        Category::Debdiff => {
            (json!({"original": "a.dsc", "new": "b.dsc", "label": "debdiff hello 1 2"}), "debdiff hello 1 2")
        }
        Category::RepositoryIndex => {
            (json!({"path": "main/binary-amd64/Packages.xz"}), "main/binary-amd64/Packages.xz")
        }
        Category::SigningInput => {
            (json!({"trusted_certs": ["ab12"], "binary_package_name": "grub"}), "debusine:signing-input")
        }
        Category::SigningOutput => (
            json!({
                "purpose": "openpgp-repository", "fingerprint": "AB12", "binary_package_name": null,
                "results": [
                    {"file": "a", "output_file": "a.sig", "error_message": null},
                    {"file": "b", "error_message": "no key"},
                ],
            }),
            "debusine:signing-output",
        ),
        Category::WorkRequestDebugLogs => (json!({}), "debusine:work-request-debug-logs"),
        Category::Test => (json!({"anything": [1, {"goes": null}]}), "debusine:test"),
    }
}

fn upload(architecture: &str, files: &[&str]) -> Value {
    let files: Vec<Value> = files.iter().map(|name| json!({"name": name, "size": "10"})).collect();
    let fields = json!({"Source": "hello", "Version": "2.12.3-1", "Architecture": architecture, "Files": files});
    json!({"type": "dpkg", "changes_fields": fields})
}

fn system(filename: &str, more: Value) -> Value {
    let mut data = json!({
        "filename": filename, "vendor": "debian", "codename": "sid", "mirror": "http://mirror.example.org",
        "components": ["main"], "variant": null, "pkglist": {"dpkg": "1.23"}, "architecture": "amd64", "with_dev": true,
        "with_init": false,
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    data
}

fn dose3() -> Value {
    json!({
        "output-version": "1.2", "native-architecture": "amd64", "foreign-architecture": null,
        "report": [
            {
                "package": "sbuild-build-depends-main-dummy", "version": "0.invalid.0", "architecture": "amd64",
                "essential": "false", "type": "bin", "status": "broken",
                "reasons": [{
                    "missing": {
                        "pkg": {"package": "foo", "version": "1.10", "unsat-dependency": "bar:amd64 (>= 1)"},
                        "depchains": [{"depchain": [{"package": "baz", "version": "1", "depends": "foo"}]}],
                    },
                }, {
                    "conflict": {
                        "pkg1": {"package": "foo", "version": "1.10", "unsat-conflict": "bar"},
                        "pkg2": {"package": "bar", "version": "2"},
                        "depchain2": [{"depchain": []}],
                    },
                }],
            },
            {"package": "fine", "version": "1", "essential": true, "source": "fine (= 1)", "status": "ok", "reasons": []},
        ],
        "background-packages": "63441", "foreground-packages": 1, "total-packages": "63442", "broken-packages": 1,
    })
}

/// The valid example with the value at a JSON pointer replaced, or a key added there.
fn with(category: Category, pointer: &str, value: Value) -> Value {
    let mut data = example(category).0;
    match data.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            data.pointer_mut(parent).unwrap()[key] = value;
        }
    }
    data
}

/// The valid example without the key at a JSON pointer.
fn without(category: Category, pointer: &str) -> Value {
    let mut data = example(category).0;
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    data.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(key).unwrap();
    data
}

fn error(category: Category, data: &Value) -> String {
    match validate_data(category, data) {
        Ok(()) => panic!("{category} accepts {data}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn examples_are_valid_and_labelled() {
    for category in Category::iter() {
        let (data, expected) = example(category);
        assert_eq!(validate_data(category, &data), Ok(()), "{category}");
        assert_eq!(label(category, &data, &[]), expected, "{category}");
    }
}

#[test]
fn only_objects_without_unknown_keys() {
    for category in Category::iter() {
        for other in [json!([]), json!(null), json!("{}"), json!(["hello", "1", "dpkg", {}])] {
            assert_eq!(error(category, &other), "data must be a dictionary");
        }
        if category != Category::Test {
            let message = error(category, &with(category, "/colour", json!("red")));
            assert!(message.starts_with("colour: unknown field `colour`"), "{category}: {message}");
        }
    }
}

#[test]
fn null_is_missing_for_optional_keys_and_an_error_for_others() {
    // At the top of the data.
    let optional = |category| -> &[&str] {
        match category {
            Category::PackageBuildLog => &["architecture", "bd_uninstallable"],
            Category::SystemTarball | Category::SystemImage => &["variant"],
            Category::Lintian => &["architecture"],
            Category::Blhc => &["source", "version", "architecture"],
            Category::Debdiff => &["label"],
            Category::RepositoryIndex => &["path"],
            Category::SigningInput => &["trusted_certs", "binary_package_name"],
            Category::SigningOutput => &["binary_package_name"],
            _ => &[],
        }
    };
    for category in Category::iter().filter(|category| *category != Category::Test) {
        // The components have a test of their own.
        for key in example(category).0.as_object().unwrap().keys().filter(|key| *key != "components") {
            let pointer = format!("/{key}");
            let (missing, null) = (without(category, &pointer), with(category, &pointer, Value::Null));
            if optional(category).contains(&key.as_str()) {
                assert_eq!(validate_data(category, &missing), Ok(()), "{category} {key}");
                assert_eq!(validate_data(category, &null), Ok(()), "{category} {key}");
            } else {
                assert_eq!(error(category, &missing), format!("missing field `{key}`"), "{category}");
                assert!(error(category, &null).starts_with(&format!("{key}: ")), "{category} {key}");
            }
        }
    }
}

#[test]
fn wrong_values_are_named_by_their_path() {
    let duplicate = format!("build_ids: duplicate build_id '{BUILD_ID}' in build_ids");
    let one_of_two = "results[0]: Exactly one of output_file and error_message must be set";
    let not_a_list = "expected an object, not a list";
    for (category, pointer, value, expected) in [
        (Category::SourcePackage, "/type", json!("rpm"), "type: unknown variant `rpm`"),
        (Category::SourcePackage, "/dsc_fields", json!("x"), "dsc_fields: invalid type"),
        (Category::BinaryPackage, "/deb_control_files/1", json!(3), "deb_control_files[1]: invalid type: integer `3`"),
        (Category::BinaryPackages, "/packages", json!("hello"), "packages: invalid type"),
        (Category::PackageBuildLog, "/source", json!(1), "source: invalid type: integer `1`, expected a string"),
        (
            Category::PackageBuildLog,
            "/bd_uninstallable/total-packages",
            json!("many"),
            "bd_uninstallable.total-packages: ",
        ),
        (
            Category::PackageBuildLog,
            "/bd_uninstallable/report/0/status",
            json!("?"),
            "bd_uninstallable.report[0].status: ",
        ),
        (
            Category::PackageBuildLog,
            "/bd_uninstallable/report/0/essential",
            json!("?"),
            "bd_uninstallable.report[0].essential: ",
        ),
        (
            Category::PackageBuildLog,
            "/bd_uninstallable/report/0/reasons/0/missing/pkg/x",
            json!(1),
            "bd_uninstallable.report[0].reasons[0].missing.pkg.x: unknown field `x`",
        ),
        (
            Category::PackageBuildLog,
            "/bd_uninstallable/report/0/reasons/1/conflict/pkg2",
            json!(["bar", "2", null, null]),
            "bd_uninstallable.report[0].reasons[1].conflict.pkg2: expected an object, not a list",
        ),
        (Category::DebugSymbols, "/build_ids/0", json!(BUILD_ID.to_uppercase()), "build_ids[0]: \"0123456789ABC"),
        (Category::DebugSymbols, "/build_ids/0", json!(&BUILD_ID[1..]), "build_ids[0]: "),
        (Category::DebugSymbols, "/build_ids", json!([BUILD_ID, BUILD_ID]), &duplicate),
        (Category::SystemTarball, "/mirror", json!("mirror.example.org"), "mirror: "),
        (Category::SystemTarball, "/pkglist/dpkg", json!(1), "pkglist.dpkg: invalid type"),
        (Category::SystemTarball, "/with_dev", json!("maybe"), "with_dev: invalid type"),
        (Category::SystemTarball, "/size", json!(1), "size: unknown field"),
        (
            Category::SystemImage,
            "/size",
            json!(-1),
            "size: invalid type: integer `-1`, expected a non-negative integer",
        ),
        (Category::SystemImage, "/image_format", json!("vmdk"), "image_format: unknown variant"),
        (Category::SystemImage, "/boot_mechanism", json!("u-boot"), "boot_mechanism: unknown variant"),
        (
            Category::Lintian,
            "/summary/tags_count_by_severity/info",
            json!(1.5),
            "summary.tags_count_by_severity.info: ",
        ),
        (
            Category::Lintian,
            "/summary/tags_count_by_severity/bad",
            json!(1),
            "summary.tags_count_by_severity: unknown variant `bad`",
        ),
        (Category::Lintian, "/summary/tags_found", json!(null), "summary.tags_found: "),
        (Category::Autopkgtest, "/results/upstream/status", json!("pass"), "results.upstream.status: unknown variant"),
        (Category::Autopkgtest, "/source_package/url", json!("x"), "source_package.url: "),
        (
            Category::Autopkgtest,
            "/source_package",
            json!(["hello", "1", "https://example.org/"]),
            &format!("source_package: {not_a_list}"),
        ),
        (Category::Autopkgtest, "/results/upstream", json!(["PASS", null]), &format!("results.upstream: {not_a_list}")),
        (Category::Piuparts, "/binary_packages/hello", json!({}), "binary_packages.hello: invalid type"),
        (Category::Blhc, "/architecture", json!(["amd64"]), "architecture: invalid type"),
        (Category::Debdiff, "/original", json!(["a.dsc"]), "original: invalid type"),
        (Category::RepositoryIndex, "/path", json!(1), "path: invalid type"),
        (Category::SigningInput, "/trusted_certs", json!("ab12"), "trusted_certs: invalid type"),
        (Category::SigningOutput, "/purpose", json!("gpg"), "purpose: unknown variant"),
        (Category::SigningOutput, "/results/0/error_message", json!("both"), one_of_two),
        (Category::SigningOutput, "/results/0/output_file", json!(null), one_of_two),
        (Category::Upload, "/type", json!("rpm"), "type: unknown variant"),
        (Category::Upload, "/changes_fields", json!([]), "changes_fields: invalid type"),
    ] {
        let message = error(category, &with(category, pointer, value));
        assert!(message.starts_with(expected), "{message:?} does not start with {expected:?}");
    }
    for severity in LintianSeverity::iter() {
        let pointer = format!("/summary/tags_count_by_severity/{severity}");
        let message = error(Category::Lintian, &without(Category::Lintian, &pointer));
        assert_eq!(message, format!("summary.tags_count_by_severity: missing severity `{severity}`"));
    }
    for key in example(Category::Lintian).0["summary"].as_object().unwrap().keys() {
        let message = error(Category::Lintian, &without(Category::Lintian, &format!("/summary/{key}")));
        assert_eq!(message, format!("summary: missing field `{key}`"));
    }
    let message = error(Category::Autopkgtest, &without(Category::Autopkgtest, "/source_package/url"));
    assert_eq!(message, "source_package: missing field `url`");
    let as_text = with(Category::SystemImage, "/size", json!("5000000000"));
    assert_eq!(validate_data(Category::SystemImage, &as_text), Ok(()), "digits are a number");
}

#[test]
fn uploads_agree_with_themselves() {
    let (dsc, deb, udeb) = ("hello_1.dsc", "hello_1_amd64.deb", "hello_1_amd64.udeb");
    for (architecture, files) in [
        ("source", vec![dsc, "hello_1.tar.xz", "hello_1_source.buildinfo"]),
        ("source amd64", vec![dsc, deb, "hello_1_amd64.buildinfo"]),
        ("amd64", vec![deb, "hello_1_amd64.buildinfo"]),
        ("all amd64", vec![udeb]),
        ("", vec![]),
    ] {
        assert_eq!(validate_data(Category::Upload, &upload(architecture, &files)), Ok(()), "{architecture} {files:?}");
    }
    let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
    for (architecture, files, expected) in [
        ("source", vec![dsc, deb, udeb], InvalidUpload::BinariesInSource(own(&[deb, udeb]))),
        ("source source", vec![dsc, udeb], InvalidUpload::BinariesInSource(own(&[udeb]))),
        ("amd64", vec!["x.txt"], InvalidUpload::NoBinaries { files: own(&["x.txt"]), architectures: own(&["amd64"]) }),
        (
            "source amd64 all",
            vec![dsc],
            InvalidUpload::NoBinaries { files: own(&[dsc]), architectures: own(&["all", "amd64"]) },
        ),
        (
            "source",
            vec![dsc, "hello_1_amd64.buildinfo"],
            InvalidUpload::BinaryBuildinfo("hello_1_amd64.buildinfo".into()),
        ),
        ("source", vec![], InvalidUpload::NotOneSource(vec![])),
        ("source", vec![dsc, "b.dsc"], InvalidUpload::NotOneSource(own(&[dsc, "b.dsc"]))),
        ("source amd64", vec![deb], InvalidUpload::NotOneSource(vec![])),
        ("amd64", vec![deb, dsc], InvalidUpload::SourceInBinary(own(&[dsc]))),
        ("", vec![dsc], InvalidUpload::SourceInBinary(own(&[dsc]))),
    ] {
        let refused = validate_data(Category::Upload, &upload(architecture, &files));
        assert_eq!(refused, Err(InvalidData::Upload(expected)), "{architecture} {files:?}");
    }
    assert_eq!(
        error(Category::Upload, &upload("source amd64", &[dsc, "x"])),
        "changes_fields.Files: no .debs found in [hello_1.dsc, x], expected binaries for amd64"
    );
}

#[test]
fn uploads_have_architecture_and_files() {
    for field in ["Architecture", "Files"] {
        let pointer = format!("/changes_fields/{field}");
        let expected = format!("changes_fields must contain {field}");
        assert_eq!(error(Category::Upload, &without(Category::Upload, &pointer)), expected);
        assert_eq!(error(Category::Upload, &with(Category::Upload, &pointer, Value::Null)), expected);
    }
    for (pointer, value, expected) in [
        ("/changes_fields/Architecture", json!(["source"]), "changes_fields.Architecture: expected a string"),
        ("/changes_fields/Files", json!("x"), "changes_fields.Files: expected a list of objects with a name"),
        ("/changes_fields/Files/0", json!("x.dsc"), "changes_fields.Files[0].name: expected a string"),
        ("/changes_fields/Files/0/name", json!(1), "changes_fields.Files[0].name: expected a string"),
    ] {
        assert_eq!(error(Category::Upload, &with(Category::Upload, pointer, value)), expected);
    }
    let other_case =
        json!({"type": "dpkg", "changes_fields": {"architecture": "source", "FILES": [{"name": "a.dsc"}]}});
    assert_eq!(validate_data(Category::Upload, &other_case), Ok(()));
}

#[test]
fn labels_make_do_with_less() {
    let nameless = json!({"changes_fields": {"Architecture": "amd64", "Files": [{"name": "a.deb"}]}});
    let two = json!({"build_ids": [BUILD_ID, "x"]});
    let nothing_found = json!({"summary": {"package_filename": {}}});
    for (category, data, files, expected) in [
        (Category::Upload, &nameless, &["hello.changes"][..], "hello.changes"),
        (Category::Upload, &nameless, &[], "a.deb"),
        (Category::Upload, &json!({}), &["b.deb"], "b.deb"),
        (Category::DebugSymbols, &two, &[], "debug-symbols (2 build-ids)"),
        (Category::DebugSymbols, &json!({"build_ids": []}), &[], "debug-symbols (0 build-ids)"),
        (Category::Lintian, &nothing_found, &[], "lintian (empty)"),
        (Category::Blhc, &json!({"source": "hello", "version": "1", "architecture": null}), &[], "blhc analysis"),
        (Category::Debdiff, &json!({"original": "a b", "new": "c"}), &[], "debdiff a b c"),
        (Category::RepositoryIndex, &json!({"path": null}), &["Release"], "debian:repository-index"),
        (Category::PackageBuildLog, &json!({"filename": "x.log"}), &[], "x.log"),
    ] {
        assert_eq!(label(category, data, files), expected, "{category} {data}");
    }
    for category in Category::iter().filter(|category| *category != Category::Blhc) {
        for data in [json!({}), json!(null)] {
            assert_eq!(label(category, &data, &[]), category.to_string());
        }
    }
}

#[test]
fn sources_of_packages() {
    for category in Category::iter() {
        let version = match category {
            Category::SourcePackage => Some("1:2.12.3-1"),
            Category::BinaryPackage | Category::BinaryPackages | Category::Upload | Category::PackageBuildLog => {
                Some("2.12.3-1")
            }
            _ => None,
        };
        let expected = version.map(|version| ("hello".to_owned(), Some(version.to_owned())));
        assert_eq!(source_name_and_version(category, &example(category).0), expected, "{category}");
    }
    let rebuilt = json!({"changes_fields": {"Source": "hello (2.10-3)", "Version": "2.10-3+b1"}});
    let expected = Some(("hello".to_owned(), Some("2.10-3+b1".to_owned())));
    assert_eq!(source_name_and_version(Category::Upload, &rebuilt), expected);
    assert_eq!(source_name_and_version(Category::SourcePackage, &json!({"name": "a"})), Some(("a".to_owned(), None)));
}

#[test]
fn makers_send_what_they_mean() {
    let log = PackageBuildLog {
        source: "hello".to_owned(),
        version: "1".to_owned(),
        architecture: None,
        filename: "hello.build".to_owned(),
        bd_uninstallable: None,
    };
    let sent = json!({
        "source": "hello", "version": "1", "architecture": null, "filename": "hello.build", "bd_uninstallable": null,
    });
    assert_eq!(serde_json::to_value(log).unwrap(), sent);
    let signed = SigningResult { file: "a".to_owned(), outcome: SigningOutcome::OutputFile("a.sig".to_owned()) };
    let sent = json!({"file": "a", "output_file": "a.sig", "error_message": null});
    assert_eq!(serde_json::to_value(signed).unwrap(), sent);
    let tarball: SystemTarball = serde_json::from_value(example(Category::SystemTarball).0).unwrap();
    assert_eq!(serde_json::to_value(tarball).unwrap()["mirror"], "http://mirror.example.org/");
    let report: Dose3Report = serde_json::from_value(dose3()).unwrap();
    assert_eq!(
        (report.total_packages, report.report[0].essential, report.report[1].essential),
        (63_442, Some(false), Some(true))
    );
}

/// Seen with 0.11.3.
#[test]
fn workers_before_0_13_do_not_name_the_components_of_a_system() {
    for category in [Category::SystemTarball, Category::SystemImage] {
        assert_eq!(validate_data(category, &without(category, "/components")), Ok(()));
        assert!(error(category, &with(category, "/components", Value::Null)).starts_with("components: "));
    }
}
