//! `sbuild`: builds binary packages from a source package with sbuild(1).

mod build_log;
mod command;
mod data;
mod output;
mod run;

use schemars::schema_for;
use serde_json::{Map, Value};
use usine_model::artifact::{ArtifactCategory, source_name_and_version};
use usine_model::lookup::LookupMultiple;
use usine_model::tags::{self, Tags};
use usine_model::work_request::TaskType;

use crate::executor::IMAGE_CATEGORIES;
use crate::extra_repositories;
use crate::run::Run;
use crate::task::{Input, InputLookup, Resolved, ServerFacts, Task, base_tags};
use crate::task_data::{TaskDataError, parse};
use data::{SbuildData, SbuildDynamicData};

/// The task.
pub(crate) struct Sbuild;

const SOURCE: &str = "input.source_artifact";
const EXTRA_BINARIES: &str = "input.extra_binary_artifacts";
const ENVIRONMENT: &str = "environment";

impl SbuildData {
    fn inputs(&self) -> Vec<Input> {
        let input = |field: &str, lookup, categories: &[ArtifactCategory]| Input {
            field: field.to_owned(),
            lookup,
            categories: categories.to_vec(),
            environment: field == ENVIRONMENT,
        };
        let extra = LookupMultiple(self.input.extra_binary_artifacts.clone());
        vec![
            input(SOURCE, InputLookup::Single(self.input.source_artifact.clone()), &[ArtifactCategory::SourcePackage]),
            input(EXTRA_BINARIES, InputLookup::Multiple(extra), &data::BINARY_CATEGORIES),
            input(ENVIRONMENT, InputLookup::Single(self.environment.clone()), &IMAGE_CATEGORIES),
        ]
    }
}

impl Task for Sbuild {
    fn name(&self) -> &'static str {
        "sbuild"
    }

    fn task_type(&self) -> TaskType {
        TaskType::Worker
    }

    fn check(&self, data: &Value) -> Result<(), TaskDataError> {
        SbuildData::read(data).map(drop)
    }

    fn inputs(&self, data: &Value) -> Result<Vec<Input>, TaskDataError> {
        Ok(SbuildData::read(data)?.inputs())
    }

    fn required_tags(&self, data: &Value, _fallback_architecture: &str) -> Result<Tags, TaskDataError> {
        let data = SbuildData::read(data)?;
        let mut required = base_tags(self);
        required.insert(tags::capability("sbuild"));
        required.insert(tags::executor(&data.backend.decided().to_string()));
        required.insert(tags::build_arch(&data.build_architecture));
        Ok(required)
    }

    fn provided_tags(&self, _data: &Value, resolved: &Resolved) -> Tags {
        let source = resolved.one(SOURCE).and_then(|source| source_name_and_version(source.category, &source.data));
        source.map(|(name, _)| tags::source_package(&name)).into_iter().collect()
    }

    fn dynamic_data(
        &self,
        data: &Value,
        resolved: &Resolved,
        server: &ServerFacts,
    ) -> Result<Map<String, Value>, TaskDataError> {
        let data = SbuildData::read(data)?;
        let source = resolved.required(SOURCE)?;
        let environment = resolved.required(ENVIRONMENT)?;
        let (name, version) = source_name_and_version(source.category, &source.data)
            .ok_or_else(|| TaskDataError::rule(SOURCE, "the artifact has no source package name"))?;
        let summary = format!("{name}_{} ({})", version.unwrap_or_default(), data.host_architecture());
        let extra: Vec<i64> = resolved.all(EXTRA_BINARIES).iter().map(|artifact| artifact.id).collect();
        let repositories = extra_repositories::resolve(data.extra_repositories.as_deref(), resolved)?;
        let repositories =
            serde_json::to_value(repositories).map_err(|error| TaskDataError::rule("extra_repositories", error))?;
        let mut fields = resolved.input_fields(&data.inputs());
        fields.insert("build_architecture".to_owned(), data.build_architecture.clone().into());
        fields.insert("debusine_fqdn".to_owned(), server.fqdn.clone().into());
        Ok(Map::from_iter([
            ("environment_id".to_owned(), environment.id.into()),
            ("input_source_artifact_id".to_owned(), source.id.into()),
            ("input_extra_binary_artifacts_ids".to_owned(), extra.into()),
            ("extra_repositories".to_owned(), repositories),
            ("binnmu_maintainer".to_owned(), format!("Debusine <noreply@{}>", server.fqdn).into()),
            ("subject".to_owned(), name.into()),
            ("parameter_summary".to_owned(), summary.into()),
            ("runtime_context".to_owned(), data.runtime_context().into()),
            ("configuration_context".to_owned(), environment.data.get("codename").cloned().unwrap_or_default()),
            ("task_input_fields".to_owned(), fields.into()),
        ]))
    }

    fn schema(&self) -> Value {
        schema_for!(SbuildData).to_value()
    }

    fn prepare(&self, data: &Value, dynamic: Option<&Value>) -> Result<Box<dyn Run>, TaskDataError> {
        let data = SbuildData::read(data)?;
        let dynamic: SbuildDynamicData = parse(dynamic.unwrap_or(&Value::Null))?;
        Ok(Box::new(run::SbuildRun::new(data, dynamic)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::{ResolvedArtifact, input_artifact_ids};

    fn artifact(id: i64, category: ArtifactCategory, data: Value) -> ResolvedArtifact {
        ResolvedArtifact { id, category, data, workspace: "System".into(), lookup: id.into() }
    }

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
        let tags: Vec<_> = Sbuild.required_tags(&data(), "riscv64").unwrap().into_iter().collect();
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
        let server = ServerFacts { fqdn: "d.example".into(), fallback_architecture: "amd64".into() };
        let mut dynamic = Value::Object(Sbuild.dynamic_data(&data(), &resolved(), &server).unwrap());
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
        let server = ServerFacts { fqdn: "d.example".into(), fallback_architecture: "amd64".into() };
        let error = Sbuild.dynamic_data(&data(), &Resolved::new(), &server).unwrap_err();
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
