//! What people decide: whether a work request that waits for approval may run, and the answers to tasks `confirm`.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::json;
use usine_db::WorkRequest as Row;
use usine_db::account::User;
use usine_db::work_request::{ConfirmError, SchedulerTags, UnblockError};
use usine_model::permission::{WORK_REQUEST_CAN_CONFIRM, WORK_REQUEST_CAN_UNBLOCK};
use usine_protocol::work_request::{ConfirmWorkRequest, MAX_NOTES, UnblockAction, UnblockWorkRequest, WorkRequest};

use super::{full_name, present, refuse_task_data, visible};
use crate::auth::Requester;
use crate::permissions::Place;
use crate::problem::{ApiError, ApiResult, Payload, parse_body};
use crate::requirements::{RequirementError, resolve, scheduler_tags};
use crate::state::AppState;

/// Approves or rejects a work request that waits for a person, or notes something about it.
pub(super) async fn unblock(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
    Payload(body): Payload,
) -> ApiResult<Json<WorkRequest>> {
    let user = requester.user()?;
    let (mut row, place) = visible(&state, &requester, &id).await?;
    requester.check(&WORK_REQUEST_CAN_UNBLOCK, &place.work_request(&row), &full_name(&row, &place))?;
    let body: UnblockWorkRequest = parse_body(&body, "work request unblock")?;
    unblock_as(&state, user, &mut row, &place, body).await?;
    Ok(Json(present(&state, vec![row]).await?.remove(0)))
}

/// The same, for a user who may.
pub(crate) async fn unblock_as(
    state: &AppState,
    user: &User,
    row: &mut Row,
    place: &Place,
    body: UnblockWorkRequest,
) -> ApiResult<()> {
    let wrong = |field: &str, message: &str| {
        ApiError::bad_request("Cannot deserialize work request unblock").field(field, message)
    };
    if body.notes.is_none() && body.action.is_none() {
        return Err(wrong("non_field_errors", "At least one of notes and action must be set."));
    }
    let notes = body.notes.unwrap_or_default();
    if notes.chars().count() > MAX_NOTES {
        return Err(wrong("notes", "Ensure this field has no more than 65536 characters."));
    }
    let refused = |error| match error {
        UnblockError::NotAllowed(reason) => ApiError::bad_request(reason),
        UnblockError::Database(error) => error.into(),
    };
    row.check_unblock(&state.database).await.map_err(refused)?;
    let tags = match body.action {
        Some(UnblockAction::Accept) => Some(tags_of(state, row, place).await?),
        _ => None,
    };
    let decision = usine_db::work_request::Decision {
        user_id: user.id,
        notes: &notes,
        accept: body.action.map(|action| action == UnblockAction::Accept),
    };
    row.unblock(&state.database, &decision, tags.as_ref(), state.now()).await.map_err(refused)
}

/// What it asks of workers, computed when it becomes ready.
async fn tags_of(state: &AppState, row: &Row, place: &Place) -> ApiResult<SchedulerTags> {
    let Some(task) = usine_tasks::find(*row.task_type, &row.task_name) else { return Ok(SchedulerTags::default()) };
    let (data, facts) = (&row.task_data, state.facts());
    let tags = async {
        let resolved = resolve(&state.database, task, data, &place.workspace, row.created_by_id).await?;
        let groups = state.memory.now(&state.database).await?.groups(&state.database, row.created_by_id).await?;
        Ok(scheduler_tags(task, data, &resolved, place, &groups, &facts)?)
    };
    match tags.await {
        Ok(tags) => Ok(tags),
        Err(RequirementError::Data(error)) => Err(refuse_task_data(data, &error)),
        Err(RequirementError::Database(error)) => Err(error.into()),
    }
}

/// Answers what a task `confirm` asks.
pub(super) async fn confirm(
    State(state): State<AppState>,
    requester: Requester,
    Path(id): Path<String>,
    Payload(body): Payload,
) -> ApiResult<Json<WorkRequest>> {
    let user = requester.user()?;
    let (mut row, place) = visible(&state, &requester, &id).await?;
    requester.check(&WORK_REQUEST_CAN_CONFIRM, &place.work_request(&row), &full_name(&row, &place))?;
    let body: ConfirmWorkRequest = parse_body(&body, "work request confirmation")?;
    confirm_as(&state, user, &mut row, body).await?;
    Ok(Json(present(&state, vec![row]).await?.remove(0)))
}

/// The same, for a user who may.
pub(crate) async fn confirm_as(
    state: &AppState,
    user: &User,
    row: &mut Row,
    body: ConfirmWorkRequest,
) -> ApiResult<()> {
    if body.comment.as_ref().is_some_and(|comment| comment.chars().count() > MAX_NOTES) {
        return Err(ApiError::bad_request("Cannot deserialize work request confirmation")
            .field("comment", "Ensure this field has no more than 65536 characters."));
    }
    row.confirm(&state.database, body.confirm, body.comment, user.id, state.now()).await.map_err(|error| match error {
        ConfirmError::NotAllowed(reason) => ApiError::bad_request("Error").detail(json!([reason])),
        ConfirmError::Database(error) => error.into(),
    })
}
