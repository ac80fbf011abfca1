//! `work-request/`: submit, list, show, change, abort, retry; and the worker's own two calls, fetch and report.

mod decision;

pub(crate) use decision::{confirm_as, unblock_as};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use usine_db::account::User;
use usine_db::artifact::ArtifactManager;
use usine_db::work_request::{NewWorkRequest, ReportOutcome, RetryError};
use usine_db::{PermissionManager, WorkRequest as Row, WorkRequestManager, WorkspaceManager};
use usine_model::output_data::OutputData;
use usine_model::permission::{
    GlobalPermission, WORK_REQUEST_CAN_ABORT, WORK_REQUEST_CAN_RETRY, WORK_REQUEST_CAN_UPDATE,
    WORKSPACE_CAN_CREATE_WORK_REQUESTS,
};
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::token::{TokenHash, hash_of};
use usine_model::work_request::{Results, TaskType};
use usine_protocol::page::{CursorPage, PAGE_SIZE};
use usine_protocol::work_request::{Completed, CreateWorkRequest, UpdateWorkRequest, WorkRequest};
use usine_tasks::{TaskDataError, in_todays_words, old_worker};

use crate::auth::{Identity, Requester, presented_key};
use crate::memory::Known;
use crate::paths::{self, Base};
use crate::permissions::{Place, visible_work_request, visible_workspace};
use crate::problem::{ApiError, ApiResult, Payload, json_body, parse_body, parse_value};
use crate::requirements::{RequirementError, named_artifacts, resolve, scheduler_tags};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .get("/api/1.0/work-request/", Access::UserOrWorkRequest, list)
        .post("/api/1.0/work-request/", Access::User, create)
        .get("/api/1.0/work-request/{id}/", Access::UserOrWorkRequest, show)
        .patch("/api/1.0/work-request/{id}/", Access::User, update)
        .post("/api/1.0/work-request/{id}/retry/", Access::User, retry)
        .post("/api/1.0/work-request/{id}/abort/", Access::User, abort)
        .post("/api/1.0/work-request/{id}/unblock/", Access::User, decision::unblock)
        .post("/api/1.0/work-request/{id}/confirm/", Access::User, decision::confirm)
        .put("/api/1.0/work-request/{id}/completed/", Access::Key, completed)
        .post("/api/1.0/work-request/get-next-for-worker/", Access::Worker, get_next)
        .get("/api/1.0/work-request/get-next-for-worker/", Access::Worker, get_next_old)
}

/// Submits a work request.
async fn create(
    State(state): State<AppState>,
    requester: Requester,
    Payload(body): Payload,
) -> ApiResult<Json<WorkRequest>> {
    let body =
        check_keys(json_body(&body)?, &["task_name", "task_data", "event_reactions", "workspace", "created_by"])?;
    let body: CreateWorkRequest = parse_value(body, "Cannot deserialize work request")?;
    submit(&state, &requester, body, Deadlines::default(), ResourceLimits::default()).await
}

/// Refuses keys that the original refuses.
pub(super) fn check_keys(body: Value, known: &[&str]) -> ApiResult<Value> {
    let keys = body.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let mut unknown: Vec<_> = keys.filter(|key| !known.contains(key)).collect();
    if unknown.is_empty() {
        return Ok(body);
    }
    unknown.sort_unstable();
    let list = unknown.join(", ");
    Err(ApiError::bad_request("Cannot deserialize work request")
        .field("non_field_errors", format!("Invalid fields: {list}")))
}

