//! The rules of artifacts that need a look into their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use usine_debian::{Changes, Dsc, check_artifact};
use usine_model::artifact::ArtifactCategory as Category;

const DSC: &str = "hello_2.12.3-1.dsc";
const CHANGES: &str = "hello_2.12.3-1_multi.changes";

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Checks an artifact with the sample `control` as its control file, and with `others`, which need not exist.
fn check(category: Category, data: &Value, control: &Path, others: &[&str]) -> Result<(), String> {
    let mut files: BTreeMap<String, PathBuf> =
        others.iter().map(|name| ((*name).to_owned(), PathBuf::from("/nonexistent"))).collect();
    files.insert(control.file_name().unwrap().to_str().unwrap().to_owned(), control.to_owned());
    let files = files.iter().map(|(path, local)| (path.as_str(), local.as_path()));
    check_artifact(category, data, files).map_err(|error| error.to_string())
}

#[test]
fn a_source_package_has_what_its_dsc_lists() {
    let dsc = Dsc::read(&sample(DSC)).unwrap();
    let names: Vec<&str> = dsc.files().iter().map(|file| file.name.as_str()).collect();
    let full = json!({"name": "hello", "version": dsc.version(), "type": "dpkg", "dsc_fields": dsc.fields().as_map()});
    let bare = json!({"name": "hello", "version": dsc.version(), "type": "dpkg", "dsc_fields": {}});
    for data in [&full, &bare] {
        assert_eq!(check(Category::SourcePackage, data, &sample(DSC), &names), Ok(()));
        for files in [&names[1..], &[&names[..], &["x"]].concat()] {
            let error = check(Category::SourcePackage, data, &sample(DSC), files).unwrap_err();
            assert!(error.starts_with("Files in the package and listed in the .dsc must match. Files: ["), "{error}");
            assert!(error.contains(names[0]), "{error}");
        }
    }
    let mut wrong = full;
    wrong["type"] = json!("rpm");
    let error = check(Category::SourcePackage, &wrong, &sample(DSC), &[]).unwrap_err();
    assert!(error.starts_with("type: unknown variant"), "data come first: {error}");
}

#[test]
fn an_upload_has_what_its_changes_lists() {
    let changes = Changes::read(&sample(CHANGES)).unwrap();
    let names: Vec<&str> = changes.names().collect();
    let full = json!({"type": "dpkg", "changes_fields": changes.fields().as_map()});
    assert_eq!(check(Category::Upload, &full, &sample(CHANGES), &names), Ok(()));
    // Data that fit the files do not make up for another .changes.
    let data =
        json!({"type": "dpkg", "changes_fields": {"Architecture": "amd64", "Files": [{"name": "a_1_amd64.deb"}]}});
    let error = check(Category::Upload, &data, &sample(CHANGES), &["a_1_amd64.deb"]).unwrap_err();
    assert!(error.starts_with("Files in the upload and listed in the .changes must match. Files: ['a_1"), "{error}");
}

#[test]
fn control_files_that_lead_elsewhere_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let list = |field: &str, digest: &str| match field {
        "Files" => format!("Files:\n {digest} 1 misc optional ../x\n"),
        _ => format!("{field}:\n {digest} 1 ../x\n"),
    };
    for (field, digits) in [("Files", 32), ("Checksums-Sha1", 40), ("Checksums-Sha256", 64)] {
        let path = directory.path().join("a.changes");
        fs::write(&path, format!("Source: a\nArchitecture: \n{}", list(field, &"0".repeat(digits)))).unwrap();
        let data = json!({"type": "dpkg", "changes_fields": {"Architecture": "", "Files": []}});
        let error = check(Category::Upload, &data, &path, &[]).unwrap_err();
        assert_eq!(error, format!("'a.changes' has an entry in {field} with more than one path component: '../x'"));
    }
    let missing = directory.path().join("b.changes");
    let data = json!({"type": "dpkg", "changes_fields": {"Architecture": "", "Files": []}});
    assert!(check(Category::Upload, &data, &missing, &[]).unwrap_err().contains("b.changes"));
}

#[test]
fn findings_of_lintian_are_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("analysis.json");
    let counts = json!({"error": 0, "warning": 0, "info": 0, "pedantic": 0, "experimental": 0, "overridden": 0,
        "classification": 0});
    let data = json!({"architecture": "all", "summary": {"tags_count_by_severity": counts, "package_filename": {},
        "tags_found": [], "overridden_tags_found": [], "lintian_version": "2", "distribution": "debian:sid"}});
    let check = || check(Category::Lintian, &data, &path, &["lintian.txt"]);
    fs::write(&path, "{\"tags\": [], \"version\": 1}\n").unwrap();
    assert_eq!(check(), Ok(()));
    for (text, reason) in [("", "EOF while parsing"), ("{\"tags\": [", "EOF while parsing"), ("{} x", "trailing char")]
    {
        fs::write(&path, text).unwrap();
        let error = check().unwrap_err();
        assert!(error.starts_with(&format!("\"analysis.json\" is not valid JSON: {reason}")), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(check().unwrap_err().starts_with("cannot read "));
}
