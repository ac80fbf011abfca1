//! One work request: directory, run, spool.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_protocol::work_request::WorkRequest;
use usine_tasks::{Outcome, Resources, Surroundings};

use crate::WorkerError;
use crate::daemon::Worker;
use crate::host::WorkerHost;
use crate::spool::{Entry, Origin};
use crate::workdir::WorkDirectory;

/// Where commands are found, unless the configured environment says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a work request and spools its outcome. `None`: it was stopped, there is nothing to report.
pub(crate) async fn run(
    worker: &Arc<Worker>,
    work_request: WorkRequest,
    cancel: &CancellationToken,
) -> Result<Option<Entry>, WorkerError> {
    let id = work_request.id;
    let Some(token) = work_request.token.clone() else {
        // Servers before 0.13 do not send one; without it nothing can be fetched or reported.
        return Err(WorkerError::Report {
            id,
            message: "the server sent no token for it; is the server older than 0.13?".to_owned(),
        });
    };
    let origin = Origin {
        work_request: id,
        scope: work_request.scope.clone(),
        workspace: work_request.workspace.clone(),
        token,
    };
    tracing::info!(work_request = id, task = work_request.task_name, workspace = origin.workspace, "begins");
    let directory = WorkDirectory::make(&worker.config.working_directory, id, worker.ground.entropy.as_ref());
    let directory = directory.map_err(WorkerError::io(&worker.config.working_directory))?;
    let outcome = execute(worker, &work_request, &origin, directory.path(), cancel).await;
    let entry = match outcome {
        Ok(outcome) => match outcome.result.filter(|result| *result != Results::None) {
            Some(result) => {
                tracing::info!(work_request = id, %result, artifacts = outcome.artifacts.len(), "ended");
                store(worker, &origin, result, outcome, directory.path()).await.map(Some)
            }
            None => {
                tracing::info!(work_request = id, "stopped; nothing is reported");
                Ok(None)
            }
        },
        Err(error) => Err(error),
    };
    directory.remove().await;
    entry
}

async fn execute(
    worker: &Arc<Worker>,
    work_request: &WorkRequest,
    origin: &Origin,
    directory: &std::path::Path,
    cancel: &CancellationToken,
) -> Result<Outcome, WorkerError> {
    let host = WorkerHost {
        work_request: origin.work_request,
        workspace: origin.workspace.clone(),
        client: worker.client.acting_as(Some(&origin.token), Some(&origin.scope))?,
        cache: worker.cache.clone(),
        logs: worker.logs.clone(),
        clock: worker.ground.clock.clone(),
        tempo: worker.ground.tempo,
        cancel: cancel.clone(),
        images: Mutex::default(),
    };
    let mut environment = worker.config.environment.clone();
    let surroundings = Surroundings {
        work_request_id: origin.work_request,
        workspace: origin.workspace.clone(),
        directory: directory.to_owned(),
        path: environment.remove("PATH").unwrap_or_else(|| PATH.to_owned()),
        environment,
        http_read_timeout: u32::try_from(worker.config.http_timeout.read.as_secs().max(1)).unwrap_or(u32::MAX),
        identity: worker.identity.clone(),
        resources: Resources { limits: work_request.limits.unwrap_or_default(), cgroups: worker.cgroups.clone() },
        cancel: cancel.clone(),
    };
    let running = worker.ground.runner.execute(work_request, &surroundings, &host);
    let watching = async {
        loop {
            tokio::time::sleep(worker.ground.tempo.check).await;
            host.ask_whether_ours().await;
        }
    };
    tokio::select! {
        outcome = running => Ok(outcome),
        () = watching => unreachable!("the watch has no end"),
    }
}

/// Spools an outcome; if that is not possible, at least that fact.
async fn store(
    worker: &Arc<Worker>,
    origin: &Origin,
    result: Results,
    outcome: Outcome,
    directory: &std::path::Path,
) -> Result<Entry, WorkerError> {
    let (spool, origin, root) = (worker.spool.clone(), origin.clone(), directory.to_owned());
    let id = origin.work_request;
    let stored = tokio::task::spawn_blocking(move || {
        let statistics = outcome.output_data.runtime_statistics.clone();
        spool.store(&origin, result, outcome, &root).or_else(|error| {
            tracing::error!(work_request = id, %error, "the outcome cannot be kept; reporting that instead");
            let error = OutputData::error("upload-failed", format!("Cannot keep the outcome: {error}"));
            let output_data = OutputData { runtime_statistics: statistics, ..error };
            let outcome = Outcome { result: None, output_data, artifacts: Vec::new(), relations: Vec::new() };
            spool.store(&origin, Results::Error, outcome, &root)
        })
    });
    let failed = |message: String| WorkerError::Report { id, message };
    stored.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}
