//! mergeuploads on uploads that the real dpkg-buildpackage made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use usine_debian::Changes;
use usine_model::artifact::{ArtifactCategory, PackageFormat, Upload};
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::house::{House, all_logs, architecture, output};
use crate::source::{CONTROL, rules};
use crate::support::{DirHost, Stored, log, of, relations};

/// What dpkg-buildpackage makes of `tiny` with an option, in a directory of that name.
fn build(root: &Path, option: &str) -> PathBuf {
    let directory = root.join(option.trim_start_matches('-'));
    let tree = directory.join("tiny-1.0");
    fs::create_dir_all(tree.join("debian/source")).unwrap();
    let changelog = "tiny (1:1.0) unstable; urgency=medium\n\n  * First.\n\n -- Tiny <tiny@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n";
    let files =
        [("source/format", "3.0 (native)\n"), ("changelog", changelog), ("control", CONTROL), ("rules", &rules(""))];
    for (name, content) in files {
        fs::write(tree.join("debian").join(name), content).unwrap();
    }
    fs::set_permissions(tree.join("debian/rules"), fs::Permissions::from_mode(0o755)).unwrap();
    let script = r#"cd "$1" && dpkg-buildpackage --no-sign -d "$2""#;
    output(&["sh", "-c", script, "build", &tree.display().to_string(), option]);
    let files = fs::read_dir(&directory).unwrap().flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "changes")).expect("a .changes")
}

fn upload(path: &Path) -> Stored {
    let changes = Changes::read(path).unwrap();
    let data = Upload { format: PackageFormat::Dpkg, changes_fields: changes.fields().as_map().clone() };
    let beside = changes.names().map(|name| path.with_file_name(name));
    let files = std::iter::once(path.to_owned()).chain(beside).collect();
    Stored { category: ArtifactCategory::Upload, data: serde_json::to_value(data).unwrap(), files }
}

/// Merges the uploads 21, 22, …
async fn merge(house: &House, paths: &[PathBuf]) -> Outcome {
    let numbered = (21..).zip(paths);
    let host = numbered.fold(DirHost::new(), |host, (id, path)| host.stored(id, upload(path)));
    let ids: Vec<i64> = (21..).take(paths.len()).collect();
    let data = json!({"input": {"uploads": ids}});
    // The order of the request does not count.
    let ids: Vec<i64> = ids.into_iter().rev().collect();
    house.run("mergeuploads", &data, json!({"input_uploads_ids": ids}), &host).await
}

fn text_of(outcome: &Outcome) -> (PathBuf, String) {
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(outcome));
    let upload = of(outcome, ArtifactCategory::Upload)[0];
    let changes = upload.files.iter().find(|(name, _)| name.as_str().ends_with(".changes")).unwrap().1;
    (changes.path.clone(), fs::read_to_string(&changes.path).unwrap())
}

fn fault(outcome: &Outcome) -> String {
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(of(outcome, ArtifactCategory::Upload).is_empty());
    all_logs(outcome)
}

