//! `blhc`: looks in a build log for compiler commands without hardening flags, with blhc(1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;
use usine_debian::Version;
use usine_model::artifact::{ArtifactCategory, Blhc as BlhcReport, PackageBuildLog, RelationType};
use usine_model::lookup::LookupSingle;
use usine_model::work_request::Results;

use crate::executor::{Inside, InstanceBackend};
use crate::run::{Bench, BoxFuture, NewArtifact, PLAIN_TEXT, Recommends, Run, TaskError, names_in};
use crate::task::{Input, Resolved, ResolvedArtifact, ServerFacts};
use crate::task_data::{SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, ENVIRONMENT, ExecutorNeed, WorkerTask, environment, single, text_of};

/// The task.
pub(crate) struct Blhc;

const LOG: &str = "input.artifact";
/// The report, and the name of its file.
const REPORT: &str = "blhc.txt";
/// The first blhc that knows `--debian`.
const KNOWS_DEBIAN: &str = "0.07+20170817+gita232d32";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlhcData {
    input: BlhcInput,
    build_architecture: String,
    /// Where blhc runs.
    #[schemars(with = "SingleSchema")]
    environment: LookupSingle,
    #[serde(default)]
    backend: InstanceBackend,
    #[serde(default)]
    extra_flags: Vec<Flag>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BlhcInput {
    /// The build log.
    #[schemars(with = "SingleSchema")]
    artifact: LookupSingle,
}

/// An option of blhc(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
enum Flag {
    #[serde(rename = "--all")]
    #[strum(serialize = "--all")]
    All,
    #[serde(rename = "--bindnow")]
    #[strum(serialize = "--bindnow")]
    Bindnow,
    #[serde(rename = "--buildd")]
    #[strum(serialize = "--buildd")]
    Buildd,
    #[serde(rename = "--color")]
    #[strum(serialize = "--color")]
    Color,
    #[serde(rename = "--debian")]
    #[strum(serialize = "--debian")]
    Debian,
    #[serde(rename = "--line-numbers")]
    #[strum(serialize = "--line-numbers")]
    LineNumbers,
    #[serde(rename = "--pie")]
    #[strum(serialize = "--pie")]
    Pie,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlhcDynamicData {
    environment_id: i64,
    input_artifact_id: i64,
    /// The log's data; what could not be installed is left out.
    input_artifact_data: PackageBuildLog,
}

impl WorkerTask for Blhc {
    const NAME: &'static str = "blhc";

    type Data = BlhcData;
    type Dynamic = BlhcDynamicData;

    fn inputs(data: &BlhcData) -> Vec<Input> {
        let log = single(LOG, &data.input.artifact, &[ArtifactCategory::PackageBuildLog]);
        vec![log, environment(&data.environment)]
    }

    fn executor(data: &BlhcData) -> Option<ExecutorNeed<'_>> {
        Some(ExecutorNeed { backend: data.backend.into(), build_architecture: Some(&data.build_architecture) })
    }

    fn source_packages(_: &BlhcData, resolved: &Resolved) -> Vec<String> {
        resolved.one(LOG).and_then(ResolvedArtifact::source).map(|(name, _)| name).into_iter().collect()
    }

    fn describe(
        _: &BlhcData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<BlhcDynamicData>, TaskDataError> {
        let log = resolved.required(LOG)?;
        let data: PackageBuildLog =
            serde_json::from_value(log.data.clone()).map_err(|error| TaskDataError::rule(LOG, error))?;
        let dynamic = BlhcDynamicData {
            environment_id: resolved.required(ENVIRONMENT)?.id,
            input_artifact_id: log.id,
            input_artifact_data: PackageBuildLog { bd_uninstallable: None, ..data },
        };
        let (source, version) = log.named_source(LOG)?;
        let architecture = dynamic.input_artifact_data.architecture.as_deref().unwrap_or_default();
        Ok(Description {
            parameter_summary: Some(format!("{source}_{version} ({architecture})")),
            subject: Some(source),
            runtime_context: None,
            configuration_context: text_of(resolved, ENVIRONMENT, "codename"),
            dynamic,
        })
    }

    fn start(data: BlhcData, dynamic: BlhcDynamicData) -> Box<dyn Run> {
        Box::new(BlhcRun { data, dynamic, log: String::new(), knows_debian: false })
    }
}

struct BlhcRun {
    data: BlhcData,
    dynamic: BlhcDynamicData,
    /// Name of the build log.
    log: String,
    knows_debian: bool,
}

impl BlhcRun {
    async fn choose_log(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let names = names_in(&bench.fetch, |_| true)?;
        match names.iter().find(|name| name.ends_with(".build")) {
            Some(name) => self.log = name.clone(),
            None => {
                let problem = format!("No *.build files to be analyzed. Files: {names:?}\n");
                bench.append_log("configure_for_execution.log", &problem)?;
                return Ok(false);
            }
        }
        bench.start_instance(self.data.backend.into(), self.dynamic.environment_id).await?;
        bench.install(&["blhc"], Recommends::Yes).await?;
        let version = bench.installed_version("blhc").await?;
        self.knows_debian = KNOWS_DEBIAN.parse::<Version>().is_ok_and(|first| version >= first);
        Ok(true)
    }

    fn command(&self, bench: &Bench<'_>) -> Inside {
        let log = bench.fetch.join(&self.log).display().to_string();
        let debian = self.knows_debian.then_some(Flag::Debian);
        let given = self.data.extra_flags.iter().copied().filter(|flag| Some(*flag) != debian);
        let flags = debian.into_iter().chain(given).map(|flag| flag.to_string());
        Inside::new(["blhc".to_owned()].into_iter().chain(flags).chain([log])).within(&bench.exec)
    }
}

impl Run for BlhcRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            let expected = [ArtifactCategory::PackageBuildLog];
            let Some(log) = bench.expect(LOG, self.dynamic.input_artifact_id, &expected).await? else {
                return Ok(false);
            };
            bench.download(&log).await?;
            Ok(true)
        })
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.choose_log(bench))
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(async move {
            let ended = bench.run_inside(&self.command(bench), Some(REPORT)).await?;
            // 1: no compiler command in the log, which is no fault (blhc(1), EXIT STATUS).
            Ok(if matches!(ended.code, Some(0 | 1)) { Results::Success } else { Results::Failure })
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, _: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            let log = &self.dynamic.input_artifact_data;
            let data = BlhcReport {
                source: Some(log.source.clone()),
                version: Some(log.version.clone()),
                architecture: log.architecture.clone(),
            };
            let report = NewArtifact::new(ArtifactCategory::Blhc, &data)?;
            let report = bench.upload(report.with_file(&bench.exec.join(REPORT), Some(PLAIN_TEXT))?)?;
            bench.relate_to_fetched(report, RelationType::RelatesTo);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::{Task, input_artifact_ids};
    use crate::test_support::{artifact, fault, required_tags, server};

    fn data() -> Value {
        json!({"input": {"artifact": 12}, "build_architecture": "amd64", "environment": "debian/match:codename=bookworm"})
    }

    #[test]
    fn every_rule_of_the_data() {
        assert_eq!(Blhc.check(&data()), Ok(()));
        let good = json!({"input": {"artifact": "12@artifacts"}, "host_architecture": "amd64", "environment": 3,
            "backend": "incus-vm", "extra_flags": ["--all", "--bindnow", "--buildd", "--color", "--debian",
            "--line-numbers", "--pie"], "task_configuration": null});
        assert_eq!(Blhc.check(&good), Ok(()));
        for (bad, expected) in [
            (json!({"input": {}}), "input.artifact: Field required"),
            (json!({"input": null}), "input: Input should be a valid dictionary"),
            (json!({"input": {"artifact": [12]}}), "input.artifact: Input should be a valid integer or string"),
            (json!({"input": {"artifact": 12, "x": 1}}), "input.x: Extra inputs are not permitted"),
            (json!({"build_architecture": null}), "build_architecture: Input should be a valid string"),
            (json!({"environment": null}), "environment: Input should be a valid integer or string"),
            (json!({"backend": "qemu"}), "backend: Input should be 'auto', 'unshare', 'incus-lxc' or 'incus-vm'"),
            (json!({"extra_flags": ["--arch"]}), "extra_flags[0]: Input should be '--all', "),
            (json!({"surprise": 1}), "surprise: Extra inputs are not permitted"),
        ] {
            assert!(fault(&Blhc, &data(), &bad).contains(expected), "{bad}: {}", fault(&Blhc, &data(), &bad));
        }
        for key in ["input", "build_architecture", "environment"] {
            let mut without = data();
            without.as_object_mut().unwrap().remove(key);
            let text = Blhc.check(&without).unwrap_err().to_string();
            assert_eq!(text, format!("1 validation error: {key}: Field required"));
        }
    }

    #[test]
    fn requirements_and_dynamic_data() {
        assert_eq!(
            required_tags(&Blhc, &data()),
            [
                "worker:build-arch:amd64",
                "worker:executor:unshare",
                "worker:task:worker:blhc:version:1",
                "worker:type:external"
            ]
        );
        let log = json!({"source": "hello", "version": "2.10-3", "architecture": "amd64", "filename": "hello.build",
            "bd_uninstallable": null});
        let resolved = Resolved::new()
            .with(LOG, vec![artifact(12, ArtifactCategory::PackageBuildLog, log.clone())])
            .with(ENVIRONMENT, vec![artifact(3, ArtifactCategory::SystemTarball, json!({"codename": "bookworm"}))]);
        assert_eq!(Blhc.provided_tags(&data(), &resolved), ["task:source-package:hello".to_owned()].into());
        let mut dynamic = Blhc.dynamic_data(&data(), &resolved, &server()).unwrap();
        assert!(Blhc.prepare(&data(), Some(&Value::Object(dynamic.clone()))).is_ok());
        let fields = dynamic.remove("task_input_fields").unwrap();
        assert_eq!(fields["build_architecture"], "amd64");
        let dynamic = Value::Object(dynamic);
        assert_eq!(input_artifact_ids(&dynamic), [3, 12].into());
        assert_eq!(
            dynamic,
            json!({"environment_id": 3, "input_artifact_id": 12, "input_artifact_data": log, "subject": "hello",
                "parameter_summary": "hello_2.10-3 (amd64)", "runtime_context": null, "configuration_context": "bookworm"})
        );
    }
}
