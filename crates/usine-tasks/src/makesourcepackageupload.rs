//! `makesourcepackageupload`: makes an upload of a source package, with dpkg-genchanges(1).

mod run;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::artifact::ArtifactCategory;
use usine_model::lookup::LookupSingle;

use crate::executor::InstanceBackend;
use crate::run::Run;
use crate::task::{Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::{SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, single};

/// The task.
pub(crate) struct MakeSourcePackageUpload;

const SOURCE: &str = "input.source_artifact";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeSourcePackageUploadData {
    input: MakeSourcePackageUploadInput,
    /// The changelog entries after this version are part of the upload.
    #[serde(default)]
    since_version: Option<String>,
    /// In place of the changelog's.
    #[serde(default)]
    target_distribution: Option<String>,
    /// Where the upload is made.
    #[schemars(with = "SingleSchema")]
    environment: LookupSingle,
    #[serde(default)]
    backend: InstanceBackend,
    #[serde(default)]
    build_architecture: Option<String>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MakeSourcePackageUploadInput {
    /// What to upload.
    #[schemars(with = "SingleSchema")]
    source_artifact: LookupSingle,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeSourcePackageUploadDynamicData {
    environment_id: i64,
    input_source_artifact_id: i64,
}

impl WorkerTask for MakeSourcePackageUpload {
    const NAME: &'static str = "makesourcepackageupload";

    type Data = MakeSourcePackageUploadData;
    type Dynamic = MakeSourcePackageUploadDynamicData;

    fn inputs(data: &MakeSourcePackageUploadData) -> Vec<Input> {
        vec![
            single(SOURCE, &data.input.source_artifact, &[ArtifactCategory::SourcePackage]),
            environment(&data.environment),
        ]
    }

    fn executor(data: &MakeSourcePackageUploadData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend.into(), build_architecture: data.build_architecture.as_deref() })
    }

    fn source_packages(_: &MakeSourcePackageUploadData, resolved: &Resolved) -> Vec<String> {
        resolved.one(SOURCE).and_then(ResolvedArtifact::source).map(|(name, _)| name).into_iter().collect()
    }

    fn describe(
        _: &MakeSourcePackageUploadData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<MakeSourcePackageUploadDynamicData>, TaskDataError> {
        let source = resolved.required(SOURCE)?;
        let (name, version) = source.named_source(SOURCE)?;
        Ok(Description {
            parameter_summary: Some(format!("{name}_{version}")),
            subject: Some(name),
            runtime_context: None,
            configuration_context: None,
            dynamic: MakeSourcePackageUploadDynamicData {
                environment_id: resolved.required(ENVIRONMENT)?.id,
                input_source_artifact_id: source.id,
            },
        })
    }

    fn start(data: MakeSourcePackageUploadData, dynamic: MakeSourcePackageUploadDynamicData) -> Box<dyn Run> {
        Box::new(run::MakeSourcePackageUploadRun::new(data, dynamic))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn data() -> Value {
        json!({"input": {"source_artifact": 12}, "environment": 3})
    }

    #[test]
    fn data_rules() {
        let with = |key: &str, value: Value| {
            let mut data = data();
            data[key] = value;
            data
        };
        for good in [
            data(),
            with("since_version", json!("1.0-1")),
            with("since_version", json!(null)),
            with("target_distribution", json!("bookworm")),
            with("target_distribution", json!(null)),
            with("backend", json!("incus-lxc")),
            with("build_architecture", json!("arm64")),
            with("host_architecture", json!("arm64")),
            with("input", json!({"source_artifact": "x@debian:suite/name:y"})),
            with("task_configuration", json!(null)),
        ] {
            assert_eq!(MakeSourcePackageUpload.check(&good), Ok(()), "{good}");
        }
        for (bad, path, message) in [
            (json!({"environment": 3}), "input", "Field required"),
            (json!({"input": {"source_artifact": 12}}), "environment", "Field required"),
            (with("input", json!({})), "input.source_artifact", "Field required"),
            (with("input", json!({"source_artifact": 12, "x": 1})), "input.x", "Extra inputs are not permitted"),
            (with("x", json!(1)), "x", "Extra inputs are not permitted"),
            (
                with("input", json!({"source_artifact": [12]})),
                "input.source_artifact",
                "Input should be a valid integer or string",
            ),
            (with("environment", json!(null)), "environment", "Input should be a valid integer or string"),
            (with("since_version", json!(1)), "since_version", "Input should be a valid string"),
            (with("target_distribution", json!(1)), "target_distribution", "Input should be a valid string"),
            (with("build_architecture", json!(1)), "build_architecture", "Input should be a valid string"),
            (with("backend", json!("qemu")), "backend", "Input should be 'auto', 'unshare', 'incus-lxc' or 'incus-vm'"),
        ] {
            assert_eq!(MakeSourcePackageUpload.check(&bad).unwrap_err(), TaskDataError::at(path, message), "{bad}");
        }
    }

    #[test]
    fn the_server_side() {
        let inputs = MakeSourcePackageUpload.inputs(&data()).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.environment)).collect();
        assert_eq!(fields, [(SOURCE, false), (ENVIRONMENT, true)]);
        let tags = required_tags(&MakeSourcePackageUpload, &data());
        assert_eq!(
            tags,
            [
                "worker:build-arch:amd64",
                "worker:executor:unshare",
                "worker:task:worker:makesourcepackageupload:version:1",
                "worker:type:external",
            ]
        );
        let source = json!({"name": "hello", "version": "1:2.12.3-1", "type": "dpkg", "dsc_fields": {}});
        let resolved = Resolved::new()
            .with(SOURCE, vec![artifact(12, ArtifactCategory::SourcePackage, source)])
            .with(ENVIRONMENT, vec![artifact(3, ArtifactCategory::SystemTarball, json!({}))]);
        let provided: Vec<_> = MakeSourcePackageUpload.provided_tags(&data(), &resolved).into_iter().collect();
        assert_eq!(provided, ["task:source-package:hello"]);
        let mut dynamic = Value::Object(MakeSourcePackageUpload.dynamic_data(&data(), &resolved, &server()).unwrap());
        assert_eq!(input_artifact_ids(&dynamic), [3, 12].into());
        assert!(MakeSourcePackageUpload.prepare(&data(), Some(&dynamic)).is_ok());
        dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(
            dynamic,
            json!({
                "environment_id": 3, "input_source_artifact_id": 12, "subject": "hello",
                "parameter_summary": "hello_1:2.12.3-1", "runtime_context": null, "configuration_context": null,
            })
        );
        let error = MakeSourcePackageUpload.dynamic_data(&data(), &Resolved::new(), &server()).unwrap_err();
        assert!(error.errors.contains_key(SOURCE));
        let error = MakeSourcePackageUpload.prepare(&data(), Some(&json!({"environment_id": 3}))).err().unwrap();
        assert_eq!(error.errors.keys().collect::<Vec<_>>(), ["input_source_artifact_id"]);
    }
}
