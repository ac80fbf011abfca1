//! The phases of a run, their logs, and what becomes of a phase that breaks off.

use std::error::Error;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde_json::Value;
use usine_model::output_data::{OutputData, OutputError};
use usine_model::work_request::{Results, TaskType};

use super::statistics::PhaseKind;
use super::{Bench, BoxFuture, Host, LogStream, Outcome, Run, Surroundings, TaskError};
use crate::find;

/// A step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fetch,
    Configure,
    Prepare,
    Run,
    Check,
    Upload,
    CleanUp,
}

impl Phase {
    fn text(self) -> &'static str {
        match self {
            Self::Fetch => "Fetching input",
            Self::Configure => "Configuring for execution",
            Self::Prepare => "Preparing to run",
            Self::Run => "Running",
            Self::Check => "Checking output",
            Self::Upload => "Uploading artifacts",
            Self::CleanUp => "Cleaning up",
        }
    }

    /// The stage that an exception is reported for; its log file is `STAGE.log`.
    fn stage(self) -> &'static str {
        match self {
            Self::Fetch => "fetch_input",
            Self::Configure => "configure_for_execution",
            Self::Prepare | Self::Run => "execution",
            Self::Check | Self::Upload | Self::CleanUp => "post_execution",
        }
    }

    fn kind(self) -> PhaseKind {
        match self {
            Self::Fetch | Self::Configure | Self::Prepare => PhaseKind::Setup,
            Self::Run => PhaseKind::Run,
            Self::Check | Self::Upload | Self::CleanUp => PhaseKind::Teardown,
        }
    }
}

/// Runs a task from its data to its artifacts. Never fails: what went wrong is in the outcome.
pub async fn execute(
    task_type: TaskType,
    task_name: &str,
    task_data: &Value,
    dynamic: Option<&Value>,
    surroundings: &Surroundings,
    host: &dyn Host,
) -> Outcome {
    if task_type != TaskType::Worker {
        return refused("wrong-task-type", format!("This worker runs Worker tasks, not {task_type} tasks"));
    }
    let Some(task) = find(task_type, task_name) else {
        return refused("setup-failed", format!("{task_name}: unknown {task_type} task name"));
    };
    let run = match task.prepare(task_data, dynamic) {
        Ok(run) => run,
        Err(error) => return refused("configure-failed", format!("Failed to configure: {error}")),
    };
    match AssertUnwindSafe(work(run, surroundings, host)).catch_unwind().await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => refused("execute-failed", error.to_string()),
        Err(_) => refused("execute-failed", format!("task {task_name} panicked; see the worker's log")),
    }
}

fn refused(code: &str, message: String) -> Outcome {
    let output_data = OutputData::error(code, message);
    Outcome { result: Some(Results::Error), output_data, artifacts: Vec::new(), relations: Vec::new() }
}

async fn work(mut run: Box<dyn Run>, surroundings: &Surroundings, host: &dyn Host) -> Result<Outcome, TaskError> {
    let mut bench = Bench::new(surroundings, host)?;
    let mut result = phases(run.as_mut(), &mut bench).await;
    if phase(run.as_mut(), &mut bench, Phase::CleanUp, |run, bench| cleaned_up(run, bench)).await.is_none() {
        result = Results::Failure;
    }
    if bench.is_cancelled() {
        return Ok(Outcome {
            result: None,
            output_data: OutputData::default(),
            artifacts: Vec::new(),
            relations: Vec::new(),
        });
    }
    let passed = bench.watch.meter.passed();
    if let Some(passed) = passed {
        result = Results::Failure;
        bench.announce(&passed.message())?;
    }
    if result == Results::Success {
        let stages = bench.logs.join("stages.log");
        std::fs::remove_file(&stages).map_err(TaskError::io(format!("cannot remove {}", stages.display())))?;
    }
    bench.upload_logs()?;
    let output_data = OutputData {
        runtime_statistics: Some(bench.watch.finish(host.now())),
        errors: passed.map(|passed| vec![OutputError { message: passed.message(), code: passed.code().to_owned() }]),
        ..OutputData::default()
    };
    let (artifacts, relations) = (std::mem::take(&mut bench.artifacts), std::mem::take(&mut bench.relations));
    Ok(Outcome { result: Some(result), output_data, artifacts, relations })
}

