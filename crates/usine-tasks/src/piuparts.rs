//! `piuparts`: installs, upgrades and removes binary packages with piuparts(1), to see what they leave behind.

mod base;
mod command;
mod data;
mod run;

use std::collections::BTreeSet;

use crate::extra_repositories;
use crate::run::Run;
use crate::task::{BINARY_CATEGORIES, Input, Resolved, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{
    Description, ENVIRONMENT, ExecutorNeed, WorkerTask, base_tarball, environment, multiple, text_of,
};
use data::{PiupartsData, PiupartsDynamicData};

/// The task.
pub(crate) struct Piuparts;

const BINARIES: &str = "input.binary_artifacts";
const BASE: &str = "base_tgz";

impl WorkerTask for Piuparts {
    const NAME: &'static str = "piuparts";

    type Data = PiupartsData;
    type Dynamic = PiupartsDynamicData;

    fn check(data: &PiupartsData, error: &mut TaskDataError) {
        extra_repositories::check(data.extra_repositories.as_deref(), error);
    }

    fn inputs(data: &PiupartsData) -> Vec<Input> {
        vec![
            multiple(BINARIES, &data.input.binary_artifacts, &BINARY_CATEGORIES),
            base_tarball(BASE, &data.base_tgz),
            environment(&data.environment),
        ]
    }

    fn executor(data: &PiupartsData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend.into(), build_architecture: Some(&data.build_architecture) })
    }

    fn describe(
        data: &PiupartsData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<PiupartsDynamicData>, TaskDataError> {
        let (mut names, mut versions) = (BTreeSet::new(), BTreeSet::new());
        for (index, artifact) in resolved.all(BINARIES).iter().enumerate() {
            let (name, version) = artifact.named_source(&format!("{BINARIES}[{index}]"))?;
            names.insert(name);
            versions.insert(version);
        }
        let subject = names.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let architecture = &data.build_architecture;
        let summary = match (names.len(), versions.first()) {
            (1, Some(version)) if versions.len() == 1 => format!("{subject}_{version} ({architecture})"),
            _ => format!("{subject} ({architecture})"),
        };
        let codename = text_of(resolved, BASE, "codename");
        Ok(Description {
            subject: Some(subject),
            parameter_summary: Some(summary),
            runtime_context: codename.as_ref().map(|codename| format!("{codename}:{architecture}")),
            configuration_context: codename,
            dynamic: PiupartsDynamicData {
                environment_id: resolved.required(ENVIRONMENT)?.id,
                base_tgz_id: resolved.required(BASE)?.id,
                input_binary_artifacts_ids: resolved.ids(BINARIES),
                extra_repositories: extra_repositories::resolve(data.extra_repositories.as_deref(), resolved)?,
            },
        })
    }

    fn start(data: PiupartsData, dynamic: PiupartsDynamicData) -> Box<dyn Run> {
        Box::new(run::PiupartsRun::new(data, dynamic))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use usine_model::artifact::ArtifactCategory;

    use super::*;
    use crate::task::{ResolvedArtifact, Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn binary(id: i64, source: &str, version: &str) -> ResolvedArtifact {
        let data = json!({"srcpkg_name": source, "srcpkg_version": version});
        artifact(id, ArtifactCategory::BinaryPackage, data)
    }

    fn resolved(binaries: Vec<ResolvedArtifact>) -> Resolved {
        let system = |id, codename| {
            artifact(id, ArtifactCategory::SystemTarball, json!({"vendor": "debian", "codename": codename}))
        };
        Resolved::new()
            .with(BINARIES, binaries)
            .with(BASE, vec![system(4, "bookworm")])
            .with(ENVIRONMENT, vec![system(3, "trixie")])
    }

    fn data() -> Value {
        json!({
            "input": {"binary_artifacts": [20]}, "build_architecture": "amd64",
            "environment": "debian/match:codename=trixie", "base_tgz": "debian/match:codename=bookworm",
            "backend": "incus-lxc",
        })
    }

    #[test]
    fn inputs_and_tags() {
        let inputs = Piuparts.inputs(&data()).unwrap();
        let fields: Vec<_> =
            inputs.iter().map(|input| (input.field.as_str(), input.environment, input.only_unpacked)).collect();
        assert_eq!(fields, [(BINARIES, false, false), (BASE, true, true), (ENVIRONMENT, true, false)]);
        assert_eq!(inputs[1].categories, [ArtifactCategory::SystemTarball]);
        assert_eq!(
            required_tags(&Piuparts, &data()),
            [
                "worker:build-arch:amd64",
                "worker:executor:incus-lxc",
                "worker:task:worker:piuparts:version:1",
                "worker:type:external",
            ]
        );
        assert!(Piuparts.provided_tags(&data(), &resolved(vec![binary(20, "hello", "1")])).is_empty());
    }

    #[test]
    fn dynamic_data_have_the_keys_of_the_reference() {
        let resolved = resolved(vec![binary(20, "hello", "2.12.3-1"), binary(21, "hello", "2.12.3-1")]);
        let mut dynamic = Value::Object(Piuparts.dynamic_data(&data(), &resolved, &server()).unwrap());
        assert_eq!(input_artifact_ids(&dynamic), [3, 4, 20, 21].into());
        assert!(Piuparts.prepare(&data(), Some(&dynamic)).is_ok());
        let fields = dynamic.as_object_mut().unwrap().remove("task_input_fields").unwrap();
        assert_eq!(fields["base_tgz"]["artifact_id"], 4);
        assert_eq!(
            dynamic,
            json!({
                "environment_id": 3, "base_tgz_id": 4, "input_binary_artifacts_ids": [20, 21],
                "extra_repositories": null, "subject": "hello", "parameter_summary": "hello_2.12.3-1 (amd64)",
                "runtime_context": "bookworm:amd64", "configuration_context": "bookworm",
            })
        );
    }

    #[test]
    fn several_sources_and_versions() {
        let of = |binaries| {
            let dynamic = Piuparts.dynamic_data(&data(), &resolved(binaries), &server()).unwrap();
            (dynamic["subject"].clone(), dynamic["parameter_summary"].clone())
        };
        let two_names = vec![binary(20, "hello", "1"), binary(21, "adduser", "1")];
        assert_eq!(of(two_names), (json!("adduser hello"), json!("adduser hello (amd64)")));
        let two_versions = vec![binary(20, "hello", "1"), binary(21, "hello", "2")];
        assert_eq!(of(two_versions), (json!("hello"), json!("hello (amd64)")));
    }

    #[test]
    fn what_was_not_found_is_named() {
        for (field, resolved) in [
            (BASE, resolved(vec![binary(20, "hello", "1")]).with(BASE, vec![])),
            (ENVIRONMENT, resolved(vec![binary(20, "hello", "1")]).with(ENVIRONMENT, vec![])),
            ("input.binary_artifacts[0]", resolved(vec![artifact(20, ArtifactCategory::BinaryPackage, json!({}))])),
        ] {
            let error = Piuparts.dynamic_data(&data(), &resolved, &server()).unwrap_err();
            assert_eq!(error.errors.keys().collect::<Vec<_>>(), [field]);
        }
    }
}
