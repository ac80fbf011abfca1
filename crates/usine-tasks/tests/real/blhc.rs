//! blhc on real build logs.

use serde_json::json;
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::Results;
use usine_tasks::Outcome;

use crate::house::{House, all_logs, architecture, build, environment, hello};
use crate::source::{CONTROL, package, rules};
use crate::support::{DirHost, Stored, of};

async fn blhc(house: &House, log: Stored) -> (Outcome, String) {
    let dynamic = json!({"environment_id": 3, "input_artifact_id": 12, "input_artifact_data": log.data});
    let host = DirHost::new().stored(12, log).stored(3, environment("bookworm", "buildd").await);
    let data = json!({"input": {"artifact": 12}, "build_architecture": architecture(), "environment": 3});
    let outcome = house.run("blhc", &data, dynamic, &host).await;
    let report = of(&outcome, ArtifactCategory::Blhc);
    let file = report.first().unwrap_or_else(|| panic!("{}", all_logs(&outcome))).files.values().next().unwrap();
    let text = std::fs::read_to_string(&file.path).unwrap();
    (outcome, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_is_hardened() {
    let house = House::new();
    let (outcome, text) = blhc(&house, hello().await.log.clone()).await;
    assert_eq!((outcome.result, text.as_str()), (Some(Results::Success), ""), "{}", all_logs(&outcome));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_without_its_flags_is_found() {
    let house = House::new();
    let compile =
        "\techo 'int main(void) { return 0; }' > soft.c\n\tgcc -O2 -c soft.c -o soft.o\n\tgcc soft.o -o soft\n";
    let dsc = package(house.root.path(), "tiny", "1.0", &[("control", CONTROL), ("rules", &rules(compile))]);
    let (_, built) = build(&house, dsc).await;
    assert_eq!(built.result, Some(Results::Success), "{}", all_logs(&built));
    let (outcome, text) = blhc(&house, of(&built, ArtifactCategory::PackageBuildLog)[0].into()).await;
    assert_eq!(outcome.result, Some(Results::Failure), "{}", all_logs(&outcome));
    assert!(text.contains("CFLAGS missing (") && text.contains("gcc -O2 -c soft.c"), "{text}");
}
