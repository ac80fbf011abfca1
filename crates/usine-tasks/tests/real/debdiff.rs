//! debdiff on two versions of a tiny package.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use usine_debian::Deb;
use usine_model::artifact::{ArtifactCategory, BinaryPackage};
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::house::{House, all_logs, architecture, environment, output};
use crate::source::{self, CONTROL, rules};
use crate::support::{DirHost, Stored, of, relations};

/// Compares what has the ids 12 and 13; gives the report's text, too.
async fn debdiff(house: &House, old: &Stored, new: &Stored, flags: Value) -> (Outcome, String) {
    let host = DirHost::new()
        .stored(12, old.clone())
        .stored(13, new.clone())
        .stored(3, environment("bookworm", "buildd").await);
    let (field, ids) = match old.category {
        ArtifactCategory::SourcePackage => ("source_artifacts", json!([12, 13])),
        _ => ("binary_artifacts", json!([[12], [13]])),
    };
    let data = json!({"input": {field: ids}, "build_architecture": architecture(), "environment": 3,
        "extra_flags": flags});
    let dynamic = json!({"environment_id": 3, format!("input_{field}_ids"): ids});
    let outcome = house.run("debdiff", &data, dynamic, &host).await;
    let report = of(&outcome, ArtifactCategory::Debdiff);
    let file = report.first().unwrap_or_else(|| panic!("{}", all_logs(&outcome))).files.values().next().unwrap();
    let text = fs::read_to_string(&file.path).unwrap();
    (outcome, text)
}

fn source(house: &House, version: &str, news: &str) -> Stored {
    let files = [("control", CONTROL), ("rules", &rules("")), ("NEWS", news)];
    source::artifact(&source::package(house.root.path(), "tiny", version, &files))
}

/// A binary package with one file, `/usr/share/tiny/NAME`.
fn binary(root: &Path, version: &str, name: &str) -> Stored {
    let tree = root.join(format!("tree-{version}"));
    fs::create_dir_all(tree.join("usr/share/tiny")).unwrap();
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::write(tree.join("usr/share/tiny").join(name), "tiny\n").unwrap();
    let control = format!(
        "Package: tiny\nVersion: {version}\nArchitecture: all\nMaintainer: Tiny <tiny@example.org>\nDescription: tiny\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file: PathBuf = root.join(format!("tiny_{version}_all.deb"));
    output(&["dpkg-deb", "--root-owner-group", "--build", tree.to_str().unwrap(), file.to_str().unwrap()]);
    let deb = Deb::read(&file).unwrap();
    let data = BinaryPackage {
        srcpkg_name: deb.source().0.to_owned(),
        srcpkg_version: deb.source().1.to_owned(),
        deb_fields: deb.fields().as_map().clone(),
        deb_control_files: deb.control_files().to_vec(),
    };
    let data = serde_json::to_value(data).unwrap();
    Stored { category: ArtifactCategory::BinaryPackage, data, files: vec![file] }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_source_package() {
    let house = House::new();
    let (old, new) = (source(&house, "1.0", "Old news.\n"), source(&house, "1.1", "New news.\n"));
    let (outcome, text) = debdiff(&house, &old, &new, json!([])).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    assert!(text.contains("\n-Old news.\n+New news.\n"), "{text}");
    assert!(text.contains("\n-tiny (1.0) unstable; urgency=medium\n+tiny (1.1) unstable"), "{text}");
    let report = of(&outcome, ArtifactCategory::Debdiff)[0];
    assert_eq!(
        report.data,
        json!({"original": "tiny_1.0.dsc", "new": "tiny_1.1.dsc", "label": "debdiff tiny: 1.0 → 1.1 (source)"})
    );
    assert_eq!(relations(&outcome)[..2], ["debdiff relates-to 12", "debdiff relates-to 13"]);

    let (outcome, text) = debdiff(&house, &old, &old, json!(["--diffstat"])).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    assert!(!text.contains("news"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_binary_package() {
    let house = House::new();
    let (old, new) = (binary(house.root.path(), "1.0", "before"), binary(house.root.path(), "1.1", "after"));
    let (outcome, text) = debdiff(&house, &old, &new, json!([])).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let (added, removed) = text.split_once("Files in first").unwrap_or_else(|| panic!("{text}"));
    assert!(added.contains("/usr/share/tiny/after") && removed.contains("/usr/share/tiny/before"), "{text}");
    assert!(text.contains("Version: [-1.0-] {+1.1+}"), "{text}");
    let report = of(&outcome, ArtifactCategory::Debdiff)[0];
    let label = format!("debdiff tiny: 1.0 → 1.1 ({})", architecture());
    assert_eq!(report.data, json!({"original": "tiny_1.0_all.deb", "new": "tiny_1.1_all.deb", "label": label}));

    let (outcome, text) = debdiff(&house, &old, &old, json!([])).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    assert!(text.contains("File lists identical") && text.contains("No differences were encountered"), "{text}");
}
