//! `extractforsigning`: takes the files that a signing template names out of binary packages.

mod run;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::lookup::LookupSingle;

use crate::Backend;
use crate::run::Run;
use crate::signing_template::{check_backend, control_text};
use crate::task::{BINARY_CATEGORIES, Derived, Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::{Multiple, SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, multiple, single};

/// The task.
pub(crate) struct ExtractForSigning;

const TEMPLATE: &str = "input.template_artifact";
const BINARIES: &str = "input.binary_artifacts";
/// The binary packages that the uploads among [`BINARIES`] extend.
const OF_UPLOADS: &str = "input.binary_artifacts/extended";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtractForSigningData {
    input: ExtractForSigningInput,
    /// Where packages are unpacked.
    #[schemars(with = "SingleSchema")]
    environment: LookupSingle,
    /// Only `auto`.
    #[serde(default)]
    backend: Backend,
    #[serde(default)]
    build_architecture: Option<String>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExtractForSigningInput {
    /// The template's binary package.
    #[schemars(with = "SingleSchema")]
    template_artifact: LookupSingle,
    /// Binary packages with what is to be signed, or uploads of them.
    binary_artifacts: Multiple,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtractForSigningDynamicData {
    environment_id: i64,
    input_template_artifact_id: i64,
    input_binary_artifacts_ids: Vec<i64>,
}

impl WorkerTask for ExtractForSigning {
    const NAME: &'static str = "extractforsigning";
    const DERIVED: &'static [Derived] = &[Derived {
        field: OF_UPLOADS,
        from: BINARIES,
        steps: &[(RelationType::Extends, ArtifactCategory::BinaryPackage)],
    }];

    type Data = ExtractForSigningData;
    type Dynamic = ExtractForSigningDynamicData;

    fn check(data: &ExtractForSigningData, error: &mut TaskDataError) {
        check_backend("ExtractForSigning", data.backend, error);
    }

    fn inputs(data: &ExtractForSigningData) -> Vec<Input> {
        vec![
            single(TEMPLATE, &data.input.template_artifact, &[ArtifactCategory::BinaryPackage]),
            multiple(BINARIES, &data.input.binary_artifacts, &BINARY_CATEGORIES),
            environment(&data.environment),
        ]
    }

    fn executor(data: &ExtractForSigningData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend, build_architecture: data.build_architecture.as_deref() })
    }

    fn describe(
        _: &ExtractForSigningData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<ExtractForSigningDynamicData>, TaskDataError> {
        let template = resolved.required(TEMPLATE)?;
        let package = control_text(template, TEMPLATE, "Package")?;
        let version = control_text(template, TEMPLATE, "Version")?;
        let binaries = binaries(resolved);
        let architectures = binaries.iter().map(|binary| control_text(binary, BINARIES, "Architecture"));
        let architectures: BTreeSet<&str> = architectures.collect::<Result<_, _>>()?;
        let architectures = Vec::from_iter(architectures).join(", ");
        Ok(Description {
            subject: Some(package.to_owned()),
            parameter_summary: Some(format!("{package}_{version} ({architectures})")),
            runtime_context: None,
            configuration_context: None,
            dynamic: ExtractForSigningDynamicData {
                environment_id: resolved.required(ENVIRONMENT)?.id,
                input_template_artifact_id: template.id,
                input_binary_artifacts_ids: binaries.iter().map(|binary| binary.id).collect(),
            },
        })
    }

    fn start(_: ExtractForSigningData, dynamic: ExtractForSigningDynamicData) -> Box<dyn Run> {
        Box::new(run::ExtractForSigningRun::new(dynamic))
    }
}

