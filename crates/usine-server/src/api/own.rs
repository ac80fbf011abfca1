//! What is ours alone, below `/api/usine/1.0/`: limits, reasons, history, kept logs, schemas of tasks.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use chrono::SecondsFormat;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usine_db::{WorkRequest as WorkRequestRow, WorkRequestManager, WorkerManager};
use usine_model::matching::PendingReason;
use usine_model::work_request::{Statuses, TaskType};
use usine_protocol::own::{Attempt, HistoryEntry, WorkRequestDetails};
use usine_protocol::work_request::{CreateWorkRequest, WorkRequest};

use super::work_request::{check_keys, submit, visible};
use crate::auth::Requester;
use crate::problem::{ApiError, ApiResult, Payload, json_body, parse_value};
use crate::routes::{Access, Routes};
use crate::scheduler::reason;
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .post("/api/usine/1.0/work-request/", Access::User, create)
        .get("/api/usine/1.0/work-request/{id}/details/", Access::UserOrWorkRequest, details)
        .get("/api/usine/1.0/work-request/{id}/log/", Access::UserOrWorkRequest, log)
        .get("/api/usine/1.0/task/", Access::Everybody, tasks)
        .get("/api/usine/1.0/task/{name}/schema/", Access::Everybody, schema)
}

/// Submits a work request with limits on its run.
async fn create(
    State(state): State<AppState>,
    requester: Requester,
    Payload(body): Payload,
) -> ApiResult<Json<WorkRequest>> {
    let known = ["task_name", "task_data", "event_reactions", "workspace", "created_by", "deadlines", "limits"];
    let mut body = check_keys(json_body(&body)?, &known)?;
    let deadlines = take(&mut body, "deadlines")?;
    let limits = take(&mut body, "limits")?;
    let body: CreateWorkRequest = parse_value(body, "Cannot deserialize work request")?;
    submit(&state, &requester, body, deadlines, limits).await
}

/// Takes an object out of a submission; what is missing has its default.
fn take<T: Default + DeserializeOwned>(body: &mut Value, key: &str) -> ApiResult<T> {
    let refuse = |message: String| ApiError::bad_request("Cannot deserialize work request").field(key, message);
    match body.as_object_mut().and_then(|body| body.remove(key)) {
        None | Some(Value::Null) => Ok(T::default()),
        // Serde would take a list of the fields' values as well.
        Some(value) if !value.is_object() => Err(refuse("Invalid data. Expected a dictionary.".to_owned())),
        Some(value) => serde_json::from_value(value).map_err(|error| refuse(error.to_string())),
    }
}

/// Everything about a work request that the 1.0 API does not tell.
async fn details(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
) -> ApiResult<Json<WorkRequestDetails>> {
    let (row, _) = visible(&state, &requester, &id).await?;
    let manager = WorkRequestManager(&state.database);
    let names: HashMap<i64, String> =
        WorkerManager(&state.database).list().await?.into_iter().map(|(worker, _)| (worker.id, worker.name)).collect();
    let name_of = |id: Option<i64>| id.and_then(|id| names.get(&id).cloned());
    let attempts = manager.attempts(row.id).await?.into_iter().map(|attempt| Attempt {
        number: attempt.number,
        worker: attempt.worker_name,
        handed_out_at: attempt.handed_out_at,
        ended_at: attempt.ended_at,
        outcome: attempt.outcome,
        result: attempt.ended_at.map(|_| *attempt.result),
    });
    let history = manager.history(row.id).await?.into_iter().map(|event| HistoryEntry {
        id: event.id,
        at: event.created_at,
        event: *event.kind,
        worker: name_of(event.worker_id),
        detail: event.detail,
    });
    let pending_reason = pending_reason(&state, &row).await?;
    Ok(Json(WorkRequestDetails {
        id: row.id,
        worker_name: name_of(row.worker_id),
        output_data: row.output()?,
        deadlines: row.deadlines(),
        limits: row.limits(),
        delayed_until: row.delayed_until,
        supersedes: row.supersedes_id,
        superseded_by: row.superseded_by(&state.database).await?,
        pending_reason,
        attempts: attempts.collect(),
        history: history.collect(),
    }))
}

/// Why it is not running, while it is pending or rests.
pub(crate) async fn pending_reason(state: &AppState, row: &WorkRequestRow) -> ApiResult<Option<PendingReason>> {
    Ok(match (*row.status, row.delayed_until) {
        (Statuses::Pending, _) => Some(reason::explain_pending(state, row).await?),
        (Statuses::Blocked, Some(until)) => {
            let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
            let of = row.supersedes_id.map(|id| format!(" of work request {id}")).unwrap_or_default();
            let summary = format!("it waits until {until} after a temporary failure{of}");
            Some(PendingReason { summary, ahead: 0, limit: None, workers: Vec::new() })
        }
        _ => None,
    })
}

/// The log that was kept of a work request, as text.
async fn log(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
) -> ApiResult<impl IntoResponse> {
    let (row, _) = visible(&state, &requester, &id).await?;
    let text = state.live_logs.text(row.id).await?.ok_or_else(|| ApiError::not_found("No log is kept"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(text)))
}

/// The tasks there are.
async fn tasks() -> Json<Value> {
    Json(json!({"Worker": usine_tasks::registered(TaskType::Worker)}))
}

/// The JSON Schema of a task's data.
async fn schema(Path(name): Path<String>) -> ApiResult<Json<Value>> {
    let task = usine_tasks::find(TaskType::Worker, &name).ok_or_else(|| ApiError::not_found("Object not found"))?;
    Ok(Json(task.schema()))
}
