//! `lintian`: looks for mistakes in source and binary packages with lintian(1).

mod analysis;
mod data;
mod report;
mod run;

use usine_model::artifact::ArtifactCategory;

use crate::run::Run;
use crate::task::{BINARY_CATEGORIES, Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, multiple, single, text_of};
use data::{LintianData, LintianDynamicData};

/// The task.
pub(crate) struct Lintian;

const SOURCE: &str = "input.source_artifact";
const BINARIES: &str = "input.binary_artifacts";
/// What brings a source package.
const SOURCE_CATEGORIES: [ArtifactCategory; 2] = [ArtifactCategory::SourcePackage, ArtifactCategory::Upload];

impl WorkerTask for Lintian {
    const NAME: &'static str = "lintian";

    type Data = LintianData;
    type Dynamic = LintianDynamicData;

    fn check(data: &LintianData, error: &mut TaskDataError) {
        data.check(error);
    }

    fn inputs(data: &LintianData) -> Vec<Input> {
        let source = data.input.source_artifact.as_ref().map(|lookup| single(SOURCE, lookup, &SOURCE_CATEGORIES));
        let binaries = multiple(BINARIES, &data.input.binary_artifacts, &BINARY_CATEGORIES);
        source.into_iter().chain([binaries]).chain(data.environment.as_ref().map(environment)).collect()
    }

    fn executor(data: &LintianData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend.into(), build_architecture: data.build_architecture.as_deref() })
    }

    fn source_packages(_: &LintianData, resolved: &Resolved) -> Vec<String> {
        resolved.one(SOURCE).and_then(ResolvedArtifact::source).map(|(name, _)| name).into_iter().collect()
    }

    fn describe(
        data: &LintianData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<LintianDynamicData>, TaskDataError> {
        let field = if data.input.source_artifact.is_some() { SOURCE } else { BINARIES };
        let (name, version) = resolved.required(field)?.named_source(field)?;
        let environment_id = match &data.environment {
            Some(_) => Some(resolved.required(ENVIRONMENT)?.id),
            None => None,
        };
        let codename = text_of(resolved, ENVIRONMENT, "codename");
        let dynamic = LintianDynamicData {
            environment_id,
            input_source_artifact_id: resolved.one(SOURCE).map(|source| source.id),
            input_binary_artifacts_ids: resolved.ids(BINARIES),
        };
        Ok(Description {
            parameter_summary: Some(format!("{name}_{version}")),
            subject: Some(name),
            runtime_context: codename.as_ref().map(|codename| format!("{}:{codename}", data.output.names().join("+"))),
            configuration_context: codename,
            dynamic,
        })
    }

    fn start(data: LintianData, dynamic: LintianDynamicData) -> Box<dyn Run> {
        Box::new(run::LintianRun::new(data, dynamic))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn data() -> Value {
        json!({"input": {"source_artifact": 12, "binary_artifacts": [20, 21]},
            "environment": "debian/match:codename=bookworm"})
    }

    fn resolved() -> Resolved {
        let source = json!({"name": "hello", "version": "2.10-3", "type": "dpkg", "dsc_fields": {}});
        Resolved::new()
            .with(SOURCE, vec![artifact(12, ArtifactCategory::SourcePackage, source)])
            .with(BINARIES, binaries())
            .with(ENVIRONMENT, vec![artifact(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}))])
    }

    fn binaries() -> Vec<ResolvedArtifact> {
        let binary =
            json!({"srcpkg_name": "hello", "srcpkg_version": "2.10-3", "deb_fields": {"Version": "2.10-3+b1"}});
        let upload = json!({"type": "dpkg", "changes_fields": {"Source": "other (1)", "Version": "1+b1"}});
        vec![artifact(20, ArtifactCategory::BinaryPackage, binary), artifact(21, ArtifactCategory::Upload, upload)]
    }

    #[test]
    fn inputs_and_tags() {
        let inputs = Lintian.inputs(&data()).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.environment)).collect();
        assert_eq!(fields, [(SOURCE, false), (BINARIES, false), (ENVIRONMENT, true)]);
        assert_eq!(inputs[0].categories, SOURCE_CATEGORIES);
        assert_eq!(inputs[1].categories, BINARY_CATEGORIES);
        assert_eq!(
            required_tags(&Lintian, &data()),
            [
                "worker:build-arch:amd64",
                "worker:executor:unshare",
                "worker:task:worker:lintian:version:1",
                "worker:type:external"
            ]
        );
        let mut other = data();
        other["build_architecture"] = json!("riscv64");
        other["backend"] = json!("incus-lxc");
        assert_eq!(required_tags(&Lintian, &other)[..2], ["worker:build-arch:riscv64", "worker:executor:incus-lxc"]);
        assert_eq!(Lintian.provided_tags(&data(), &resolved()), ["task:source-package:hello".to_owned()].into());
        let only_binaries = Resolved::new().with(BINARIES, binaries());
        assert!(Lintian.provided_tags(&data(), &only_binaries).is_empty());
    }

    #[test]
    fn dynamic_data_have_the_keys_of_the_reference() {
        let mut dynamic = Value::Object(Lintian.dynamic_data(&data(), &resolved(), &server()).unwrap());
        assert!(Lintian.prepare(&data(), Some(&dynamic)).is_ok());
        let fields = dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(input_artifact_ids(&dynamic), [3, 12, 20, 21].into());
        assert_eq!(
            dynamic,
            json!({"environment_id": 3, "input_source_artifact_id": 12, "input_binary_artifacts_ids": [20, 21],
                "subject": "hello", "parameter_summary": "hello_2.10-3",
                "runtime_context": "binary-all+binary-any+source:bookworm", "configuration_context": "bookworm"})
        );
        assert_eq!(fields["build_architecture"], "amd64");
        assert_eq!(fields[BINARIES]["artifacts"][1]["artifact_id"], 21);
    }

    #[test]
    fn binaries_alone_and_no_environment() {
        let data = json!({"input": {"binary_artifacts": [20]}, "output": {"binary_all_analysis": false}});
        let resolved = Resolved::new().with(BINARIES, binaries());
        let mut dynamic = Lintian.dynamic_data(&data, &resolved, &server()).unwrap();
        dynamic.remove("task_input_fields");
        assert_eq!(
            Value::Object(dynamic),
            json!({"environment_id": null, "input_source_artifact_id": null, "input_binary_artifacts_ids": [20, 21],
                "subject": "hello", "parameter_summary": "hello_2.10-3", "runtime_context": null,
                "configuration_context": null})
        );
        let error = Lintian.dynamic_data(&data, &Resolved::new(), &server()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1 validation error: input.binary_artifacts: Value error, nothing was found for this lookup"
        );
        let mut with_environment = data;
        with_environment["environment"] = json!(3);
        let error = Lintian.dynamic_data(&with_environment, &resolved, &server()).unwrap_err();
        assert!(error.errors.contains_key(ENVIRONMENT));
    }
}