/// Submits for a user's program.
pub(super) async fn submit(
    state: &AppState,
    requester: &Requester,
    body: CreateWorkRequest,
    deadlines: Deadlines,
    limits: ResourceLimits,
) -> ApiResult<Json<WorkRequest>> {
    let user = requester.user()?;
    let workspace = visible_workspace(state, requester, body.workspace.as_deref()).await?;
    let scope = &requester.scope;
    requester.check(&WORKSPACE_CAN_CREATE_WORK_REQUESTS, &workspace.facts(scope), &workspace.full_name(scope))?;
    let place = Place { workspace, scope: scope.clone() };
    let row = store(state, &requester.known, user, &place, body, deadlines, limits).await?;
    // Nothing may fail any more: the client would submit it once more.
    Ok(Json(present_one(row, &place.scope.name, &place.workspace.name, Vec::new())))
}

/// Checks a submission in every respect, then stores it. Whether the user may submit here is for the caller to ask.
pub(crate) async fn store(
    state: &AppState,
    known: &Known,
    user: &User,
    place: &Place,
    body: CreateWorkRequest,
    deadlines: Deadlines,
    limits: ResourceLimits,
) -> ApiResult<Row> {
    let task = usine_tasks::find(TaskType::Worker, &body.task_name).ok_or_else(|| {
        let registered = usine_tasks::registered(TaskType::Worker).join(", ");
        ApiError::bad_request("Cannot create work request: task name is not registered")
            .detail(format!("Task name: \"{}\". Registered task names: {registered}", body.task_name))
    })?;
    let data = match body.task_data {
        Value::Null => json!({}),
        data => data,
    };
    let refused_data = |error: TaskDataError| refuse_task_data(&data, &error);
    task.check(&data).map_err(refused_data)?;
    let reactions = check_event_reactions(body.event_reactions)?;
    let facts = state.facts();
    let prepared = async {
        let resolved = resolve(&state.database, task, &data, &place.workspace, user.id).await?;
        // What fails now would fail when a worker is found.
        let dynamic = task.dynamic_data(&data, &resolved, &facts)?;
        let groups = known.groups(&state.database, user.id).await?;
        let tags = scheduler_tags(task, &data, &resolved, place, &groups, &facts)?;
        Ok((dynamic, tags))
    };
    let (dynamic, tags) = match prepared.await {
        Ok(prepared) => prepared,
        Err(RequirementError::Data(error)) => return Err(refused_data(error)),
        Err(RequirementError::Database(error)) => return Err(error.into()),
    };
    let inputs = named_artifacts(task, &data).map_err(|error| refuse_task_data(&data, &error))?;
    let words = |key: &str| dynamic.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let new = NewWorkRequest {
        task_name: task.name().to_owned(),
        subject: words("subject"),
        summary: words("parameter_summary"),
        task_data: data,
        event_reactions: reactions,
        deadlines,
        limits,
        inputs,
        ..NewWorkRequest::of_worker_task(place.workspace.id, user.id, task.name())
    };
    match WorkRequestManager(&state.database).create(&new, &tags, state.now()).await {
        // It has expired since it was found.
        Err(error @ usine_db::Error::DoesNotExist { kind: "Artifact", .. }) => {
            Err(refuse_task_data(&new.task_data, &TaskDataError::at("", error.to_string())))
        }
        created => Ok(created?),
    }
}

fn refuse_task_data(data: &Value, error: &TaskDataError) -> ApiError {
    let mut refusal =
        ApiError::bad_request("Cannot create work request").detail(format!("Task data: {data} Error: {error}"));
    for (path, messages) in &error.errors {
        let field = if path.is_empty() { "non_field_errors" } else { path };
        for message in messages {
            refusal = refusal.field(field, message);
        }
    }
    refusal
}

