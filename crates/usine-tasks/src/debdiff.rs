//! `debdiff`: compares two versions of a source package, or of binary packages, with debdiff(1).

mod data;
mod run;
mod sides;

use usine_model::artifact::ArtifactCategory;

use crate::run::Run;
use crate::task::{BINARY_CATEGORIES, Input, Resolved, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, multiple, single};
use data::{DebdiffData, DebdiffDynamicData};
use sides::{Sides, parameter_summary, source_name};

/// The task.
pub(crate) struct Debdiff;

/// The fields of the old and of the new packages.
const SOURCES: Sides<&str> = ["input.source_artifacts[0]", "input.source_artifacts[1]"];
const BINARIES: Sides<&str> = ["input.binary_artifacts[0]", "input.binary_artifacts[1]"];

impl WorkerTask for Debdiff {
    const NAME: &'static str = "debdiff";

    type Data = DebdiffData;
    type Dynamic = DebdiffDynamicData;

    fn check(data: &DebdiffData, error: &mut TaskDataError) {
        data.check(error);
    }

    fn inputs(data: &DebdiffData) -> Vec<Input> {
        let sources = data.input.source_artifacts.iter().flatten().zip(SOURCES);
        let sources = sources.map(|(lookup, field)| single(field, lookup, &[ArtifactCategory::SourcePackage]));
        let binaries = data.input.binary_artifacts.iter().flatten().zip(BINARIES);
        let binaries = binaries.map(|(lookup, field)| multiple(field, lookup, &BINARY_CATEGORIES));
        sources.chain(binaries).chain([environment(&data.environment)]).collect()
    }

    fn executor(data: &DebdiffData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend.into(), build_architecture: Some(&data.build_architecture) })
    }

    fn source_packages(_: &DebdiffData, resolved: &Resolved) -> Vec<String> {
        let sources = SOURCES.iter().filter_map(|field| resolved.one(field));
        sources.filter_map(|source| source.source()).map(|(name, _)| name).collect()
    }

    fn describe(
        data: &DebdiffData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<DebdiffDynamicData>, TaskDataError> {
        let (kind, fields, sources) = if data.input.source_artifacts.is_some() {
            let [old, new] = SOURCES.map(|field| resolved.required(field));
            ("source", SOURCES, Some([old?.id, new?.id]))
        } else {
            check_binaries(resolved)?;
            ("binary", BINARIES, None)
        };
        let dynamic = DebdiffDynamicData {
            environment_id: resolved.required(ENVIRONMENT)?.id,
            input_source_artifacts_ids: sources,
            input_binary_artifacts_ids: sources.is_none().then(|| BINARIES.map(|field| resolved.ids(field))),
        };
        let sides = fields.map(|field| {
            let artifacts = resolved.all(field).iter();
            artifacts.map(|artifact| (artifact.category, &artifact.data)).collect::<Vec<_>>()
        });
        Ok(Description {
            subject: source_name(&sides).map(|name| format!("{kind}:{name}")),
            parameter_summary: parameter_summary(&sides, data.compared()),
            runtime_context: None,
            configuration_context: None,
            dynamic,
        })
    }

    fn start(data: DebdiffData, dynamic: DebdiffDynamicData) -> Box<dyn Run> {
        Box::new(run::DebdiffRun::new(data, dynamic))
    }
}

