//! `/{scope}/{workspace}/work-request/{id}/`: where a work request stands, why it does not run or what failed, what it made, its log
//! and its history.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use usine_db::artifact::ArtifactFilter;
use usine_db::work_request::ListFilter;
use usine_db::{
    Artifact, ArtifactManager, PermissionManager, UserManager, WorkRequest, WorkRequestManager, WorkerManager,
};
use usine_model::artifact::ArtifactCategory;
use usine_model::expiry::expire_at;
use usine_model::matching::{PendingReason, Verdict};
use usine_model::output_data::{OutputError, RuntimeStatistics};
use usine_model::permission::{
    GlobalPermission, WORK_REQUEST_CAN_ABORT, WORK_REQUEST_CAN_CONFIRM, WORK_REQUEST_CAN_RETRY,
    WORK_REQUEST_CAN_UNBLOCK, WORK_REQUEST_CAN_UPDATE,
};
use usine_model::work_request::{Results, Statuses, TaskType};

use super::super::artifact::rows::ArtifactRows;
use super::super::frame::{Frame, Guest};
use super::super::log;
use super::super::place::InWorkspace;
use super::super::results::{self, ResultView};
use super::super::show::{Badge, Size, Span, When, yaml};
use super::rows::label;
use super::{find, may_submit};
use crate::api::own::pending_reason;
use crate::paths;
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/work-request/{id}/", Access::Page, show)
}