/// The same `.changes` with another text, in a directory of its own with links to the files.
fn changed(path: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    let directory = path.parent().unwrap().with_file_name(name);
    fs::create_dir(&directory).unwrap();
    for file in Changes::read(path).unwrap().names() {
        fs::copy(path.with_file_name(file), directory.join(file)).unwrap();
    }
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    let path = directory.join(path.file_name().unwrap());
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn source_and_binary_uploads_become_one() {
    let house = House::new();
    let root = house.root.path();
    let uploads = [build(root, "-S"), build(root, "-B"), build(root, "-A")];
    let outcome = merge(&house, &uploads).await;
    let (path, text) = text_of(&outcome);
    assert_eq!(path.file_name().unwrap(), "tiny_1.0_multi.changes");
    let architecture = architecture();
    assert!(
        text.contains(&format!("\nBinary: tiny tiny-doc\nSource: tiny\nArchitecture: all {architecture} source\n")),
        "{text}"
    );
    assert!(
        text.contains("\nDescription:\n tiny       - tiny\n tiny-doc   - tiny's documents\nChanges:\n tiny (1:1.0)"),
        "{text}"
    );
    let fields: Vec<_> =
        text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        fields,
        [
            "Format",
            "Date",
            "Binary",
            "Source",
            "Architecture",
            "Version",
            "Distribution",
            "Urgency",
            "Maintainer",
            "Changed-By",
            "Description",
            "Changes",
            "Checksums-Sha1",
            "Checksums-Sha256",
            "Files",
        ]
    );
    let merged = of(&outcome, ArtifactCategory::Upload)[0];
    let names: Vec<_> = merged.files.keys().map(|name| name.as_str().to_owned()).collect();
    let of_architecture = |suffix: &str| format!("tiny_1.0_{architecture}.{suffix}");
    let mut expected = vec![
        of_architecture("buildinfo"),
        of_architecture("deb"),
        "tiny-doc_1.0_all.deb".to_owned(),
        "tiny_1.0.dsc".to_owned(),
        "tiny_1.0.tar.xz".to_owned(),
        "tiny_1.0_all.buildinfo".to_owned(),
        "tiny_1.0_multi.changes".to_owned(),
        "tiny_1.0_source.buildinfo".to_owned(),
    ];
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(
        relations(&outcome),
        [
            "upload extends 21",
            "upload extends 22",
            "upload extends 23",
            "work-request-debug-logs relates-to 21",
            "work-request-debug-logs relates-to 22",
            "work-request-debug-logs relates-to 23",
        ]
    );
    // Debian's own tools take it, with its files beside it.
    for file in merged.files.values().filter(|file| file.path != path) {
        fs::copy(&file.path, path.with_file_name(file.path.file_name().unwrap())).unwrap();
    }
    let verified = output(&["dscverify", "--no-sig-check", &path.display().to_string()]);
    assert!(verified.contains("All files validated successfully."), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_upload_is_rewritten() {
    let house = House::new();
    let source = build(house.root.path(), "-S");
    let (_, text) = text_of(&merge(&house, std::slice::from_ref(&source)).await);
    assert_eq!(text, fs::read_to_string(source).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_do_not_fit_are_refused() {
    let house = House::new();
    let root = house.root.path();
    let (any, all) = (build(root, "-B"), build(root, "-A"));
    let with = |name, from, to| [any.clone(), changed(&all, name, from, to)];

    let logs = fault(&merge(&house, &[any.clone(), changed(&any, "again", "Urgency", "Urgency")]).await);
    assert!(logs.contains("is in more than one upload"), "{logs}");
    let other = with("description", " tiny-doc   - tiny's documents", " tiny       - another");
    let logs = fault(&merge(&house, &other).await);
    assert!(logs.contains("Message: Descriptions of tiny do not match: ['tiny', 'another']"), "{logs}");
    let logs = fault(&merge(&house, &with("version", "Version: 1:1.0", "Version: 1:1.1")).await);
    assert!(logs.contains("Message: Version fields do not match: ['1:1.0', '1:1.1']"), "{logs}");
    let damaged = changed(&all, "content", "Urgency", "Urgency");
    fs::write(damaged.with_file_name("tiny-doc_1.0_all.deb"), "other").unwrap();
    let outcome = merge(&house, &[any, damaged]).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    let problems = log(&outcome, "consistency.log").unwrap();
    assert!(problems.contains("sha256 for file tiny-doc_1.0_all.deb does not match"), "{problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_binary_is_folded_as_dpkg_reads_it() {
    let house = House::new();
    let root = house.root.path();
    let (any, all) = (build(root, "-B"), build(root, "-A"));
    let names: Vec<String> = (0..300).map(|index| format!("tiny-package-{index:03}")).collect();
    let any = changed(&any, "long", "Binary: tiny\n", &format!("Binary: tiny {}\n", names.join(" ")));
    let (path, text) = text_of(&merge(&house, &[any, all]).await);
    let folded: Vec<_> = text.lines().skip_while(|line| !line.starts_with("Binary:")).take(7).collect();
    assert!(
        folded[..6].iter().all(|line| line.len() <= 980 + "Binary: ".len()) && folded[6] == "Source: tiny",
        "{folded:?}"
    );
    let script = "my $c = Dpkg::Control->new(type => CTRL_FILE_CHANGES); $c->load($ARGV[0]); print $c->{Binary}";
    let read = output(&["perl", "-MDpkg::Control", "-e", script, &path.display().to_string()]);
    let mut expected = names;
    expected.extend(["tiny", "tiny-doc"].map(str::to_owned));
    expected.sort();
    assert_eq!(read.split_whitespace().collect::<Vec<_>>(), expected);
}