/// Refuses sides that debdiff(1) cannot compare.
fn check_binaries(resolved: &Resolved) -> Result<(), TaskDataError> {
    let [old, new] = BINARIES.map(|field| resolved.all(field));
    let refused = |problem: String| Err(TaskDataError::rule("input.binary_artifacts", problem));
    let (before, after) = (old.len(), new.len());
    if old.is_empty() || new.is_empty() {
        return refused(format!("both sides need artifacts to compare; found {before} and {after}"));
    }
    let category = old[0].category;
    if let Some(other) = old.iter().chain(new).map(|artifact| artifact.category).find(|other| *other != category) {
        return refused(format!("all artifacts must be of one category; found {category} and {other}"));
    }
    if category != ArtifactCategory::BinaryPackage && (before > 1 || after > 1) {
        let only = ArtifactCategory::BinaryPackage;
        return refused(format!(
            "several artifacts on a side must be {only}; found {before} and {after} of {category}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{ResolvedArtifact, Task, input_artifact_ids};
    use crate::test_support::{artifact, required_tags, server};

    fn sources() -> Value {
        json!({"input": {"source_artifacts": [12, 13]}, "build_architecture": "amd64", "environment": 3})
    }

    fn binaries() -> Value {
        json!({"input": {"binary_artifacts": [[20, 21], [30]]}, "build_architecture": "amd64", "environment": 3})
    }

    fn source(id: i64, name: &str, version: &str) -> Vec<ResolvedArtifact> {
        let data = json!({"name": name, "version": version, "type": "dpkg", "dsc_fields": {}});
        vec![artifact(id, ArtifactCategory::SourcePackage, data)]
    }

    fn binary(id: i64, source: &str, version: &str) -> ResolvedArtifact {
        let data = json!({"srcpkg_name": source, "srcpkg_version": "1", "deb_fields": {"Version": version}});
        artifact(id, ArtifactCategory::BinaryPackage, data)
    }

    fn upload(id: i64, source: &str, version: &str) -> ResolvedArtifact {
        let data = json!({"type": "dpkg", "changes_fields": {"Source": source, "Version": version}});
        artifact(id, ArtifactCategory::Upload, data)
    }

    fn environment() -> Vec<ResolvedArtifact> {
        vec![artifact(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}))]
    }

    /// With these sides.
    fn resolved(fields: Sides<&str>, old: Vec<ResolvedArtifact>, new: Vec<ResolvedArtifact>) -> Resolved {
        Resolved::new().with(fields[0], old).with(fields[1], new).with(ENVIRONMENT, environment())
    }

    fn dynamic(data: &Value, resolved: &Resolved) -> Result<Value, TaskDataError> {
        let mut dynamic = Debdiff.dynamic_data(data, resolved, &server())?;
        assert!(Debdiff.prepare(data, Some(&Value::Object(dynamic.clone()))).is_ok());
        let fields = dynamic.remove("task_input_fields").unwrap();
        assert_eq!(fields["build_architecture"], "amd64");
        assert_eq!(fields[ENVIRONMENT]["artifact_id"], 3);
        Ok(Value::Object(dynamic))
    }

    #[test]
    fn inputs_and_tags() {
        let fields = |data| -> Vec<_> { Debdiff.inputs(&data).unwrap().into_iter().map(|input| input.field).collect() };
        assert_eq!(fields(sources()), [SOURCES[0], SOURCES[1], ENVIRONMENT]);
        assert_eq!(fields(binaries()), [BINARIES[0], BINARIES[1], ENVIRONMENT]);
        assert_eq!(Debdiff.inputs(&sources()).unwrap()[1].categories, [ArtifactCategory::SourcePackage]);
        assert_eq!(Debdiff.inputs(&binaries()).unwrap()[0].categories, BINARY_CATEGORIES);
        assert_eq!(
            required_tags(&Debdiff, &sources()),
            [
                "worker:build-arch:amd64",
                "worker:executor:unshare",
                "worker:task:worker:debdiff:version:1",
                "worker:type:external"
            ]
        );
        let two = resolved(SOURCES, source(12, "hello", "1"), source(13, "hello-ng", "2"));
        let expected = ["task:source-package:hello", "task:source-package:hello-ng"].map(str::to_owned);
        assert_eq!(Debdiff.provided_tags(&sources(), &two), expected.into());
        let none = resolved(BINARIES, vec![binary(20, "hello", "1")], vec![binary(30, "hello", "2")]);
        assert!(Debdiff.provided_tags(&binaries(), &none).is_empty());
    }

    #[test]
    fn two_sources() {
        let dynamic =
            dynamic(&sources(), &resolved(SOURCES, source(12, "hello", "1"), source(13, "hello", "2"))).unwrap();
        assert_eq!(input_artifact_ids(&dynamic), [3, 12, 13].into());
        assert_eq!(
            dynamic,
            json!({"environment_id": 3, "input_source_artifacts_ids": [12, 13], "input_binary_artifacts_ids": null,
                "subject": "source:hello", "parameter_summary": "hello: 1 → 2 (source)", "runtime_context": null,
                "configuration_context": null})
        );
    }

    #[test]
    fn binaries_of_one_source_and_of_two() {
        let old = vec![binary(20, "hello", "1+b1"), binary(21, "hello", "1")];
        let found = resolved(BINARIES, old.clone(), vec![binary(30, "hello", "2")]);
        let made = dynamic(&binaries(), &found).unwrap();
        assert_eq!(input_artifact_ids(&made), [3, 20, 21, 30].into());
        assert_eq!(
            made,
            json!({"environment_id": 3, "input_source_artifacts_ids": null,
                "input_binary_artifacts_ids": [[20, 21], [30]], "subject": "binary:hello",
                "parameter_summary": "hello: 1+b1 → 2 (amd64)", "runtime_context": null, "configuration_context": null})
        );
        let made = dynamic(&binaries(), &resolved(BINARIES, old, vec![binary(30, "other", "2")])).unwrap();
        assert_eq!((&made["subject"], &made["parameter_summary"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn uploads() {
        let found = resolved(BINARIES, vec![upload(20, "hello (1)", "1+b1")], vec![upload(30, "hello", "2")]);
        let made = dynamic(&binaries(), &found).unwrap();
        assert_eq!(made["subject"], "binary:hello");
        assert_eq!(made["parameter_summary"], "hello: 1+b1 → 2 (amd64)");
    }

    #[test]
    fn sides_that_cannot_be_compared() {
        let (one, two) = (binary(20, "hello", "1"), binary(21, "hello", "1"));
        let (first, second) = (upload(30, "hello", "1"), upload(31, "hello", "2"));
        for (old, new, expected) in [
            (vec![], vec![one.clone()], "both sides need artifacts to compare; found 0 and 1"),
            (vec![one.clone(), two.clone()], vec![], "both sides need artifacts to compare; found 2 and 0"),
            (
                vec![one.clone(), two],
                vec![first.clone()],
                "all artifacts must be of one category; found debian:binary-package and debian:upload",
            ),
            (
                vec![first.clone(), one],
                vec![second.clone()],
                "all artifacts must be of one category; found debian:upload and debian:binary-package",
            ),
            (
                vec![first.clone()],
                vec![first, second],
                "several artifacts on a side must be debian:binary-package; found 1 and 2 of debian:upload",
            ),
        ] {
            let error = dynamic(&binaries(), &resolved(BINARIES, old, new)).unwrap_err();
            let expected = format!("1 validation error: input.binary_artifacts: Value error, {expected}");
            assert_eq!(error.to_string(), expected);
        }
        let error = dynamic(&sources(), &resolved(SOURCES, source(12, "a", "1"), vec![])).unwrap_err();
        assert_eq!(error.errors.keys().collect::<Vec<_>>(), [SOURCES[1]]);
    }
}
