//! `sbuild`: builds binary packages from a source package with sbuild(1).

mod build_log;
mod command;
mod data;
mod output;
mod run;

use serde_json::Value;
use usine_model::artifact::ArtifactCategory;
use usine_model::tags::{self, Tags};

use crate::extra_repositories;
use crate::run::Run;
use crate::task::{BINARY_CATEGORIES, Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, multiple, single, text_of};
use data::{SbuildData, SbuildDynamicData};

/// The task.
pub(crate) struct Sbuild;

const SOURCE: &str = "input.source_artifact";
const EXTRA_BINARIES: &str = "input.extra_binary_artifacts";

impl WorkerTask for Sbuild {
    const NAME: &'static str = "sbuild";

    type Data = SbuildData;
    type Dynamic = SbuildDynamicData;

    fn check(data: &SbuildData, error: &mut TaskDataError) {
        data.check(error);
    }

    fn inputs(data: &SbuildData) -> Vec<Input> {
        vec![
            single(SOURCE, &data.input.source_artifact, &[ArtifactCategory::SourcePackage]),
            multiple(EXTRA_BINARIES, &data.input.extra_binary_artifacts, &BINARY_CATEGORIES),
            environment(&data.environment),
        ]
    }

    fn executor(data: &SbuildData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend, build_architecture: Some(&data.build_architecture) })
    }

    fn further_tags(_: &SbuildData) -> Tags {
        Tags::from([tags::capability("sbuild")])
    }

    fn source_packages(_: &SbuildData, resolved: &Resolved) -> Vec<String> {
        resolved.one(SOURCE).and_then(ResolvedArtifact::source).map(|(name, _)| name).into_iter().collect()
    }

    fn describe(
        data: &SbuildData,
        resolved: &Resolved,
        server: &ServerFacts,
    ) -> Result<Description<SbuildDynamicData>, TaskDataError> {
        let source = resolved.required(SOURCE)?;
        let (name, version) = source.named_source(SOURCE)?;
        let dynamic = SbuildDynamicData {
            environment_id: resolved.required(ENVIRONMENT)?.id,
            input_source_artifact_id: source.id,
            input_extra_binary_artifacts_ids: resolved.ids(EXTRA_BINARIES),
            extra_repositories: extra_repositories::resolve(data.extra_repositories.as_deref(), resolved)?,
            binnmu_maintainer: Some(format!("Debusine <noreply@{}>", server.fqdn)),
        };
        Ok(Description {
            parameter_summary: Some(format!("{name}_{version} ({})", data.host_architecture())),
            subject: Some(name),
            runtime_context: data.runtime_context(),
            configuration_context: text_of(resolved, ENVIRONMENT, "codename"),
            dynamic,
        })
    }

    fn input_values(_: &SbuildData, server: &ServerFacts) -> Vec<(&'static str, Value)> {
        vec![("debusine_fqdn", server.fqdn.clone().into())]
    }

    fn start(data: SbuildData, dynamic: SbuildDynamicData) -> Box<dyn Run> {
        Box::new(run::SbuildRun::new(data, dynamic))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn resolved() -> Resolved {
        let source = json!({"name": "hello", "version": "2.12.3-1", "type": "dpkg", "dsc_fields": {}});
        Resolved::new()
            .with(SOURCE, vec![artifact(12, ArtifactCategory::SourcePackage, source)])
            .with(EXTRA_BINARIES, vec![artifact(20, ArtifactCategory::BinaryPackage, json!({}))])
            .with(ENVIRONMENT, vec![artifact(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}))])
    }

    fn data() -> Value {
        json!({
            "input": {"source_artifact": 12, "extra_binary_artifacts": [20]}, "build_architecture": "amd64",
            "build_components": ["any", "all"], "environment": "debian/match:codename=bookworm",
        })
    }

    #[test]
    fn inputs_and_tags() {
        let inputs = Sbuild.inputs(&data()).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.environment)).collect();
        assert_eq!(fields, [(SOURCE, false), (EXTRA_BINARIES, false), (ENVIRONMENT, true)]);
        let tags = required_tags(&Sbuild, &data());
        assert_eq!(
            tags,
            [
                "worker:build-arch:amd64",
                "worker:cap:sbuild",
                "worker:executor:unshare",
                "worker:task:worker:sbuild:version:1",
                "worker:type:external",
            ]
        );
        assert_eq!(Sbuild.provided_tags(&data(), &resolved()), Tags::from(["task:source-package:hello".to_owned()]));
        assert!(Sbuild.provided_tags(&data(), &Resolved::new()).is_empty());
    }

    #[test]
    fn dynamic_data_have_the_keys_of_the_reference() {
        let mut dynamic = Value::Object(Sbuild.dynamic_data(&data(), &resolved(), &server()).unwrap());
        assert_eq!(input_artifact_ids(&dynamic), [3, 12, 20].into());
        assert!(Sbuild.prepare(&data(), Some(&dynamic)).is_ok());
        let fields = dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(
            dynamic,
            json!({
                "environment_id": 3, "extra_repositories": null, "input_source_artifact_id": 12,
                "input_extra_binary_artifacts_ids": [20], "binnmu_maintainer": "Debusine <noreply@d.example>",
                "subject": "hello", "parameter_summary": "hello_2.12.3-1 (amd64)",
                "runtime_context": "all+any:amd64:amd64", "configuration_context": "bookworm",
            })
        );
        assert_eq!(fields["build_architecture"], "amd64");
        assert_eq!(fields["debusine_fqdn"], "d.example");
        assert_eq!(fields["task_configuration"], Value::Null);
        assert_eq!(
            fields[ENVIRONMENT],
            json!({"label": "environment", "lookup": "debian/match:codename=bookworm", "artifact_id": 3,
                "category": "debian:system-tarball", "data": {"codename": "bookworm"}})
        );
        assert_eq!(
            fields[EXTRA_BINARIES],
            json!({"label": EXTRA_BINARIES, "lookup": [20],
                "artifacts": [{"artifact_id": 20, "category": "debian:binary-package", "data": {}}]})
        );
    }

    #[test]
    fn what_was_not_found_is_named() {
        let error = Sbuild.dynamic_data(&data(), &Resolved::new(), &server()).unwrap_err();
        assert!(error.errors.contains_key(SOURCE));
    }

    #[test]
    fn the_worker_is_strict_about_dynamic_data() {
        for (dynamic, path) in [
            (json!({"input_source_artifact_id": 12}), "environment_id"),
            (json!({"environment_id": 3, "input_source_artifact_id": 12, "surprise": 1}), "surprise"),
        ] {
            let error = Sbuild.prepare(&data(), Some(&dynamic)).err().unwrap();
            assert_eq!(error.errors.keys().collect::<Vec<_>>(), [path]);
        }
        assert!(Sbuild.prepare(&data(), None).is_err());
    }
}
