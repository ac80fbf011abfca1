//! `/-/status/workers/`: the workers, what each does and can do.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use usine_db::work_request::ListFilter;
use usine_db::{Token, WorkRequest, WorkRequestManager, Worker, WorkerManager, WorkspaceManager};
use usine_model::worker::WorkerType;

use super::frame::{Frame, Guest};
use super::place::missing;
use super::show::{Badge, When, WorkerState, yaml};
use super::work_request::rows::{Rows, label};
use crate::paths;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Rows of one page.
const PAGE: usize = 50;

/// Work requests on the page of a worker.
const SERVED: u64 = 20;

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/status/workers/", Access::Page, list).get("/-/status/workers/{name}/", Access::Page, show)
}

#[derive(Template)]
#[template(path = "worker/list.html")]
struct ListPage {
    frame: Frame,
    filter: Filter,
    count: usize,
    page: usize,
    pages: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
struct Filter {
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    order: String,
    #[serde(default)]
    page: String,
}

struct Row {
    name: String,
    worker_type: WorkerType,
    badge: Badge,
    /// What it runs, as far as it may be seen: address and name.
    runs: Vec<(String, String)>,
    /// What it runs besides.
    private: usize,
    concurrency: i32,
    architectures: String,
    seen: Option<When>,
}

impl Filter {
    fn states(&self) -> [&'static str; 5] {
        ["", "running", "idle", "disconnected", "disabled"]
    }

    /// Orders of the list: value and text.
    fn orders(&self) -> [(&'static str, &'static str); 4] {
        [("", "name"), ("type", "type"), ("seen", "last seen"), ("registered", "newest")]
    }

    /// The address of another page of the same list.
    fn query(&self, page: usize) -> String {
        let page = page.to_string();
        let pairs = [("name", &self.name), ("status", &self.status), ("order", &self.order), ("page", &page)];
        let set = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(set).finish()
    }
}

/// What a worker does, that runs so many.
fn state_of(worker: &Worker, token: Option<&Token>, running: usize) -> WorkerState {
    let server_side = *worker.worker_type == WorkerType::Celery;
    match () {
        () if !server_side && !token.is_some_and(|token| token.enabled) => WorkerState::Disabled,
        () if !worker.connected() => WorkerState::Disconnected,
        () if running > 0 => WorkerState::Busy,
        () => WorkerState::Idle,
    }
}

async fn list(State(state): State<AppState>, guest: Guest, Query(filter): Query<Filter>) -> ApiResult<Response> {
    let now = state.now();
    let live = WorkRequestManager(&state.database).live().all(state.database.reader()).await;
    let mut live_of: HashMap<i64, Vec<WorkRequest>> = HashMap::new();
    for row in live.map_err(usine_db::Error::from)? {
        if let Some(worker) = row.worker_id {
            live_of.entry(worker).or_default().push(row);
        }
    }
    let seen: HashMap<i64, (String, String)> = WorkspaceManager(&state.database)
        .displayable(&guest.context, None)
        .await?
        .into_iter()
        .map(|(workspace, scope)| (workspace.id, (scope.name, workspace.name)))
        .collect();
    let wanted = filter.name.to_lowercase();
    let mut workers: Vec<(Worker, Option<Token>)> = WorkerManager(&state.database).list().await?;
    workers.retain(|(worker, token)| {
        let running = live_of.get(&worker.id).map_or(0, Vec::len);
        worker.name.to_lowercase().contains(&wanted)
            && (filter.status.is_empty() || state_of(worker, token.as_ref(), running).to_string() == filter.status)
    });
    let last_seen = |token: &Option<Token>| token.as_ref().and_then(|token| token.last_seen_at);
    match filter.order.as_str() {
        "type" => workers.sort_by_key(|(worker, _)| (worker.worker_type.to_string(), worker.name.clone())),
        "seen" => workers.sort_by_key(|(_, token)| std::cmp::Reverse(last_seen(token))),
        "registered" => workers.reverse(),
        _ => workers.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name)),
    }
    let count = workers.len();
    let pages = count.div_ceil(PAGE).max(1);
    let page = filter.page.parse().unwrap_or(1).clamp(1, pages);
    let mut rows = Vec::new();
    for (worker, token) in workers.into_iter().skip((page - 1) * PAGE).take(PAGE) {
        let live = live_of.remove(&worker.id).unwrap_or_default();
        let shown = live.iter().filter_map(|row| {
            let (scope, workspace) = seen.get(&row.workspace_id)?;
            Some((paths::work_request(scope, workspace, row.id), format!("#{} {}", row.id, label(row))))
        });
        let runs: Vec<_> = shown.collect();
        rows.push(Row {
            badge: Badge::of_worker(state_of(&worker, token.as_ref(), live.len())),
            private: live.len() - runs.len(),
            runs,
            worker_type: *worker.worker_type,
            concurrency: worker.concurrency,
            architectures: architectures(&worker)?,
            seen: When::maybe(last_seen(&token), now),
            name: worker.name,
        });
    }
    let frame = guest.frame("Workers").live("/-/live/");
    guest.show(&ListPage { frame, filter, count, page, pages, rows })
}

/// The architectures that it builds for.
fn architectures(worker: &Worker) -> usine_db::Result<String> {
    let tags = worker.profile()?.provided;
    let all: Vec<&str> = tags.iter().filter_map(|tag| tag.strip_prefix("worker:build-arch:")).collect();
    Ok(all.join(", "))
}

#[derive(Template)]
#[template(path = "worker/one.html")]
struct OnePage {
    frame: Frame,
    worker: Worker,
    badge: Badge,
    registered: When,
    connected: Option<When>,
    seen: Option<When>,
    architectures: String,
    /// Only for users.
    metadata: Option<String>,
    served: Rows,
}

async fn show(State(state): State<AppState>, guest: Guest, Path(name): Path<String>) -> ApiResult<Response> {
    if name.contains('\0') {
        return Err(missing());
    }
    let worker = WorkerManager(&state.database).get_worker_or_none(&name).await?.ok_or_else(missing)?;
    let token = worker.token(&state.database).await?;
    let manager = WorkRequestManager(&state.database);
    let places = WorkspaceManager(&state.database).displayable(&guest.context, None).await?;
    let filter = ListFilter {
        workspace_ids: places.iter().map(|(workspace, _)| workspace.id).collect(),
        worker_id: Some(worker.id),
        ..ListFilter::default()
    };
    let rows = manager.list(&filter, SERVED).await?;
    let running = worker.running_work_requests().all(state.database.reader()).await.map_err(usine_db::Error::from)?;
    let now = state.now();
    let served = Rows::of(&state, "Work requests of this worker, newest first", rows).await?;
    let empty = "None that you may see.".to_owned();
    guest.show(&OnePage {
        frame: guest.frame(&worker.name).below("Workers", "/-/status/workers/").live("/-/live/"),
        badge: Badge::of_worker(state_of(&worker, token.as_ref(), running.len())),
        registered: When::new(worker.registered_at, now),
        connected: When::maybe(worker.connected_at, now),
        seen: When::maybe(token.and_then(|token| token.last_seen_at), now),
        architectures: architectures(&worker)?,
        metadata: match guest.user {
            Some(_) => Some(yaml(&worker.metadata()?)),
            None => None,
        },
        served: Rows { shows_workspace: true, empty, ..served },
        worker,
    })
}
