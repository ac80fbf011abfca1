//! Wrong input: each has an exit code and a text that says what is wrong and where, and leaves the server as it was.

use std::fs;
use std::path::{Path, PathBuf};

use crate::house::House;
use crate::packages;

#[test]
fn broken_packages_create_nothing() {
    let mut house = House::new(None);
    house.start_server();
    let made = packages::make(house.path());
    house.client(&["artifact", "import", made.deb.to_str().unwrap()]);
    let before = house.holdings();
    let original = made.dsc.parent().unwrap();
    let broken = |change: &dyn Fn(&Path)| -> PathBuf {
        let copy = tempfile::tempdir_in(house.path()).unwrap().keep();
        for entry in fs::read_dir(original).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        change(&copy);
        copy
    };
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |copy: &Path| {
            let path = copy.join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&path, text.replace(from, to)).unwrap();
        }
    };
    let overwrite =
        |file: &'static str, bytes: &'static [u8]| move |copy: &Path| fs::write(copy.join(file), bytes).unwrap();
    const DSC: &str = "tiny_1.0.dsc";
    const TAR: &str = "tiny_1.0.tar.xz";
    const DEB: &str = "tiny-doc_1.0_all.deb";
    const DDEB: &str = "tiny-doc_1.0_all.ddeb";
    const CHANGES: &str = "tiny_1.0_multi.changes";
    let other_byte = |copy: &Path| {
        let mut bytes = fs::read(copy.join(TAR)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(copy.join(TAR), bytes).unwrap();
    };
    let as_link = |copy: &Path| {
        fs::rename(copy.join(TAR), copy.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", copy.join(TAR)).unwrap();
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, &str, Change<'_>, &[&str]); 18] = [
        ("a missing file", DSC, &|copy| fs::remove_file(copy.join(TAR)).unwrap(), &["does not exist", TAR]),
        ("a file of another size", DSC, &overwrite(TAR, b"x"), &[TAR, "does not match", "Size expected"]),
        ("a file of another content", DSC, &other_byte, &["sha256 for file tiny_1.0.tar.xz does not match"]),
        ("a link", DSC, &as_link, &["does not exist", TAR]),
        ("a name that leads out", DSC, &edit(DSC, TAR, "../../etc/passwd"), &["../../etc/passwd", "tiny_1.0.dsc"]),
        ("an absolute name", DSC, &edit(DSC, TAR, "/etc/passwd"), &["/etc/passwd", "tiny_1.0.dsc"]),
        ("no version", DSC, &edit(DSC, "\nVersion: 1.0", ""), &["Version", "tiny_1.0.dsc"]),
        ("no text", DSC, &overwrite(DSC, b"\xff\xfe\x00"), &["tiny_1.0.dsc"]),
        ("nothing", DSC, &overwrite(DSC, b""), &["tiny_1.0.dsc"]),
        ("no archive", DEB, &overwrite(DEB, b"!<arch>\nrubbish"), &[DEB]),
        (
            "a package of debug symbols",
            DDEB,
            &|copy| fs::rename(copy.join(DEB), copy.join(DDEB)).unwrap(),
            &["Valid file suffixes: ['.deb', '.udeb']. Invalid filename: \"tiny-doc_1.0_all.ddeb\""],
        ),
        ("an empty package", DEB, &overwrite(DEB, b""), &[DEB]),
        (
            "an upload without a listed file",
            CHANGES,
            &|copy| fs::remove_file(copy.join(DEB)).unwrap(),
            &["does not exist", DEB],
        ),
        ("an upload of other files", CHANGES, &other_byte, &["does not match", TAR]),
        ("an upload from elsewhere", CHANGES, &edit(CHANGES, DEB, "../x.deb"), &["../x.deb", CHANGES]),
        (
            "an upload without what it says",
            CHANGES,
            &edit(CHANGES, "Architecture: source", "Architecture: source mips"),
            &["Architecture has 'mips'", CHANGES],
        ),
        ("an upload of garbage", CHANGES, &overwrite(CHANGES, b"garbage"), &[CHANGES]),
        ("no upload at all", CHANGES, &|copy| fs::remove_file(copy.join(CHANGES)).unwrap(), &[CHANGES, "No such file"]),
    ];
    for (what, file, change, words) in cases {
        let path = broken(change).join(file);
        let outcome = house.try_client(&["artifact", "import", path.to_str().unwrap()], "");
        outcome.assert_failed(3, words, what);
        assert_eq!(outcome.stdout, "", "{what}");
    }
    let directory = house.path().join("directory.dsc");
    fs::create_dir(&directory).unwrap();
    house.refuses(&["artifact", "import", directory.to_str().unwrap()], "", &["directory.dsc"]);
    assert_eq!(house.holdings(), before);
    house.admin(&["check"]);
}

#[test]
fn files_that_do_not_fit_create_nothing() {
    let mut house = House::new(None);
    house.start_server();
    let before = house.holdings();
    house.write("source.yaml", "{name: a, version: '1', type: dpkg, dsc_fields: {}}\n", 0o644);
    house.write("log.yaml", "{source: a, version: '1', filename: a.build}\n", 0o644);
    let md5 = "0".repeat(32);
    house.write("a_1.dsc", &format!("Source: a\nVersion: 1\nFiles:\n {md5} 1 a_1.tar.xz\n"), 0o644);
    let elsewhere = format!("Source: b\nVersion: 1\nFiles:\n {md5} 1 ../b_1.tar.xz\n");
    house.write("b_1.dsc", &elsewhere, 0o644);
    for name in ["a_1.tar.xz", "a.log", "a.build", "b.build"] {
        house.write(name, "x", 0o644);
    }
    let base = house.path().display().to_string();
    let file = |name: &str| house.path().join(name).display().to_string();
    let (source, log) = (file("source.yaml"), file("log.yaml"));
    type Case<'a> = (&'a str, Option<&'a str>, &'a [&'a str], &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        ("debian:source-package", Some(&source), &["a_1.tar.xz"], &["Expecting 1 .dsc file in ['a_1.tar.xz']"]),
        (
            "debian:source-package",
            Some(&source),
            &["a_1.dsc"],
            &["listed in the .dsc must match. Files: [] Listed: ['a_1.tar.xz']"],
        ),
        (
            "debian:source-package",
            Some(&source),
            &["b_1.dsc"],
            &["'b_1.dsc' has an entry in Files with more than one path component: '../b_1.tar.xz'"],
        ),
        ("debian:package-build-log", Some(&log), &["a.log"], &["Valid file suffixes: ['.build']", "\"a.log\""]),
        ("debian:package-build-log", Some(&log), &["a.build", "b.build"], &["Expected number of files: 1 Actual: 2"]),
        ("debian:blhc", None, &["a.log"], &["Files required: ['blhc.txt'] Actual: ['a.log']"]),
        ("debusine:signing-input", None, &[], &["Expected at least one file"]),
    ];
    for (category, data, files, words) in cases {
        let mut arguments = vec!["artifact", "create", category, "--upload-base-directory", &base];
        arguments.extend(data.iter().flat_map(|data| ["--data", data]));
        arguments.extend((!files.is_empty()).then_some("--upload"));
        arguments.extend(files);
        let outcome = house.try_client(&arguments, "");
        outcome.assert_failed(3, &[&["Cannot create artifact: "], words].concat(), category);
        assert_eq!(outcome.stdout, "", "{category}: the server is not asked");
    }
    assert_eq!(house.holdings(), before);

    let create = ["artifact", "create", "debian:source-package", "--upload-base-directory", &base, "--data", &source];
    house.client(&[&create[..], &["--upload", "a_1.dsc", "a_1.tar.xz"]].concat());
    let create = ["artifact", "create", "debian:package-build-log", "--data", &log, "--upload"];
    house.client(&[&create[..], &[&file("a.build")]].concat());
    house.admin(&["check"]);
}

#[test]
fn wrong_data_create_nothing() {
    let mut house = House::new(None);
    house.start_server();
    house.client_with(&["work-request", "create", "noop"], "");
    house.client(&["artifact", "create", "debusine:test"]);
    let before = house.holdings();

    house.write("wrong.yaml", "type: 3\n", 0o644);
    house.write("broken.yaml", "a: [\n", 0o644);
    house.write("list.yaml", "- a\n", 0o644);
    house.write("reaction.yaml", "on_failure:\n- action: frobnicate\n", 0o644);
    let file = |name: &str| house.path().join(name).display().to_string();
    let (wrong, broken, list) = (file("wrong.yaml"), file("broken.yaml"), file("list.yaml"));
    let reaction = file("reaction.yaml");
    let noop = ["work-request", "create", "noop"];
    let source = ["artifact", "create", "debian:source-package"];
    let deep = "[".repeat(100_000);
    let cases: [(&[&str], &str, &[&str]); 19] = [
        (&noop, "a: [", &["Error parsing YAML: line 1 column 4: ", "Fix the YAML data"]),
        (&noop, "{\"a\": ", &["Error parsing YAML: line 1 column 1: "]),
        (&noop, "a: &a [*a]", &["Error parsing YAML: "]),
        (&noop, &deep, &["Error parsing YAML: "]),
        (&noop, "- a", &["Error: data must be a dictionary. It is: list"]),
        (
            &noop,
            "colour: red",
            &["Error (400): Cannot create work request", "colour", "Extra inputs are not permitted"],
        ),
        (&noop, "result: fine", &["Error (400): Cannot create work request", "result", "temporary failure"]),
        (
            &["work-request", "create", "nope"],
            "",
            &["task name is not registered", "mmdebstrap, noop, piuparts, sbuild"],
        ),
        (&["work-request", "create", "sbuild"], "", &["Cannot create work request", "input: Field required"]),
        (&["work-request", "create", "noop", "-w", "nowhere"], "", &["Error (404): Workspace not found", "nowhere"]),
        (&["--scope", "nowhere", "work-request", "create", "noop"], "", &["Scope \"nowhere\" not found"]),
        (&["work-request", "create", "noop", "--event-reactions", &reaction], "", &["frobnicate"]),
        (&["artifact", "create", "debusine:test", "-w", "nowhere"], "", &["Error (404): Workspace not found"]),
        (&[&source[..], &["--data", &wrong]].concat(), "", &["Cannot create artifact: type: "]),
        (&[&source[..], &["--data", &broken]].concat(), "", &["Error parsing YAML: line 1"]),
        (&[&source[..], &["--data", &list]].concat(), "", &["Error: data must be a dictionary. It is: list"]),
        (&source, "", &["Cannot create artifact: "]),
        (
            &["artifact", "create", "debusine:test", "--upload", "/nonexistent"],
            "",
            &["\"/nonexistent\" does not exist"],
        ),
        (&["artifact", "import", "/nonexistent.dsc"], "", &["/nonexistent.dsc", "No such file"]),
    ];
    for (arguments, stdin, words) in cases {
        house.refuses(arguments, stdin, words);
    }
    let unknown = house.try_client(&["artifact", "create", "no:such"], "");
    unknown.assert_failed(2, &["debian:source-package", "debusine:test"], "an unknown category names the known ones");
    for (arguments, words) in [
        (&["work-request", "show", "99"][..], "No WorkRequest matches the given query."),
        (&["work-request", "wait", "99"], "No WorkRequest matches the given query."),
        (&["work-request", "watch", "99"], "No WorkRequest matches the given query."),
        (&["work-request", "logs", "99"], "No WorkRequest matches the given query."),
        (&["work-request", "abort", "99"], "No WorkRequest matches the given query."),
        (&["work-request", "retry", "99"], "No WorkRequest matches the given query."),
        (&["artifact", "show", "99"], "No Artifact matches the given query."),
        (&["artifact", "show-relations", "99"], "Artifact 99 not found"),
    ] {
        house.refuses(arguments, "", &["Error (404): ", words]);
    }
    assert_eq!(house.holdings(), before);
    house.admin(&["check"]);
}
