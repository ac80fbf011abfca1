//! `assemblesignedsource`: puts signatures into the source package that a signing template brings.

mod run;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::lookup::LookupSingle;

use crate::Backend;
use crate::run::Run;
use crate::signing_template::{check_backend, control_text};
use crate::task::{Derived, Input, Resolved, ServerFacts};
use crate::task_data::{Multiple, SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, multiple, single};

/// The task.
pub(crate) struct AssembleSignedSource;

const TEMPLATE: &str = "template";
const SIGNED: &str = "signed";
/// What was signed, and the packages that it came from.
const UNSIGNED: &str = "signed/unsigned";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssembleSignedSourceData {
    /// The template's binary package.
    #[schemars(with = "SingleSchema")]
    template: LookupSingle,
    /// The signatures.
    signed: Multiple,
    /// Where the source package is built.
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssembleSignedSourceDynamicData {
    environment_id: i64,
    template_id: i64,
    signed_ids: Vec<i64>,
    unsigned_ids: Vec<i64>,
}

impl WorkerTask for AssembleSignedSource {
    const NAME: &'static str = "assemblesignedsource";
    const DERIVED: &'static [Derived] = &[Derived {
        field: UNSIGNED,
        from: SIGNED,
        steps: &[
            (RelationType::RelatesTo, ArtifactCategory::SigningInput),
            (RelationType::RelatesTo, ArtifactCategory::BinaryPackage),
        ],
    }];

    type Data = AssembleSignedSourceData;
    type Dynamic = AssembleSignedSourceDynamicData;

    fn check(data: &AssembleSignedSourceData, error: &mut TaskDataError) {
        check_backend("AssembleSignedSource", data.backend, error);
    }

    fn inputs(data: &AssembleSignedSourceData) -> Vec<Input> {
        vec![
            single(TEMPLATE, &data.template, &[ArtifactCategory::BinaryPackage]),
            multiple(SIGNED, &data.signed, &[ArtifactCategory::SigningOutput]),
            environment(&data.environment),
        ]
    }

    fn executor(data: &AssembleSignedSourceData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend, build_architecture: data.build_architecture.as_deref() })
    }

    fn describe(
        _: &AssembleSignedSourceData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<AssembleSignedSourceDynamicData>, TaskDataError> {
        let template = resolved.required(TEMPLATE)?;
        let field = |key| control_text(template, TEMPLATE, key);
        let package = field("Package")?;
        let mut unsigned_ids = resolved.ids(UNSIGNED);
        unsigned_ids.sort_unstable();
        unsigned_ids.dedup();
        Ok(Description {
            subject: Some(package.to_owned()),
            parameter_summary: Some(format!("{package}_{} ({})", field("Version")?, field("Architecture")?)),
            runtime_context: None,
            configuration_context: None,
            dynamic: AssembleSignedSourceDynamicData {
                environment_id: resolved.required(ENVIRONMENT)?.id,
                template_id: template.id,
                signed_ids: resolved.ids(SIGNED),
                unsigned_ids,
            },
        })
    }

    fn start(_: AssembleSignedSourceData, dynamic: AssembleSignedSourceDynamicData) -> Box<dyn Run> {
        Box::new(run::AssembleSignedSourceRun::new(dynamic))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn data() -> Value {
        json!({"template": 10, "signed": [50, 51], "environment": "debian/match:codename=bookworm"})
    }

    #[test]
    fn data_rules() {
        let with = |key: &str, value: Value| {
            let mut data = data();
            data[key] = value;
            data
        };
        let without = |key: &str| {
            let mut data = data();
            data.as_object_mut().unwrap().remove(key);
            data
        };
        for good in [
            data(),
            with("backend", json!("auto")),
            with("build_architecture", json!("arm64")),
            with("build_architecture", json!(null)),
            with("task_configuration", json!(3)),
            with("signed", json!({"collection": "x"})),
        ] {
            assert_eq!(AssembleSignedSource.check(&good), Ok(()), "{good}");
        }
        let only_auto = "Value error, AssembleSignedSource only accepts backend \"auto\", not \"unshare\"";
        let not_a_list = "Value error, Lookup of multiple collection items must be a dictionary or a list";
        for (bad, path, message) in [
            (without("template"), "template", "Field required"),
            (without("signed"), "signed", "Field required"),
            (without("environment"), "environment", "Field required"),
            (with("x", json!(1)), "x", "Extra inputs are not permitted"),
            (with("input", json!({})), "input", "Extra inputs are not permitted"),
            (with("template", json!(null)), "template", "Input should be a valid integer or string"),
            (with("environment", json!({})), "environment", "Input should be a valid integer or string"),
            (with("signed", json!(50)), "signed", not_a_list),
            (with("build_architecture", json!([])), "build_architecture", "Input should be a valid string"),
            (with("backend", json!("unshare")), "backend", only_auto),
            (
                with("backend", json!("xen")),
                "backend",
                "Input should be 'auto', 'unshare', 'incus-lxc', 'incus-vm' or 'qemu'",
            ),
        ] {
            assert_eq!(AssembleSignedSource.check(&bad).unwrap_err(), TaskDataError::at(path, message), "{bad}");
        }
    }

    #[test]
    fn inputs_and_tags() {
        let inputs = AssembleSignedSource.inputs(&data()).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.environment)).collect();
        assert_eq!(fields, [(TEMPLATE, false), (SIGNED, false), (ENVIRONMENT, true)]);
        assert_eq!(inputs[1].categories, [ArtifactCategory::SigningOutput]);
        let tags = required_tags(&AssembleSignedSource, &data());
        assert_eq!(
            tags,
            [
                "worker:build-arch:amd64",
                "worker:executor:unshare",
                "worker:task:worker:assemblesignedsource:version:1",
                "worker:type:external",
            ]
        );
        assert_eq!(AssembleSignedSource.derived()[0].from, SIGNED);
    }

    #[test]
    fn what_was_signed_is_an_input() {
        let binary = |id, package: &str| {
            let fields = json!({"Package": package, "Version": "1:1.0", "Architecture": "amd64"});
            artifact(id, ArtifactCategory::BinaryPackage, json!({"deb_fields": fields}))
        };
        let of = |id, category| artifact(id, category, json!({}));
        let (input, output) = (ArtifactCategory::SigningInput, ArtifactCategory::SigningOutput);
        let unsigned = vec![
            of(41, input),
            of(40, input),
            binary(20, "tiny"),
            binary(10, "tiny-signed-template"),
            binary(20, "tiny"),
        ];
        let resolved = Resolved::new()
            .with(TEMPLATE, vec![binary(10, "tiny-signed-template")])
            .with(SIGNED, vec![of(51, output), of(50, output)])
            .with(UNSIGNED, unsigned)
            .with(ENVIRONMENT, vec![of(3, ArtifactCategory::SystemTarball)]);
        let mut dynamic = Value::Object(AssembleSignedSource.dynamic_data(&data(), &resolved, &server()).unwrap());
        assert_eq!(input_artifact_ids(&dynamic), [3, 10, 20, 40, 41, 50, 51].into());
        assert!(AssembleSignedSource.prepare(&data(), Some(&dynamic)).is_ok());
        dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(
            dynamic,
            json!({
                "environment_id": 3, "template_id": 10, "signed_ids": [51, 50], "unsigned_ids": [10, 20, 40, 41],
                "subject": "tiny-signed-template", "parameter_summary": "tiny-signed-template_1:1.0 (amd64)",
                "runtime_context": null, "configuration_context": null,
            })
        );
        let error = AssembleSignedSource.dynamic_data(&data(), &Resolved::new(), &server()).unwrap_err();
        assert!(error.errors.contains_key(TEMPLATE));
    }

    #[test]
    fn the_worker_is_strict_about_dynamic_data() {
        let dynamic = json!({"environment_id": 3, "template_id": 10, "signed_ids": []});
        let error = AssembleSignedSource.prepare(&data(), Some(&dynamic)).err().unwrap();
        assert_eq!(error.errors.keys().collect::<Vec<_>>(), ["unsigned_ids"]);
        assert!(AssembleSignedSource.prepare(&data(), None).is_err());
    }
}
