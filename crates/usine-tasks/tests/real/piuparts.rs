//! piuparts on real packages: it runs in a trixie environment, the packages are tested in bookworm.

use serde_json::json;
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::house::{House, all_logs, architecture, build, environment};
use crate::source::{self, CONTROL, package, rules};
use crate::support::{DirHost, Stored, log, of, relations};

/// The outcome, and the report.
async fn piuparts(house: &House, binaries: Vec<Stored>) -> (Outcome, String) {
    let ids: Vec<i64> = (20..).take(binaries.len()).collect();
    let host = DirHost::new()
        .stored(3, environment("trixie", "minbase").await)
        .stored(4, environment("bookworm", "buildd").await);
    let host = ids.iter().zip(binaries).fold(host, |host, (id, binary)| host.stored(*id, binary));
    let data = json!({
        "input": {"binary_artifacts": ids}, "build_architecture": architecture(), "environment": 3, "base_tgz": 4,
    });
    let dynamic = json!({"environment_id": 3, "base_tgz_id": 4, "input_binary_artifacts_ids": ids});
    let outcome = house.run("piuparts", &data, dynamic, &host).await;
    let report = of(&outcome, ArtifactCategory::Piuparts);
    let file = report.first().unwrap_or_else(|| panic!("{}", all_logs(&outcome))).files.values().next().unwrap();
    let text = std::fs::read_to_string(&file.path).unwrap();
    (outcome, text)
}

/// The binary packages that a build made.
fn binaries(built: &Outcome) -> Vec<Stored> {
    assert_eq!(built.result, Some(Results::Success), "{}", all_logs(built));
    of(built, ArtifactCategory::BinaryPackage).into_iter().map(Stored::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_package_passes() {
    let house = House::new();
    let (_, built) = build(&house, source::tiny(house.root.path())).await;
    let (outcome, text) = piuparts(&house, binaries(&built)).await;
    assert_eq!(outcome.result, Some(Results::Success), "{text}\n{}", all_logs(&outcome));
    assert!(text.contains("PASS: All tests."), "{text}");
    let report = of(&outcome, ArtifactCategory::Piuparts)[0];
    assert_eq!(report.data["binary_packages"], json!({"tiny": "1.0", "tiny-doc": "1.0"}));
    assert_eq!(report.data["distribution"], "debian:bookworm");
    assert!(report.data["piuparts_version"].as_str().unwrap() >= "1.5", "{}", report.data);
    let related: Vec<_> = relations(&outcome).into_iter().filter(|line| line.starts_with("piuparts ")).collect();
    assert_eq!(related, ["piuparts relates-to 20", "piuparts relates-to 21", "piuparts relates-to 4"]);
    assert!(log(&outcome, "install.log").unwrap().contains("apt-get --yes install piuparts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_cannot_be_removed_is_found() {
    let house = House::new();
    let prerm = "\tmkdir -p debian/tiny/DEBIAN\n\tprintf '#!/bin/sh\\nexit 3\\n' > debian/tiny/DEBIAN/prerm\n\
                 \tchmod 755 debian/tiny/DEBIAN/prerm\n";
    let dsc = package(house.root.path(), "tiny", "1.0", &[("control", CONTROL), ("rules", &rules(prerm))]);
    let (_, built) = build(&house, dsc).await;
    let (outcome, text) = piuparts(&house, binaries(&built)).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{text}");
    assert!(text.contains("pre-removal script subprocess returned error exit status 3"), "{text}");
    assert!(text.contains("ERROR: Command failed"), "{text}");
}