/// Event reactions of a submission may only send notifications, and there are no channels for them yet.
fn check_event_reactions(reactions: Option<Value>) -> ApiResult<Value> {
    const EVENTS: [&str; 5] = ["on_creation", "on_unblock", "on_assignment", "on_success", "on_failure"];
    let malformed =
        |message: String| ApiError::bad_request("Cannot deserialize work request").field("event_reactions", message);
    let reactions = match reactions {
        None | Some(Value::Null) => return Ok(json!({})),
        Some(Value::Object(reactions)) => reactions,
        Some(_) => return Err(malformed("event_reactions must be a dictionary".to_owned())),
    };
    let mut channels = Vec::new();
    for (event, actions) in &reactions {
        if !EVENTS.contains(&event.as_str()) {
            return Err(malformed(format!("{event}: Extra inputs are not permitted")));
        }
        let actions = actions.as_array().ok_or_else(|| malformed(format!("{event}: Input should be a valid list")))?;
        for action in actions {
            match (action["action"].as_str(), action["channel"].as_str()) {
                (Some("send-notification"), Some(channel)) => channels.push(format!("'{channel}'")),
                (Some("send-notification"), None) => {
                    return Err(malformed(format!("{event}: channel: Field required")));
                }
                (Some(other), _) => {
                    return Err(ApiError::bad_request("Invalid event_reactions")
                        .detail(format!("Action type '{other}' is not allowed here")));
                }
                (None, _) => return Err(malformed(format!("{event}: action: Field required"))),
            }
        }
    }
    if channels.is_empty() {
        Ok(Value::Object(reactions))
    } else {
        Err(ApiError::bad_request(format!("Non-existing channels: [{}]", channels.join(", "))))
    }
}

/// Lists work requests, newest first, in pages.
async fn list(
    State(state): State<AppState>,
    requester: Requester,
    base: Base,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> ApiResult<Json<CursorPage<WorkRequest>>> {
    let mut filter = usine_db::work_request::ListFilter::default();
    let seen = WorkspaceManager(&state.database).displayable(&requester.context, Some(&requester.scope)).await?;
    filter.workspace_ids = seen.into_iter().map(|(workspace, _)| workspace.id).collect();
    if let Some(task_type) = query.get("task_type") {
        let parsed = task_type.parse().map_err(|_| query_error("task_type", "Invalid task type"))?;
        filter.task_type = Some(parsed);
    }
    filter.root_only = query.get("root_only").is_some_and(|value| matches!(value.as_str(), "true" | "True" | "1"));
    if let Some(ids) = query.get("ids") {
        // A set: the same id many times must not become a query of many parameters.
        let ids: Result<BTreeSet<i64>, _> = ids.split(',').map(|id| id.trim().parse()).collect();
        let ids = ids.map_err(|_| query_error("ids", "Expected a comma-separated list of integers"))?;
        filter.ids = Some(ids.into_iter().collect());
    }
    // A work request lists itself only.
    if let Identity::WorkRequest(own) = &requester.identity {
        let asked_for = filter.ids.take().is_none_or(|ids| ids.contains(&own.id));
        filter.ids = Some(if asked_for { vec![own.id] } else { Vec::new() });
        filter.workspace_ids = vec![own.workspace_id];
    }
    if let Some(status) = query.get("status") {
        filter.statuses = vec![status.parse().map_err(|_| query_error("status", "Invalid work request status"))?];
    }
    filter.before = query
        .get("cursor")
        .map(|cursor| parse_cursor(cursor).ok_or_else(|| ApiError::not_found("Invalid cursor")))
        .transpose()?;
    let mut rows = WorkRequestManager(&state.database).list(&filter, PAGE_SIZE + 1).await?;
    let more = rows.len() as u64 > PAGE_SIZE;
    rows.truncate(PAGE_SIZE as usize);
    let next = rows.last().filter(|_| more).map(|last| {
        let mut address = format!("{}{}?", base.0, uri.path());
        for (key, value) in query.iter().filter(|(key, _)| *key != "cursor") {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            let _ = write!(address, "{key}={value}&");
        }
        format!("{address}cursor={}", cursor(last))
    });
    Ok(Json(CursorPage { next, previous: None, results: present(&state, rows).await? }))
}

fn query_error(parameter: &str, message: &str) -> ApiError {
    ApiError::bad_request("Error").detail(json!({parameter: [message]}))
}

/// The place of a row in the list: microseconds and id.
fn cursor(row: &Row) -> String {
    format!("{}-{}", row.created_at.timestamp_micros(), row.id)
}

pub(crate) fn parse_cursor(cursor: &str) -> Option<(DateTime<Utc>, i64)> {
    let (micros, id) = cursor.split_once('-')?;
    Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, id.parse().ok()?))
}