/// The binary packages, each once; those of uploads last.
fn binaries(resolved: &Resolved) -> Vec<&ResolvedArtifact> {
    let mut seen = BTreeSet::new();
    let all = resolved.all(BINARIES).iter().chain(resolved.all(OF_UPLOADS));
    all.filter(|artifact| artifact.category == ArtifactCategory::BinaryPackage && seen.insert(artifact.id)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn binary(id: i64, package: &str, architecture: &str) -> ResolvedArtifact {
        let fields = json!({"Package": package, "Version": "1:1.0", "Architecture": architecture});
        artifact(id, ArtifactCategory::BinaryPackage, json!({"srcpkg_name": "tiny", "deb_fields": fields}))
    }

    fn data() -> Value {
        json!({"input": {"template_artifact": 10, "binary_artifacts": [20, 30]}, "environment": 3})
    }

    #[test]
    fn data_rules() {
        let with = |path: &str, value: Value| {
            let mut data = data();
            let (parent, key) = path.rsplit_once('/').unwrap();
            data.pointer_mut(parent).unwrap()[key] = value;
            data
        };
        let without = |path: &str| {
            let mut data = data();
            let (parent, key) = path.rsplit_once('/').unwrap();
            data.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            data
        };
        for good in [
            data(),
            with("/backend", json!("auto")),
            with("/build_architecture", json!("arm64")),
            with("/build_architecture", json!(null)),
            with("/host_architecture", json!("arm64")),
            with("/task_configuration", json!(null)),
            with("/input/binary_artifacts", json!({"collection": "x"})),
            with("/environment", json!("debian/match:codename=bookworm")),
        ] {
            assert_eq!(ExtractForSigning.check(&good), Ok(()), "{good}");
        }
        let only_auto = "Value error, ExtractForSigning only accepts backend \"auto\", not \"incus-vm\"";
        let not_a_list = "Value error, Lookup of multiple collection items must be a dictionary or a list";
        for (bad, path, message) in [
            (without("/input"), "input", "Field required"),
            (without("/input/template_artifact"), "input.template_artifact", "Field required"),
            (without("/input/binary_artifacts"), "input.binary_artifacts", "Field required"),
            (without("/environment"), "environment", "Field required"),
            (with("/x", json!(1)), "x", "Extra inputs are not permitted"),
            (with("/input/x", json!(1)), "input.x", "Extra inputs are not permitted"),
            (with("/input/binary_artifacts", json!("20@artifacts")), "input.binary_artifacts", not_a_list),
            (
                with("/input/template_artifact", json!([10])),
                "input.template_artifact",
                "Input should be a valid integer or string",
            ),
            (with("/environment", json!(null)), "environment", "Input should be a valid integer or string"),
            (with("/build_architecture", json!(1)), "build_architecture", "Input should be a valid string"),
            (with("/backend", json!("incus-vm")), "backend", only_auto),
            (
                with("/backend", json!("xen")),
                "backend",
                "Input should be 'auto', 'unshare', 'incus-lxc', 'incus-vm' or 'qemu'",
            ),
        ] {
            assert_eq!(ExtractForSigning.check(&bad).unwrap_err(), TaskDataError::at(path, message), "{bad}");
        }
    }

    #[test]
    fn inputs_and_tags() {
        let inputs = ExtractForSigning.inputs(&data()).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.environment)).collect();
        assert_eq!(fields, [(TEMPLATE, false), (BINARIES, false), (ENVIRONMENT, true)]);
        assert_eq!(inputs[0].categories, [ArtifactCategory::BinaryPackage]);
        assert_eq!(inputs[1].categories, BINARY_CATEGORIES);
        let tags = required_tags(&ExtractForSigning, &data());
        assert_eq!(
            tags,
            [
                "worker:build-arch:amd64",
                "worker:executor:unshare",
                "worker:task:worker:extractforsigning:version:1",
                "worker:type:external",
            ]
        );
        assert!(ExtractForSigning.provided_tags(&data(), &Resolved::new()).is_empty());
        assert_eq!(ExtractForSigning.derived()[0].from, BINARIES);
    }

    #[test]
    fn uploads_are_replaced_by_their_packages() {
        let upload = artifact(30, ArtifactCategory::Upload, json!({"changes_fields": {"Source": "tiny"}}));
        let resolved = Resolved::new()
            .with(TEMPLATE, vec![binary(10, "tiny-signed-template", "amd64")])
            .with(BINARIES, vec![binary(20, "tiny", "amd64"), upload])
            .with(OF_UPLOADS, vec![binary(31, "tiny-doc", "all"), binary(20, "tiny", "amd64")])
            .with(ENVIRONMENT, vec![artifact(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}))]);
        let mut dynamic = Value::Object(ExtractForSigning.dynamic_data(&data(), &resolved, &server()).unwrap());
        assert_eq!(input_artifact_ids(&dynamic), [3, 10, 20, 30, 31].into());
        assert!(ExtractForSigning.prepare(&data(), Some(&dynamic)).is_ok());
        let fields = dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(fields["build_architecture"], "amd64");
        assert_eq!(
            dynamic,
            json!({
                "environment_id": 3, "input_template_artifact_id": 10, "input_binary_artifacts_ids": [20, 31],
                "subject": "tiny-signed-template", "parameter_summary": "tiny-signed-template_1:1.0 (all, amd64)",
                "runtime_context": null, "configuration_context": null,
            })
        );
        let error = ExtractForSigning.dynamic_data(&data(), &Resolved::new(), &server()).unwrap_err();
        assert!(error.errors.contains_key(TEMPLATE));
        let old = Resolved::new().with(TEMPLATE, vec![artifact(10, ArtifactCategory::BinaryPackage, json!({}))]);
        let error = ExtractForSigning.dynamic_data(&data(), &old, &server()).unwrap_err();
        assert!(error.to_string().contains("artifact 10 has no Package in its deb_fields"), "{error}");
    }

    #[test]
    fn the_worker_is_strict_about_dynamic_data() {
        let error = ExtractForSigning.prepare(&data(), Some(&json!({"environment_id": 3}))).err().unwrap();
        assert_eq!(error.errors.keys().collect::<Vec<_>>(), ["input_template_artifact_id"]);
        assert!(ExtractForSigning.prepare(&data(), None).is_err());
    }
}
