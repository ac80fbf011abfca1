//! extractforsigning and assemblesignedsource in a real instance: a template made here, signatures that are none, and the
//! source package that brings them.

use std::fs;

use serde_json::json;
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::house::{House, all_logs, environment, output};
use crate::support::signing::{CHANGELOG, deb, files_json, signed, template, tiny};
use crate::support::{DirHost, Stored, log, of, relations};

async fn extract(house: &House, template: Stored, binaries: &[(i64, Stored)]) -> Outcome {
    let host = DirHost::new().stored(10, template).stored(3, environment("bookworm", "buildd").await);
    let host = binaries.iter().fold(host, |host, (id, binary)| host.stored(*id, binary.clone()));
    let ids: Vec<i64> = binaries.iter().map(|(id, _)| *id).collect();
    let data = json!({"input": {"template_artifact": 10, "binary_artifacts": ids}, "environment": 3});
    let dynamic = json!({"environment_id": 3, "input_template_artifact_id": 10, "input_binary_artifacts_ids": ids});
    house.run("extractforsigning", &data, dynamic, &host).await
}

/// Signed 50 and 51; 40 and 41 are what was signed, of the packages 20 (in 40) and 10.
async fn assemble(house: &House, template: Stored, first: &[&str], second: &[&str]) -> Outcome {
    let root = house.root.path();
    let bases = [50, 51].map(|id: i64| root.join(format!("signed-{id}")));
    let unsigned = || Stored { category: ArtifactCategory::SigningInput, data: json!({}), files: Vec::new() };
    let host = DirHost::new()
        .stored(10, template)
        .stored(20, tiny(root))
        .stored(40, unsigned())
        .stored(41, unsigned())
        .stored(50, signed(&bases[0], first))
        .stored(51, signed(&bases[1], second))
        .below(50, bases[0].clone())
        .below(51, bases[1].clone())
        .stored(3, environment("bookworm", "buildd").await);
    let data = json!({"template": 10, "signed": [50, 51], "environment": 3});
    let dynamic =
        json!({"environment_id": 3, "template_id": 10, "signed_ids": [50, 51], "unsigned_ids": [10, 20, 40, 41]});
    house.run("assemblesignedsource", &data, dynamic, &host).await
}

fn failed(outcome: &Outcome, text: &str) {
    assert_eq!(outcome.result, Some(Results::Failure));
    assert_eq!(outcome.artifacts.len(), 1, "only the logs");
    let logs = all_logs(outcome);
    assert!(logs.contains(text), "{text} is not in: {logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_template_names_is_extracted() {
    let house = House::new();
    let root = house.root.path();
    let template = template(root, &files_json(&["boot/tiny.efi", "usr/lib/tiny/second.efi"]), &[]);
    let other = deb(root, "tiny-doc", |_| {});
    let outcome = extract(&house, template, &[(20, other), (21, tiny(root))]).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let input = of(&outcome, ArtifactCategory::SigningInput)[0];
    assert_eq!(input.data, json!({"trusted_certs": ["ab".repeat(32)], "binary_package_name": "tiny"}));
    let contents: Vec<_> = input
        .files
        .iter()
        .map(|(name, file)| {
            assert_eq!(file.content_type.as_deref(), Some("application/octet-stream"));
            (name.as_str().to_owned(), fs::read_to_string(&file.path).unwrap())
        })
        .collect();
    let expected = [("tiny/boot/tiny.efi", "code\n"), ("tiny/usr/lib/tiny/second.efi", "more code\n")];
    assert_eq!(contents, expected.map(|(name, content)| (name.to_owned(), content.to_owned())));
    assert_eq!(
        relations(&outcome),
        [
            "signing-input relates-to 10",
            "signing-input relates-to 21",
            "work-request-debug-logs relates-to 10",
            "work-request-debug-logs relates-to 20",
            "work-request-debug-logs relates-to 21",
        ]
    );
    let commands = log(&outcome, "cmd-output.log").unwrap();
    assert_eq!(commands.matches("cmd: dpkg-deb -x /").count(), 2, "{commands}");
    assert_eq!(log(&outcome, "install.log"), None, "no packages are installed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_a_package_is_not_extracted() {
    let house = House::new();
    let root = house.root.path();
    let template = template(root, &files_json(&["boot/tiny.efi", "boot/out.efi"]), &[]);
    let outcome = extract(&house, template, &[(20, tiny(root))]).await;
    failed(&outcome, "file name 'boot/out.efi' may not traverse symlinks to outside the package");
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_become_a_source_package() {
    let house = House::new();
    let root = house.root.path();
    let template = template(
        root,
        &files_json(&["boot/tiny.efi", "usr/lib/tiny/second.efi"]),
        &[("debian/README.source", "From a template.\n")],
    );
    let outcome = assemble(&house, template, &["tiny/boot/tiny.efi"], &["tiny/usr/lib/tiny/second.efi"]).await;
    assert_eq!(outcome.result, Some(Results::Success), "{}", all_logs(&outcome));
    let source = of(&outcome, ArtifactCategory::SourcePackage)[0];
    assert_eq!((source.data["name"].as_str(), source.data["version"].as_str()), (Some("tiny-signed"), Some("1:1.0+1")));
    let names: Vec<_> = source.files.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["tiny-signed_1.0+1.dsc", "tiny-signed_1.0+1.tar.xz"]);
    let upload = of(&outcome, ArtifactCategory::Upload)[0];
    let names: Vec<_> = upload.files.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["tiny-signed_1.0+1.dsc", "tiny-signed_1.0+1.tar.xz", "tiny-signed_1.0+1_source.changes"]);
    let fields = &upload.data["changes_fields"];
    assert_eq!((fields["Distribution"].as_str(), fields.get("Closes")), (Some("sid"), None));
    assert_eq!(
        relations(&outcome),
        [
            "source-package built-using 10",
            "source-package built-using 20",
            "upload extends source-package",
            "work-request-debug-logs relates-to 10",
            "work-request-debug-logs relates-to 50",
            "work-request-debug-logs relates-to 51",
        ]
    );
    let dsc = source.files.values().find(|file| file.path.extension().is_some_and(|suffix| suffix == "dsc")).unwrap();
    let unpacked = root.join("unpacked");
    output(&["dpkg-source", "-x", dsc.path.to_str().unwrap(), unpacked.to_str().unwrap()]);
    let read = |path: &str| fs::read_to_string(unpacked.join("debian").join(path)).unwrap();
    assert_eq!(read("signatures/tiny/boot/tiny.efi.sig"), "signature of tiny/boot/tiny.efi\n");
    assert_eq!(read("signatures/tiny/usr/lib/tiny/second.efi.sig"), "signature of tiny/usr/lib/tiny/second.efi\n");
    assert_eq!(read("README.source"), "From a template.\n");
    assert_eq!(read("changelog"), CHANGELOG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_package_that_cannot_be_built_is_reported() {
    let house = House::new();
    let template =
        template(house.root.path(), &files_json(&["boot/tiny.efi"]), &[("debian/control", "Maintainer: nobody\n")]);
    let outcome = assemble(&house, template, &["tiny/boot/tiny.efi"], &[]).await;
    failed(&outcome, "dpkg-source: error: ");
    assert!(log(&outcome, "cmd-output.log").unwrap().contains("cmd: dpkg-source -b .\n"));
}