/// Shows a work request: to users, and to the work request itself.
async fn show(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> ApiResult<Json<WorkRequest>> {
    if query.contains_key("ids") || query.contains_key("status") {
        return Err(ApiError::bad_request("Error").detail("ids and status filter lists, not one work request"));
    }
    let (row, _) = visible(&state, &requester, &id).await?;
    Ok(Json(present(&state, vec![row]).await?.remove(0)))
}

/// The work request of this id if the requester may see it.
pub(crate) async fn visible(state: &AppState, requester: &Requester, id: &str) -> ApiResult<(Row, Place)> {
    let found = visible_work_request(state, requester, id).await?;
    found.ok_or_else(|| ApiError::not_found("Error").detail("No WorkRequest matches the given query."))
}

/// For messages: `work request 5 of debusine/System`.
fn full_name(row: &Row, place: &Place) -> String {
    format!("work request {} of {}", row.id, place.name())
}

/// Changes the priority.
async fn update(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
    Payload(body): Payload,
) -> ApiResult<Json<WorkRequest>> {
    let user = requester.user()?;
    let (mut row, place) = visible(&state, &requester, &id).await?;
    requester.check(&WORK_REQUEST_CAN_UPDATE, &place.work_request(&row), &full_name(&row, &place))?;
    let update: UpdateWorkRequest = parse_body(&body, "work request update")?;
    prioritize_as(&state, user, &mut row, update.priority_adjustment).await?;
    Ok(Json(present(&state, vec![row]).await?.remove(0)))
}

/// The same, for a user who may update it. Only some may give more than others have.
pub(crate) async fn prioritize_as(state: &AppState, user: &User, row: &mut Row, adjustment: i32) -> ApiResult<()> {
    let may = (adjustment <= 0 && row.created_by_id == user.id)
        || PermissionManager(&state.database).has(user, GlobalPermission::ManageWorkrequestPriorities).await?;
    if !may {
        return Err(ApiError::forbidden("You are not permitted to set priority adjustments"));
    }
    row.set_priority_adjustment(&state.database, adjustment, Some(user.id), state.now()).await?;
    Ok(())
}

/// Puts a new work request in the place of one that ended badly.
async fn retry(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
) -> ApiResult<Json<WorkRequest>> {
    let user = requester.user()?;
    let (row, place) = visible(&state, &requester, &id).await?;
    requester.check(&WORK_REQUEST_CAN_RETRY, &place.work_request(&row), &full_name(&row, &place))?;
    let heir = retry_as(&state, user, &row, &place).await?;
    Ok(Json(present(&state, vec![heir]).await?.remove(0)))
}

/// The same, for a user who may.
pub(crate) async fn retry_as(state: &AppState, user: &User, row: &Row, place: &Place) -> ApiResult<Row> {
    let refuse = |reason: &str| ApiError::bad_request("Cannot retry work request").detail(reason);
    let not_retried = |error| match error {
        RetryError::NotAllowed(reason) => refuse(reason),
        RetryError::Database(error) => error.into(),
    };
    row.check_retry(&state.database).await.map_err(not_retried)?;
    if let Some(task) = usine_tasks::find(*row.task_type, &row.task_name) {
        let resolved = resolve(&state.database, task, &row.task_data, &place.workspace, row.created_by_id).await;
        if let Err(RequirementError::Data(error)) = resolved {
            tracing::info!(work_request = row.id, %error, "not retried");
            return Err(refuse("Task dependencies cannot be satisfied"));
        }
    }
    row.retry(&state.database, Some(user.id), state.now()).await.map_err(not_retried)
}

/// Gives a work request up; its worker is told.
async fn abort(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
) -> ApiResult<Json<WorkRequest>> {
    let user = requester.user()?;
    let (mut row, place) = visible(&state, &requester, &id).await?;
    requester.check(&WORK_REQUEST_CAN_ABORT, &place.work_request(&row), &full_name(&row, &place))?;
    abort_as(&state, user, &mut row).await?;
    Ok(Json(present(&state, vec![row]).await?.remove(0)))
}

/// The same, for a user who may.
pub(crate) async fn abort_as(state: &AppState, user: &User, row: &mut Row) -> ApiResult<()> {
    row.abort(&state.database, Some(user.id), state.now())
        .await?
        .map_err(|reason| ApiError::bad_request("Cannot abort work request").detail(reason))
}

/// A worker fetches its next work request.
async fn get_next(State(state): State<AppState>, requester: Requester) -> ApiResult<Response> {
    let worker = requester.worker()?;
    let next = WorkRequestManager(&state.database).get_next_for_worker(worker, &*state.entropy, state.now()).await?;
    let Some(handed_out) = next else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let mut body = present_handed_out(&state, &requester.known, handed_out.work_request).await?;
    body.task_data = in_todays_words(&body.task_name, &body.task_data);
    body.token = Some(handed_out.key.reveal().to_owned());
    Ok(Json(body).into_response())
}

/// A worker before 0.13 fetches its next work request. It gets no key, and the task in its own words. What these cannot say
/// it gets as it is, to report what it does not understand: it has become old since the work request was assigned to it.
async fn get_next_old(State(state): State<AppState>, method: Method, requester: Requester) -> ApiResult<Response> {
    if method == Method::HEAD {
        // Only looks, and must not be given work.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let worker = requester.worker()?;
    let Identity::Worker(_, token) = &requester.identity else { return Err(ApiError::wrong_token()) };
    let own = TokenHash(token.hash.clone());
    let next = WorkRequestManager(&state.database).get_next_for_old_worker(worker, &own, state.now()).await?;
    let Some(row) = next else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let mut body = present_handed_out(&state, &requester.known, row).await?;
    if let Some(words) = old_worker::translate(&body.task_name, &body.task_data, body.dynamic_task_data.as_ref()) {
        body.task_data = words.task_data;
        body.dynamic_task_data = words.dynamic_task_data;
    }
    Ok(Json(body).into_response())
}

/// A work request as its worker sees it.
async fn present_handed_out(state: &AppState, known: &Known, row: Row) -> ApiResult<WorkRequest> {
    let Place { workspace, scope } = known.place(&state.database, row.workspace_id).await?;
    let limits = Some(row.limits()).filter(|limits| !limits.is_none());
    // One with artifacts would have been replaced, not handed out.
    let body = present_one(row, &scope.name, &workspace.name, Vec::new());
    Ok(WorkRequest { limits, ..body })
}

/// A worker reports a result with the key of its attempt. The key stops working with the first report; a repeated one
/// gets the same answer, because the attempt remembers the key's hash.
async fn completed(
    State(state): State<AppState>,
    Path(id): Path<String>,
    parts: Parts,
    Payload(body): Payload,
) -> ApiResult<StatusCode> {
    let key = presented_key(&parts).ok_or_else(ApiError::not_authenticated)?;
    let report = parse_report(json_body(&body)?)?;
    let hash = hash_of(key);
    // What is no number is the id of no work request, and 0 is neither.
    let id = id.parse().unwrap_or(0);
    let outcome =
        WorkRequestManager(&state.database).report(id, &hash, report.result, report.output_data, state.now()).await;
    match outcome {
        Ok(ReportOutcome::Accepted | ReportOutcome::Repeated) => Ok(StatusCode::OK),
        Ok(ReportOutcome::NotRunning) => {
            Err(ApiError::Text(StatusCode::FORBIDDEN, "work request is not running".to_owned()))
        }
        Ok(ReportOutcome::NotFound) => match crate::auth::by_key(&state, Some(key)).await?.0 {
            Identity::WorkRequest(_) => Err(ApiError::not_found("Work request not found")),
            Identity::Anonymous => Err(ApiError::not_authenticated()),
            _ => Err(ApiError::wrong_token()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Reads a report; errors in its output data are told as the original tells them.
fn parse_report(mut body: Value) -> ApiResult<Completed> {
    const TITLE: &str = "Cannot change work request as completed";
    let output_data = match body.as_object_mut().and_then(|body| body.remove("output_data")) {
        None => OutputData::default(),
        Some(data) => serde_path_to_error::deserialize(data).map_err(|error| {
            ApiError::bad_request(TITLE).field("output_data", format!("Invalid output_data: {error}"))
        })?,
    };
    let report: Completed = parse_value(body, TITLE)?;
    if report.result == Results::None {
        return Err(ApiError::bad_request(TITLE).field("result", "This field may not be blank."));
    }
    Ok(Completed { output_data, ..report })
}

/// Work requests as every answer shows them, with a fixed number of queries for any number of rows.
pub(crate) async fn present(state: &AppState, rows: Vec<Row>) -> ApiResult<Vec<WorkRequest>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut artifacts = ArtifactManager(&state.database).ids_of_work_request(&ids).await?;
    let known = state.memory.now(&state.database).await?;
    let mut presented = Vec::with_capacity(rows.len());
    for row in rows {
        let Place { workspace, scope } = known.place(&state.database, row.workspace_id).await?;
        let made = artifacts.remove(&row.id).unwrap_or_default();
        presented.push(present_one(row, &scope.name, &workspace.name, made));
    }
    Ok(presented)
}

fn present_one(row: Row, scope: &str, workspace: &str, artifacts: Vec<i64>) -> WorkRequest {
    let url = paths::work_request(scope, workspace, row.id);
    let api = |id: i64| json!(format!("/api/1.0/work-request/{id}/"));
    let user = |id: i64| json!(format!("/-/user/id/{id}/"));
    let mut links = Map::new();
    links.insert("self".to_owned(), api(row.id));
    links.insert("webui_self".to_owned(), json!(url));
    links.insert("webui_created_by".to_owned(), user(row.created_by_id));
    if let Some(id) = row.aborted_by_id {
        links.insert("webui_aborted_by".to_owned(), user(id));
    }
    for (name, id) in [("parent", row.parent_id), ("workflow_root", row.workflow_root_id)] {
        if let Some(id) = id {
            links.insert(name.to_owned(), api(id));
            links.insert(format!("webui_{name}"), json!(paths::work_request(scope, workspace, id)));
        }
    }
    let strings = |value: &Value| serde_json::from_value(value.clone()).unwrap_or_default();
    WorkRequest {
        links,
        id: row.id,
        url,
        parent: row.parent_id,
        workflow_root: row.workflow_root_id,
        created_at: row.created_at,
        started_at: row.started_at,
        completed_at: row.completed_at,
        duration: row.duration(),
        created_by: row.created_by_id,
        completed_by: row.completed_by_id,
        aborted_by: row.aborted_by_id,
        status: *row.status,
        result: *row.result,
        worker: row.worker_id,
        task_type: *row.task_type,
        task_name: row.task_name.clone(),
        task_data: row.used_task_data().clone(),
        dynamic_task_data: row.dynamic_task_data.clone(),
        priority_base: row.priority_base,
        priority_adjustment: row.priority_adjustment,
        workflow_data: row.workflow_data.clone(),
        event_reactions: row.event_reactions.clone(),
        artifacts,
        scope: scope.to_owned(),
        workspace: workspace.to_owned(),
        scheduler_tags_provided: strings(&row.scheduler_tags_provided),
        scheduler_tags_required: strings(&row.scheduler_tags_required),
        token: None,
        limits: None,
    }
}
