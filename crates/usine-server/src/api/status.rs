//! `whoami/` and `service-status/`.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use usine_db::work_request::QueueCount;
use usine_db::{Database, QueueManager, Token, WorkRequestManager, Worker, WorkerManager};
use usine_model::tags;
use usine_model::work_request::{Statuses, TaskType};
use usine_model::worker::WorkerType;
use usine_protocol::status::{Queue, ServiceStatus, Whoami, Workers};

use crate::auth::{Identity, Requester};
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new().get("/api/1.0/whoami/", Access::Everybody, whoami).get(
        "/api/1.0/service-status/",
        Access::Everybody,
        service_status,
    )
}

async fn whoami(Requester { identity, .. }: Requester) -> Json<Whoami> {
    let mut answer = Whoami { user: "<anonymous>".to_owned(), auth: true, work_request: None, worker: false };
    match identity {
        Identity::User(user) | Identity::Session(user) => answer.user.clone_from(&user.username),
        Identity::WorkRequest(work_request) => answer.work_request = Some(work_request.id),
        Identity::Worker(..) => answer.worker = true,
        Identity::Activation | Identity::External => {}
        Identity::Anonymous => answer.auth = false,
    }
    Json(answer)
}

async fn service_status(State(state): State<AppState>) -> ApiResult<Json<ServiceStatus>> {
    Ok(Json(gather(&state).await?))
}

/// The state of the service in numbers.
pub(crate) async fn gather(state: &AppState) -> ApiResult<ServiceStatus> {
    let mut status = ServiceStatus::default();
    let counts = WorkRequestManager(&state.database).count_open().await?;
    for task_type in
        [TaskType::Worker, TaskType::Server, TaskType::Internal, TaskType::Workflow, TaskType::Signing, TaskType::Wait]
    {
        let queue = status.tasks.entry(task_type.to_string()).or_default();
        counts.iter().filter(|count| *count.task_type == task_type).for_each(|count| add(queue, count));
        let worker_type = match task_type {
            TaskType::Worker => WorkerType::External,
            TaskType::Server => WorkerType::Celery,
            TaskType::Signing => WorkerType::Signing,
            _ => continue,
        };
        let queue = *queue;
        status.worker_tasks.insert(worker_type.to_string(), queue);
        status.workers.insert(worker_type.to_string(), Workers::default());
    }
    let architectures = architectures_of(&state.database).await?;
    for count in counts.iter().filter(|count| *count.task_type == TaskType::Worker) {
        let architecture = count.requirement_set_id.and_then(|id| architectures.get(&id)?.as_deref()).unwrap_or("None");
        add(status.worker_tasks_arch.entry(architecture.to_owned()).or_default(), count);
    }
    let busy: HashSet<i64> = WorkRequestManager(&state.database)
        .live()
        .all(state.database.reader())
        .await
        .map_err(usine_db::Error::from)?
        .into_iter()
        .filter_map(|row| row.worker_id)
        .collect();
    for (worker, token) in WorkerManager(&state.database).list().await? {
        if !counts_as_registered(&worker, token.as_ref()) {
            continue;
        }
        let is_busy = busy.contains(&worker.id);
        tally(status.workers.entry(worker.worker_type.to_string()).or_default(), &worker, is_busy);
        if *worker.worker_type == WorkerType::External {
            let metadata = worker.metadata()?;
            for architecture in metadata["provided_tags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|tag| tag.as_str()?.strip_prefix("worker:build-arch:"))
            {
                tally(status.external_workers_arch.entry(architecture.to_owned()).or_default(), &worker, is_busy);
            }
            if let Some(native) = metadata.get("system:native_architecture").and_then(Value::as_str) {
                tally(status.external_workers_native_arch.entry(native.to_owned()).or_default(), &worker, is_busy);
            }
        }
    }
    Ok(status)
}

/// The architecture that each set of requirements asks for, if any.
pub(crate) async fn architectures_of(database: &Database) -> usine_db::Result<HashMap<i64, Option<String>>> {
    let sets = QueueManager(database).requirement_sets(0).await?;
    Ok(sets.into_iter().map(|(id, set)| (id, tags::build_arch_of(&set.required).map(str::to_owned))).collect())
}

fn counts_as_registered(worker: &Worker, token: Option<&Token>) -> bool {
    *worker.worker_type == WorkerType::Celery || token.is_some_and(|token| token.enabled)
}

fn add(queue: &mut Queue, count: &QueueCount) {
    let number = count.count.unsigned_abs();
    if *count.status == Statuses::Running { queue.running += number } else { queue.pending += number }
}

fn tally(workers: &mut Workers, worker: &Worker, busy: bool) {
    workers.registered += 1;
    if worker.connected() {
        workers.connected += 1;
        if busy { workers.busy += 1 } else { workers.idle += 1 }
    }
}
