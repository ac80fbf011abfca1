//! `unpack`: whether a source package can be unpacked, with dpkg-source(1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::artifact::ArtifactCategory;
use usine_model::lookup::LookupSingle;
use usine_model::work_request::Results;

use crate::run::{Bench, BoxFuture, Command, Run, TaskError, names_in};
use crate::task::{Input, Resolved, ServerFacts};
use crate::task_data::{SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, WorkerTask, single};

/// The task.
pub(crate) struct Unpack;

const SOURCE: &str = "source_artifact";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnpackData {
    /// The source package.
    #[schemars(with = "SingleSchema")]
    source_artifact: LookupSingle,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnpackDynamicData {
    source_artifact_id: i64,
}

impl WorkerTask for Unpack {
    const NAME: &'static str = "unpack";
    const HAS_BUILD_ARCHITECTURE: bool = false;

    type Data = UnpackData;
    type Dynamic = UnpackDynamicData;

    fn inputs(data: &UnpackData) -> Vec<Input> {
        vec![single(SOURCE, &data.source_artifact, &[ArtifactCategory::SourcePackage])]
    }

    fn describe(
        _: &UnpackData,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<UnpackDynamicData>, TaskDataError> {
        let source = resolved.required(SOURCE)?;
        let (name, version) = source.named_source(SOURCE)?;
        Ok(Description {
            parameter_summary: Some(format!("{name}_{version}")),
            subject: Some(name),
            runtime_context: None,
            configuration_context: None,
            dynamic: UnpackDynamicData { source_artifact_id: source.id },
        })
    }

    fn start(_: UnpackData, dynamic: UnpackDynamicData) -> Box<dyn Run> {
        Box::new(UnpackRun(dynamic))
    }
}

struct UnpackRun(UnpackDynamicData);

impl Run for UnpackRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            let source = bench.artifact(self.0.source_artifact_id).await?;
            bench.download(&source).await?;
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(async move {
            let mut argv = vec!["dpkg-source".to_owned(), "--extract".to_owned()];
            for name in names_in(&bench.fetch, |name| name.ends_with(".dsc"))? {
                argv.push(bench.fetch.join(name).display().to_string());
            }
            let ended = bench.run(&Command { argv, ..Command::default() }).await?;
            Ok(if ended.code == Some(0) { Results::Success } else { Results::Failure })
        })
    }
}
