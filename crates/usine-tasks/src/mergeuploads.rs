//! `mergeuploads`: makes one upload of several of the same source package, as mergechanges(1) does.

mod merge;
mod run;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::artifact::ArtifactCategory;
use usine_model::lookup::LookupSingle;

use crate::Backend;
use crate::run::Run;
use crate::task::{Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::{Multiple, SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, WorkerTask, multiple};

/// The task.
pub(crate) struct MergeUploads;

const UPLOADS: &str = "input.uploads";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergeUploadsData {
    input: MergeUploadsInput,
    /// Accepted and ignored, as is the next one.
    #[serde(default)]
    backend: Backend,
    #[serde(default)]
    #[schemars(with = "Option<SingleSchema>")]
    environment: Option<LookupSingle>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MergeUploadsInput {
    /// What to merge.
    uploads: Multiple,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergeUploadsDynamicData {
    input_uploads_ids: Vec<i64>,
}

impl MergeUploadsDynamicData {
    fn new(ids: Vec<i64>) -> Result<Self, String> {
        let distinct: BTreeSet<&i64> = ids.iter().collect();
        if distinct.len() == ids.len() {
            Ok(Self { input_uploads_ids: ids })
        } else {
            Err(format!("{ids:?} contains duplicate items"))
        }
    }
}

impl WorkerTask for MergeUploads {
    const NAME: &'static str = "mergeuploads";
    const HAS_BUILD_ARCHITECTURE: bool = false;

    type Data = MergeUploadsData;
    type Dynamic = MergeUploadsDynamicData;

    fn inputs(data: &MergeUploadsData) -> Vec<Input> {
        vec![multiple(UPLOADS, &data.input.uploads, &[ArtifactCategory::Upload])]
    }

    fn source_packages(_: &MergeUploadsData, resolved: &Resolved) -> Vec<String> {
        source_names(resolved).into_iter().collect()
    }

    fn describe(
        _: &MergeUploadsData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<MergeUploadsDynamicData>, TaskDataError> {
        let mut names = source_names(resolved).into_iter();
        let subject = names.next().filter(|_| names.next().is_none());
        let architectures: BTreeSet<&str> = resolved.all(UPLOADS).iter().flat_map(architectures).collect();
        let architectures = Vec::from_iter(architectures).join(", ");
        let dynamic = MergeUploadsDynamicData::new(resolved.ids(UPLOADS));
        Ok(Description {
            parameter_summary: subject.as_ref().map(|name| format!("{name} ({architectures})")),
            subject,
            runtime_context: None,
            configuration_context: None,
            dynamic: dynamic.map_err(|problem| TaskDataError::rule("input_uploads_ids", problem))?,
        })
    }

    fn start(_: MergeUploadsData, dynamic: MergeUploadsDynamicData) -> Box<dyn Run> {
        Box::new(run::MergeUploadsRun::new(dynamic.input_uploads_ids))
    }
}

fn source_names(resolved: &Resolved) -> BTreeSet<String> {
    resolved.all(UPLOADS).iter().filter_map(ResolvedArtifact::source).map(|(name, _)| name).collect()
}

/// The architectures of an upload's binary packages.
fn architectures(upload: &ResolvedArtifact) -> impl Iterator<Item = &str> {
    let words = upload.data.pointer("/changes_fields/Architecture").and_then(|words| words.as_str());
    words.unwrap_or_default().split_whitespace().filter(|word| *word != "source")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn upload(id: i64, source: &str, architecture: &str) -> ResolvedArtifact {
        let data = json!({"type": "dpkg", "changes_fields": {
            "Source": source, "Version": "1.0", "Architecture": architecture, "Files": [],
        }});
        artifact(id, ArtifactCategory::Upload, data)
    }

    fn described(uploads: Vec<ResolvedArtifact>) -> Result<Value, TaskDataError> {
        let resolved = Resolved::new().with(UPLOADS, uploads);
        let data = json!({"input": {"uploads": [7, 8]}});
        Ok(Value::Object(MergeUploads.dynamic_data(&data, &resolved, &server())?))
    }

    #[test]
    fn data() {
        for good in [
            json!({"input": {"uploads": [7, "8@artifacts", {"collection": "x"}]}}),
            json!({"input": {"uploads": {"collection": "x"}}}),
            json!({"input": {"uploads": []}}),
            json!({"input": {"uploads": [7]}, "backend": "qemu", "environment": 3, "task_configuration": null}),
            json!({"input": {"uploads": [7]}, "environment": null, "task_configuration": "x@debusine:task-configuration"}),
        ] {
            assert_eq!(MergeUploads.check(&good), Ok(()), "{good}");
        }
        for (bad, path, message) in [
            (json!([]), "", "task data must be a dictionary"),
            (json!({}), "input", "Field required"),
            (json!({"input": {}}), "input.uploads", "Field required"),
            (json!({"input": [[7]]}), "input", "Input should be a valid dictionary"),
            (
                json!({"input": {"uploads": 7}}),
                "input.uploads",
                "Value error, Lookup of multiple collection items must be a dictionary or a list",
            ),
            (
                json!({"input": {"uploads": null}}),
                "input.uploads",
                "Value error, Lookup of multiple collection items must be a dictionary or a list",
            ),
            (json!({"input": {"uploads": [7], "x": 1}}), "input.x", "Extra inputs are not permitted"),
            (json!({"input": {"uploads": [7]}, "x": 1}), "x", "Extra inputs are not permitted"),
            (
                json!({"input": {"uploads": [7]}, "build_architecture": "amd64"}),
                "build_architecture",
                "Extra inputs are not permitted",
            ),
            (
                json!({"input": {"uploads": [7]}, "backend": "xen"}),
                "backend",
                "Input should be 'auto', 'unshare', 'incus-lxc', 'incus-vm' or 'qemu'",
            ),
            (
                json!({"input": {"uploads": [7]}, "environment": [3]}),
                "environment",
                "Input should be a valid integer or string",
            ),
        ] {
            let error = MergeUploads.check(&bad).unwrap_err();
            assert_eq!(error, TaskDataError::at(path, message), "{bad}");
        }
    }

    #[test]
    fn inputs_and_tags() {
        let data = json!({"input": {"uploads": [7, 8]}, "backend": "qemu"});
        let inputs = MergeUploads.inputs(&data).unwrap();
        let fields: Vec<_> = inputs.iter().map(|input| (input.field.as_str(), input.categories.clone())).collect();
        assert_eq!(fields, [(UPLOADS, vec![ArtifactCategory::Upload])]);
        let tags = required_tags(&MergeUploads, &data);
        assert_eq!(tags, ["worker:task:worker:mergeuploads:version:1", "worker:type:external"]);
        let resolved = Resolved::new().with(UPLOADS, vec![upload(7, "tiny (1.0)", "all"), upload(8, "big", "amd64")]);
        let provided: Vec<_> = MergeUploads.provided_tags(&data, &resolved).into_iter().collect();
        assert_eq!(provided, ["task:source-package:big", "task:source-package:tiny"]);
    }

    #[test]
    fn dynamic_data_have_the_keys_of_the_reference() {
        let mut dynamic =
            described(vec![upload(8, "tiny", "amd64 all"), upload(7, "tiny", "source"), upload(9, "tiny", "arm64")])
                .unwrap();
        assert_eq!(input_artifact_ids(&dynamic), [7, 8, 9].into());
        assert!(MergeUploads.prepare(&json!({"input": {"uploads": [7]}}), Some(&dynamic)).is_ok());
        dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(
            dynamic,
            json!({
                "input_uploads_ids": [8, 7, 9], "subject": "tiny", "parameter_summary": "tiny (all, amd64, arm64)",
                "runtime_context": null, "configuration_context": null,
            })
        );
        let mixed = described(vec![upload(7, "tiny", "all"), upload(8, "big", "all")]).unwrap();
        assert_eq!((mixed.get("subject"), mixed.get("parameter_summary")), (None, None));
    }

    #[test]
    fn an_upload_is_merged_once() {
        let error = described(vec![upload(7, "tiny", "all"), upload(7, "tiny", "all")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1 validation error: input_uploads_ids: Value error, [7, 7] contains duplicate items"
        );
        let data = json!({"input": {"uploads": [7]}});
        let error = MergeUploads.prepare(&data, Some(&json!({"input_uploads_ids": [7], "x": 1}))).err().unwrap();
        assert_eq!(error.errors.keys().collect::<Vec<_>>(), ["x"]);
        assert!(MergeUploads.prepare(&data, None).is_err());
    }
}
