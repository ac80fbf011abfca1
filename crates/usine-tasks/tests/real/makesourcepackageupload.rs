//! makesourcepackageupload in a real instance.

use std::fs;

use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::fetch::source_package;
use crate::house::{House, all_logs, environment, mirror};
use crate::source::{artifact, tiny};
use crate::support::{DirHost, Stored, log, of, relations};

async fn make(house: &House, source: Stored, options: &[(&str, &str)]) -> Outcome {
    let host = DirHost::new().stored(12, source).stored(3, environment("bookworm", "buildd").await);
    let mut data = json!({"input": {"source_artifact": 12}, "environment": 3});
    data.as_object_mut().unwrap().extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
    let dynamic = json!({"environment_id": 3, "input_source_artifact_id": 12});
    house.run("makesourcepackageupload", &data, dynamic, &host).await
}

fn upload(outcome: &Outcome) -> (Value, Vec<String>) {
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(outcome));
    let upload = of(outcome, ArtifactCategory::Upload)[0];
    let names = upload.files.keys().map(|name| name.as_str().to_owned()).collect();
    (upload.data["changes_fields"].clone(), names)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_is_uploaded_with_its_original() {
    let house = House::new();
    let dsc = source_package(house.root.path(), &mirror(), "hello");
    let source = artifact(&dsc);
    let version = source.data["version"].as_str().unwrap().to_owned();
    let outcome = make(&house, source.clone(), &[]).await;
    let (fields, names) = upload(&outcome);
    assert_eq!((fields["Source"].as_str(), fields["Architecture"].as_str()), (Some("hello"), Some("source")));
    assert_eq!(
        (fields["Version"].as_str(), fields["Distribution"].as_str()),
        (Some(version.as_str()), Some("unstable"))
    );
    let mut expected: Vec<_> =
        source.files.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    expected.push(format!("hello_{version}_source.changes"));
    expected.sort();
    assert_eq!(names, expected, "the original tarball and its signature, too");
    assert_eq!(
        relations(&outcome),
        ["upload extends 12", "upload relates-to 12", "work-request-debug-logs relates-to 12"]
    );
    let commands = log(&outcome, "cmd-output.log").unwrap();
    assert!(commands.contains("dpkg-genchanges -S -sa\n") && commands.contains("returncode: 0\n"), "{commands}");

    let since = [("since_version", "2.9-1"), ("target_distribution", "bookworm")];
    let (fields, _) = upload(&make(&house, source, &since).await);
    assert_eq!(fields["Distribution"], "bookworm");
    let changes = fields["Changes"].as_str().unwrap();
    assert!(changes.contains("hello (2.10-1)") && !changes.contains("hello (2.9-1)"), "{changes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_package_that_cannot_be_unpacked_is_reported() {
    let house = House::new();
    let dsc = tiny(house.root.path());
    let source = artifact(&dsc);
    fs::write(dsc.with_file_name("tiny_1.0.tar.xz"), "not an archive").unwrap();
    let outcome = make(&house, source, &[]).await;
    assert_eq!(outcome.result, Some(Results::Failure));
    assert!(of(&outcome, ArtifactCategory::Upload).is_empty());
    let commands = log(&outcome, "cmd-output.log").unwrap();
    assert!(commands.contains("dpkg-source: error: ") && commands.contains("tiny_1.0.tar.xz"), "{commands}");
    assert_eq!(relations(&outcome), ["work-request-debug-logs relates-to 12"]);
}
