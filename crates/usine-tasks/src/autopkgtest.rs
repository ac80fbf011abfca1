//! `autopkgtest`: runs the tests that a source package brings along (DEP-8) with autopkgtest(1).

mod command;
mod data;
mod run;
mod summary;
mod verdict;

use usine_model::artifact::ArtifactCategory;
use usine_model::tags::{self, Tags};

use crate::extra_repositories;
use crate::run::Run;
use crate::task::{BINARY_CATEGORIES, Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, multiple, single, text_of};
use data::{AutopkgtestData, AutopkgtestDynamicData};

/// The task.
pub(crate) struct Autopkgtest;

const SOURCE: &str = "input.source_artifact";
const BINARIES: &str = "input.binary_artifacts";
const CONTEXT: &str = "input.context_artifacts";

/// What brings a source package.
const SOURCE_CATEGORIES: [ArtifactCategory; 2] = [ArtifactCategory::SourcePackage, ArtifactCategory::Upload];

impl WorkerTask for Autopkgtest {
    const NAME: &'static str = "autopkgtest";

    type Data = AutopkgtestData;
    type Dynamic = AutopkgtestDynamicData;

    fn check(data: &AutopkgtestData, error: &mut TaskDataError) {
        data.check(error);
    }

    fn inputs(data: &AutopkgtestData) -> Vec<Input> {
        vec![
            single(SOURCE, &data.input.source_artifact, &SOURCE_CATEGORIES),
            multiple(BINARIES, &data.input.binary_artifacts, &BINARY_CATEGORIES),
            multiple(CONTEXT, &data.input.context_artifacts, &BINARY_CATEGORIES),
            environment(&data.environment),
        ]
    }

    fn executor(data: &AutopkgtestData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend, build_architecture: Some(&data.build_architecture) })
    }

    fn further_tags(_: &AutopkgtestData) -> Tags {
        Tags::from([tags::capability("autopkgtest")])
    }

    fn source_packages(_: &AutopkgtestData, resolved: &Resolved) -> Vec<String> {
        resolved.one(SOURCE).and_then(ResolvedArtifact::source).map(|(name, _)| name).into_iter().collect()
    }

    fn describe(
        data: &AutopkgtestData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<AutopkgtestDynamicData>, TaskDataError> {
        let source = resolved.required(SOURCE)?;
        let (name, version) = source.named_source(SOURCE)?;
        let architecture = &data.build_architecture;
        let dynamic = AutopkgtestDynamicData {
            environment_id: resolved.required(ENVIRONMENT)?.id,
            input_source_artifact_id: source.id,
            input_binary_artifacts_ids: resolved.ids(BINARIES),
            input_context_artifacts_ids: resolved.ids(CONTEXT),
            extra_repositories: extra_repositories::resolve(data.extra_repositories.as_deref(), resolved)?,
        };
        Ok(Description {
            parameter_summary: Some(format!("{name}_{version} ({architecture})")),
            subject: Some(name),
            runtime_context: Some(format!("{architecture}:{}", data.backend.decided())),
            configuration_context: text_of(resolved, ENVIRONMENT, "codename"),
            dynamic,
        })
    }

    fn start(data: AutopkgtestData, dynamic: AutopkgtestDynamicData) -> Box<dyn Run> {
        Box::new(run::AutopkgtestRun::new(data, dynamic))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn resolved() -> Resolved {
        let source = json!({"name": "hello", "version": "2.12.3-1", "type": "dpkg", "dsc_fields": {}});
        Resolved::new()
            .with(SOURCE, vec![artifact(12, ArtifactCategory::SourcePackage, source)])
            .with(BINARIES, vec![artifact(20, ArtifactCategory::BinaryPackage, json!({}))])
            .with(CONTEXT, vec![artifact(30, ArtifactCategory::Upload, json!({}))])
            .with(ENVIRONMENT, vec![artifact(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}))])
    }

    fn data() -> Value {
        json!({
            "input": {"source_artifact": 12, "binary_artifacts": [20], "context_artifacts": [30]},
            "build_architecture": "amd64", "environment": "debian/match:codename=bookworm",
        })
    }

    #[test]
    fn inputs_and_tags() {
        let inputs = Autopkgtest.inputs(&data()).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.environment)).collect();
        assert_eq!(fields, [(SOURCE, false), (BINARIES, false), (CONTEXT, false), (ENVIRONMENT, true)]);
        assert_eq!(inputs[0].categories, SOURCE_CATEGORIES);
        assert_eq!(inputs[1].categories, BINARY_CATEGORIES);
        assert_eq!(inputs[2].categories, BINARY_CATEGORIES);
        let mut data = data();
        data["backend"] = json!("incus-vm");
        assert_eq!(
            required_tags(&Autopkgtest, &data),
            [
                "worker:build-arch:amd64",
                "worker:cap:autopkgtest",
                "worker:executor:incus-vm",
                "worker:task:worker:autopkgtest:version:1",
                "worker:type:external",
            ]
        );
        let provided = Autopkgtest.provided_tags(&data, &resolved());
        assert_eq!(provided, Tags::from(["task:source-package:hello".to_owned()]));
        assert!(Autopkgtest.provided_tags(&data, &Resolved::new()).is_empty());
    }

    #[test]
    fn dynamic_data_have_the_keys_of_the_reference() {
        let mut dynamic = Value::Object(Autopkgtest.dynamic_data(&data(), &resolved(), &server()).unwrap());
        assert_eq!(input_artifact_ids(&dynamic), [3, 12, 20, 30].into());
        assert!(Autopkgtest.prepare(&data(), Some(&dynamic)).is_ok());
        let fields = dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(
            dynamic,
            json!({
                "environment_id": 3, "extra_repositories": null, "input_source_artifact_id": 12,
                "input_binary_artifacts_ids": [20], "input_context_artifacts_ids": [30], "subject": "hello",
                "parameter_summary": "hello_2.12.3-1 (amd64)", "runtime_context": "amd64:unshare",
                "configuration_context": "bookworm",
            })
        );
        assert_eq!(fields["build_architecture"], "amd64");
        assert_eq!(fields[CONTEXT]["artifacts"][0]["artifact_id"], 30);
    }

    #[test]
    fn the_source_may_come_in_an_upload() {
        let changes = json!({"type": "dpkg", "changes_fields": {"Source": "foo (1.0)", "Version": "1.0+b1"}});
        let upload = vec![artifact(12, ArtifactCategory::Upload, changes)];
        let dynamic = Autopkgtest.dynamic_data(&data(), &resolved().with(SOURCE, upload), &server()).unwrap();
        assert_eq!(dynamic["subject"], "foo");
        let error = Autopkgtest.dynamic_data(&data(), &Resolved::new(), &server()).unwrap_err();
        assert!(error.errors.contains_key(SOURCE));
    }

    #[test]
    fn the_worker_is_strict_about_dynamic_data() {
        for (dynamic, path) in [
            (json!({"input_source_artifact_id": 12}), "environment_id"),
            (json!({"environment_id": 3}), "input_source_artifact_id"),
            (json!({"environment_id": 3, "input_source_artifact_id": 12, "surprise": 1}), "surprise"),
        ] {
            let error = Autopkgtest.prepare(&data(), Some(&dynamic)).err().unwrap();
            assert_eq!(error.errors.keys().collect::<Vec<_>>(), [path]);
        }
    }
}