/// All phases but the last.
async fn phases(run: &mut (dyn Run + 'static), bench: &mut Bench<'_>) -> Results {
    if phase(run, bench, Phase::Fetch, |run, bench| run.fetch(bench)).await != Some(true)
        || phase(run, bench, Phase::Configure, |run, bench| run.configure(bench)).await != Some(true)
        || phase(run, bench, Phase::Prepare, |_, bench| Box::pin(bench.furnish_instance())).await.is_none()
    {
        return Results::Failure;
    }
    let Some(mut result) = phase(run, bench, Phase::Run, |run, bench| run.run(bench)).await else {
        return Results::Failure;
    };
    match phase(run, bench, Phase::Check, |run, bench| checked(run, bench)).await {
        Some(true) => {}
        Some(false) => result = Results::Failure,
        None => return Results::Failure,
    }
    match phase(run, bench, Phase::Upload, move |run, bench| run.upload(bench, result)).await {
        Some(()) => result,
        None => Results::Failure,
    }
}

/// The task's own clean-up, and the end of its instance: the one does not depend on the other.
fn cleaned_up<'a>(run: &'a mut dyn Run, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<(), TaskError>> {
    Box::pin(async move {
        let own = run.clean_up(bench).await;
        bench.stop_instance().await.and(own)
    })
}

/// Writes what is inconsistent; whether nothing is.
fn checked<'a>(run: &'a mut dyn Run, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
    Box::pin(async move {
        let mut problems = run.check(bench).await?;
        problems.sort();
        for problem in &problems {
            bench.append_log("consistency.log", &format!("{problem}\n"))?;
        }
        Ok(problems.is_empty())
    })
}

/// Runs one phase with its announcement, its clock and its log; `None` if it broke off.
async fn phase<'b, T>(
    run: &mut (dyn Run + 'static),
    bench: &mut Bench<'b>,
    phase: Phase,
    step: impl for<'x> FnOnce(&'x mut (dyn Run + 'static), &'x mut Bench<'b>) -> BoxFuture<'x, Result<T, TaskError>>,
) -> Option<T> {
    if bench.is_cancelled() && phase != Phase::CleanUp {
        return None;
    }
    let began = bench.host.now();
    let done = match bench.announce(phase.text()) {
        // Whatever happens in a phase, the clean-up comes.
        Ok(()) => AssertUnwindSafe(step(run, bench)).catch_unwind().await.unwrap_or_else(|_| {
            Err(TaskError::Other("the task panicked, which is a fault of it: see the worker's log".to_owned()))
        }),
        Err(error) => Err(error),
    };
    let ended = bench.host.now();
    bench.watch.add(phase.kind(), ended - began);
    match done {
        Ok(done) => Some(done),
        Err(error) => {
            report(bench, phase, &error);
            None
        }
    }
}

/// An exception goes into the phase's file and the live log.
fn report(bench: &Bench<'_>, phase: Phase, error: &TaskError) {
    if bench.is_cancelled() {
        return;
    }
    let (stage, name) = (phase.stage(), error.name());
    let id = bench.surroundings.work_request_id;
    tracing::warn!(work_request = id, stage, %error, "a phase broke off");
    bench.host.log(LogStream::Internal, format!("{stage} failed: {name}: {error}\n").as_bytes());
    let mut text = format!("Exception type: {name}\nMessage: {error}\n\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("Caused by: {cause}\n"));
        source = cause.source();
    }
    if let Err(error) = bench.append_log(&format!("{stage}.log"), &text) {
        tracing::error!(work_request = id, %error, "cannot write a task's log");
    }
}