#[derive(Template)]
#[template(path = "work_request/one.html")]
struct OnePage {
    frame: Frame,
    place: String,
    address: String,
    row: WorkRequest,
    badge: Badge,
    facts: Facts,
    may: May,
    reason: Option<PendingReason>,
    errors: Vec<OutputError>,
    skip_reason: Option<String>,
    statistics: Vec<(&'static str, String)>,
    view: Option<ResultView>,
    log: Option<String>,
    artifacts: ArtifactRows,
    attempts: Vec<AttemptRow>,
    history: Vec<HistoryRow>,
    data: Vec<(&'static str, String)>,
}

/// What is told beside.
struct Facts {
    package: Option<String>,
    creator: String,
    aborted_by: Option<String>,
    completed_by: Option<String>,
    worker: Option<String>,
    created: When,
    started: Option<When>,
    ended: Option<When>,
    waited: Option<Span>,
    ran: Option<Span>,
    expires: Option<When>,
    superseded_by: Option<i64>,
    /// The one before of the same kind, to compare with.
    previous: Option<i64>,
}

/// What whoever looks may do with it now.
#[derive(Default)]
struct May {
    retry: bool,
    abort: bool,
    /// The lowest and highest adjustment of the priority.
    prioritize: Option<(i32, i32)>,
    unblock: bool,
    confirm: bool,
    submit: bool,
}

struct AttemptRow {
    number: i32,
    worker: String,
    from: When,
    span: Span,
    outcome: String,
    result: Option<Badge>,
}

struct HistoryRow {
    at: When,
    event: String,
    by: Option<String>,
    worker: Option<String>,
    detail: String,
}

#[derive(Deserialize)]
struct Wanted {
    /// The line of the log that is looked for.
    #[serde(default)]
    log: String,
}

async fn show(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Path((_, _, id)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let row = find(&state, &guest, &place, &id).await?;
    let (manager, now) = (WorkRequestManager(&state.database), state.now());
    let output = row.output()?;
    let superseded_by = row.superseded_by(&state.database).await?;
    let may = may(&state, &guest, &place, &row, superseded_by.is_some()).await?;
    let history = manager.history(row.id).await?;
    let users = {
        let mut ids: Vec<i64> = history.iter().filter_map(|event| event.user_id).collect();
        ids.extend([Some(row.created_by_id), row.aborted_by_id, row.completed_by_id].into_iter().flatten());
        UserManager(&state.database).names(&ids).await?
    };
    let workers = {
        let mut ids: Vec<i64> = history.iter().filter_map(|event| event.worker_id).collect();
        ids.extend(row.worker_id);
        WorkerManager(&state.database).names(&ids).await?
    };
    let name = |names: &HashMap<i64, String>, id: Option<i64>| id.and_then(|id| names.get(&id).cloned());
    let delay = row.expiration_delay.unwrap_or(place.workspace.default_expiration_delay);
    let facts = Facts {
        package: (!row.subject.is_empty())
            .then(|| paths::package(&place.scope.name, &place.workspace.name, &row.subject)),
        creator: name(&users, Some(row.created_by_id)).unwrap_or_default(),
        aborted_by: name(&users, row.aborted_by_id),
        completed_by: name(&users, row.completed_by_id),
        worker: name(&workers, row.worker_id),
        created: When::new(row.created_at, now),
        started: When::maybe(row.started_at, now),
        ended: When::maybe(row.completed_at, now),
        waited: row.pending_at.zip(row.started_at).map(|(from, to)| Span::between(from, to)),
        ran: Span::of(&row, now),
        expires: When::maybe(expire_at(row.created_at, delay).filter(|_| row.status.is_terminal()), now),
        superseded_by,
        previous: previous(&manager, &row).await?,
    };
    let attempts = manager.attempts(row.id).await?.into_iter().map(|attempt| AttemptRow {
        number: attempt.number,
        from: When::new(attempt.handed_out_at, now),
        span: Span::between(attempt.handed_out_at, attempt.ended_at.unwrap_or(now)),
        result: attempt
            .ended_at
            .and(Some(*attempt.result))
            .filter(|result| !result.label().is_empty())
            .map(Badge::result),
        outcome: attempt.outcome.unwrap_or_else(|| "runs".to_owned()),
        worker: attempt.worker_name,
    });
    let history = history.into_iter().map(|event| HistoryRow {
        at: When::new(event.created_at, now),
        event: event.kind.to_string().replace('-', " "),
        by: name(&users, event.user_id),
        worker: name(&workers, event.worker_id),
        detail: event.detail.as_ref().map(|detail| yaml(detail).trim().to_owned()).unwrap_or_default(),
    });
    let filter = ArtifactFilter { work_request_id: Some(row.id), ..ArtifactFilter::default() };
    let mut made = ArtifactManager(&state.database).list(&filter).await?;
    // What came first is first: mostly the log, then the packages, then what is made of them.
    made.reverse();
    let empty = if row.status.is_terminal() { "It left no artifacts." } else { "It has made none yet." };
    let view = view(&state, &place, &row, &made).await?;
    let address = paths::work_request(&place.scope.name, &place.workspace.name, row.id);
    let log = log::panel(&state, &row, &address, wanted.log.parse().ok()).await?;
    let artifacts = ArtifactRows::of(&state, &place, "Artifacts of this work request", made, empty).await?;
    let mut data = vec![("Task data", yaml(&row.task_data))];
    data.extend(
        row.configured_task_data
            .as_ref()
            .filter(|data| **data != row.task_data)
            .map(|data| ("Configured data", yaml(data))),
    );
    data.extend(row.dynamic_task_data.as_ref().map(|data| ("Dynamic data", yaml(data))));
    data.push(("Scheduler tags required", yaml(&row.scheduler_tags_required)));
    data.push(("Scheduler tags provided", yaml(&row.scheduler_tags_provided)));
    data.extend(row.output_data.as_ref().map(|data| ("Output data", yaml(data))));
    let frame =
        guest.frame(label(&row)).inside(&place).below("Work requests", format!("{}work-request/", place.address()));
    guest.show(&OnePage {
        frame: frame.live(&format!("/-/live/work-request/{}/", row.id)),
        place: place.address(),
        address,
        view,
        log,
        badge: Badge::of(&row),
        reason: pending_reason(&state, &row).await?,
        errors: output.errors.unwrap_or_default(),
        skip_reason: output.skip_reason,
        statistics: output.runtime_statistics.as_ref().map(statistics).unwrap_or_default(),
        facts,
        may,
        artifacts,
        attempts: attempts.collect(),
        history: history.collect(),
        data,
        row,
    })
}

/// The view of what came out: findings always, a build log only where something is to be found in it.
async fn view(state: &AppState, place: &Place, row: &WorkRequest, made: &[Artifact]) -> ApiResult<Option<ResultView>> {
    let says_much = |artifact: &&Artifact| match *artifact.category {
        ArtifactCategory::Lintian
        | ArtifactCategory::Autopkgtest
        | ArtifactCategory::Blhc
        | ArtifactCategory::Piuparts
        | ArtifactCategory::Debdiff => true,
        ArtifactCategory::PackageBuildLog => *row.result != Results::Success,
        _ => false,
    };
    let Some(artifact) = made.iter().find(says_much) else { return Ok(None) };
    let files = ArtifactManager(&state.database).files(artifact.id).await?;
    let base = paths::artifact(&place.scope.name, &place.workspace.name, artifact.id);
    results::of_artifact(state, artifact, &files, &base).await
}

/// What somebody may do with it, as far as its state allows.
async fn may(state: &AppState, guest: &Guest, place: &Place, row: &WorkRequest, superseded: bool) -> ApiResult<May> {
    let Some(user) = &guest.user else { return Ok(May::default()) };
    let facts = place.work_request(row);
    let rules = row.state(superseded);
    let open = !row.status.is_terminal();
    let prioritize = if open && guest.may(&WORK_REQUEST_CAN_UPDATE, &facts) {
        let any = PermissionManager(&state.database).has(user, GlobalPermission::ManageWorkrequestPriorities).await?;
        let own = row.created_by_id == user.id;
        if any { Some((-1000, 1000)) } else { own.then_some((-1000, 0)) }
    } else {
        None
    };
    let waits_for_people = *row.status == Statuses::Blocked && !row.rests();
    Ok(May {
        retry: (rules.check_retry(false).is_ok() || row.rests()) && guest.may(&WORK_REQUEST_CAN_RETRY, &facts),
        abort: rules.check_abort().is_ok() && guest.may(&WORK_REQUEST_CAN_ABORT, &facts),
        prioritize,
        unblock: waits_for_people
            && guest.may(&WORK_REQUEST_CAN_UNBLOCK, &facts)
            && row.check_unblock(&state.database).await.is_ok(),
        confirm: *row.task_type == TaskType::Wait
            && *row.status == Statuses::Running
            && guest.may(&WORK_REQUEST_CAN_CONFIRM, &facts),
        submit: *row.task_type == TaskType::Worker && may_submit(guest, place),
    })
}

/// The last one before with the same subject, task and requirements; else the one that it replaces.
async fn previous(manager: &WorkRequestManager<'_>, row: &WorkRequest) -> ApiResult<Option<i64>> {
    if row.supersedes_id.is_some() || row.subject.is_empty() {
        return Ok(row.supersedes_id);
    }
    let filter = ListFilter {
        workspace_ids: vec![row.workspace_id],
        subject: Some(row.subject.clone()),
        task_name: Some(row.task_name.clone()),
        requirement_sets: row.requirement_set_id.map(|id| vec![id]),
        before: Some((row.created_at, row.id)),
        ..ListFilter::default()
    };
    Ok(manager.list(&filter, 1).await?.first().map(|row| row.id))
}

/// What was measured, in words.
pub(super) fn statistics(measured: &RuntimeStatistics) -> Vec<(&'static str, String)> {
    let span = |seconds: i64| Span(seconds as f64).words();
    let size = |bytes: i64| Size(bytes.unsigned_abs()).words();
    let all = [
        ("Whole run", measured.duration.map(span)),
        ("Set-up", measured.duration_setup.map(span)),
        ("Commands", measured.duration_run.map(span)),
        ("Clean-up", measured.duration_teardown.map(span)),
        ("CPU time", measured.cpu_time.map(span)),
        ("CPUs", measured.cpu_count.map(|count| count.to_string())),
        ("Memory", measured.memory.map(size)),
        ("Memory available", measured.available_memory.map(size)),
        ("Disk space", measured.disk_space.map(size)),
        ("Disk space available", measured.available_disk_space.map(size)),
        ("Received", measured.network_received.map(size)),
        ("Sent", measured.network_sent.map(size)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// One line of the table of workers.
fn verdict_in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Assigned => "it is assigned to it, and about to be fetched".to_owned(),
        Verdict::Free => "is free, and will be asked".to_owned(),
        Verdict::Busy { work_requests } => {
            let ids: Vec<String> = work_requests.iter().map(|id| format!("#{id}")).collect();
            format!("runs {}", ids.join(", "))
        }
        Verdict::Disconnected => "is not connected".to_owned(),
        Verdict::Disabled => "is disabled".to_owned(),
        Verdict::StaleMetadata => "has not said for long what it can do".to_owned(),
        Verdict::DoesNotFit { misfits } => misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}
