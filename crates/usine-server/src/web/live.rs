//! Live pages: a stream of server-sent events says that something has changed, never what. The page fetches itself again, and so
//! shows only what whoever looks may see.
//!
//! Events of the database come after their commits. One task collects them, finds their workspaces with one query, and tells all
//! streams: what many look at costs no more than what one does.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{Instant, sleep, timeout_at};
use usine_db::{WorkRequestManager, WorkspaceManager};
use usine_model::permission::WORKSPACE_CAN_DISPLAY;
use usine_model::work_request::Statuses;

use super::frame::Guest;
use super::place::missing;
use crate::overload::CountedApart;
use crate::permissions::visible_work_request_anywhere;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Changes within this time are told at once.
const TOGETHER: Duration = Duration::from_millis(250);

/// A stream ends after this time; the browser opens the next one, and is asked again who it is.
const LIFE: Duration = Duration::from_secs(600);

/// Most streams at once.
const STREAMS: usize = 1000;

/// Changes that a slow stream may be behind before it is told that it missed some.
const BACKLOG: usize = 64;

/// Why a work request waits changes with all others: looked at this often.
const LOOK: Duration = Duration::from_secs(5);

/// Who is told of changes.
pub struct Live {
    changes: broadcast::Sender<Arc<Changes>>,
    version: AtomicU64,
    streams: Arc<Semaphore>,
}

/// What has changed.
#[derive(Debug, Default)]
struct Changes {
    work_requests: HashSet<i64>,
    workspaces: HashSet<i64>,
    /// Something that is in no workspace: a worker came, or went.
    elsewhere: bool,
}

/// What a page shows.
enum Watched {
    Everything,
    Workspace(i64),
    WorkRequest { id: i64, waits: bool },
}

impl Default for Live {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(BACKLOG),
            version: AtomicU64::new(0),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }
}

impl Live {
    /// The numbers of this server's life are its own: a page that another server has made is told at once to look again.
    pub(crate) fn begin(&self, server: i64) {
        self.version.store(server.unsigned_abs() << 24, Ordering::Release);
    }

    /// Grows with each change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// Collects events and tells the streams, until the server ends.
pub(crate) async fn run(state: AppState) {
    let mut events = state.database.events();
    loop {
        let first = tokio::select! {
            () = state.shutdown.cancelled() => return,
            event = events.recv() => event,
        };
        let mut changes = Changes::default();
        let mut all = false;
        let mut next = Some(first);
        let end = Instant::now() + TOGETHER;
        while let Some(event) = next {
            match event {
                Ok(event) => match event.work_request_id {
                    Some(id) => changes.work_requests.extend([id]),
                    None => changes.elsewhere = true,
                },
                Err(RecvError::Lagged(_)) => all = true,
                Err(RecvError::Closed) => return,
            }
            next = timeout_at(end, events.recv()).await.ok();
        }
        state.live.version.fetch_add(1, Ordering::AcqRel);
        if state.live.changes.receiver_count() == 0 {
            continue;
        }
        let ids = Vec::from_iter(changes.work_requests.iter().copied());
        match WorkRequestManager(&state.database).workspaces_of(&ids).await {
            Ok(workspaces) if !all => changes.workspaces.extend(workspaces.into_values()),
            // Whoever must be told cannot be found: nobody is left out.
            _ => changes = Changes { elsewhere: true, ..Changes::default() },
        }
        // Nobody listening is fine.
        let _ = state.live.changes.send(Arc::new(changes));
    }
}

/// The routes.
pub(super) fn routes() -> Routes {
    Routes::new().get("/-/live/", Access::Page, everything).get("/-/live/workspace/{id}/", Access::Page, workspace).get(
        "/-/live/work-request/{id}/",
        Access::Page,
        work_request,
    )
}

#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    seen: u64,
}

async fn everything(State(state): State<AppState>, _: Guest, Query(seen): Query<Seen>) -> ApiResult<Response> {
    stream_of(state, Watched::Everything, seen.seen)
}

async fn workspace(
    State(state): State<AppState>,
    guest: Guest,
    Path(id): Path<String>,
    Query(seen): Query<Seen>,
) -> ApiResult<Response> {
    let id = id.parse().map_err(|_| missing())?;
    let found = WorkspaceManager(&state.database).get_or_none(id).await?;
    let seen_by = |(workspace, scope): &(usine_db::tenancy::Workspace, usine_db::tenancy::Scope)| {
        guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope))
    };
    found.filter(seen_by).ok_or_else(missing)?;
    stream_of(state, Watched::Workspace(id), seen.seen)
}

async fn work_request(
    State(state): State<AppState>,
    guest: Guest,
    Path(id): Path<String>,
    Query(seen): Query<Seen>,
) -> ApiResult<Response> {
    let found = visible_work_request_anywhere(&state, &guest.context, &id).await?;
    let (row, _) = found.ok_or_else(missing)?;
    let waits = *row.status == Statuses::Pending;
    stream_of(state, Watched::WorkRequest { id: row.id, waits }, seen.seen)
}

fn stream_of(state: AppState, watched: Watched, seen: u64) -> ApiResult<Response> {
    let turn = state.live.streams.clone().try_acquire_owned();
    let turn = turn.map_err(|_| ApiError::unavailable("Too many pages are live; reload this one to see changes."))?;
    let listener = state.live.changes.subscribe();
    // What has changed while the page was on its way.
    let missed = state.live.version() != seen;
    let end = Instant::now() + LIFE;
    let stream = stream::unfold((listener, watched, missed), move |(mut listener, mut watched, missed)| {
        let state = state.clone();
        // Held as long as the stream.
        let _turn = &turn;
        async move {
            if !missed {
                wait(&state, &mut listener, &mut watched, end).await?;
            }
            // Browsers drop events without data.
            let event = Event::default().event("changed").data("something");
            Some((Ok::<_, Infallible>(event), (listener, watched, false)))
        }
    });
    // Proxies must not collect events.
    let headers = [("x-accel-buffering", "no")];
    Ok((Extension(CountedApart), headers, Sse::new(stream).keep_alive(KeepAlive::default())).into_response())
}

/// Waits for a change of what is watched; `None` when the stream is to end.
async fn wait(
    state: &AppState,
    listener: &mut broadcast::Receiver<Arc<Changes>>,
    watched: &mut Watched,
    end: Instant,
) -> Option<()> {
    let mut any = false;
    let look = sleep(LOOK);
    tokio::pin!(look);
    loop {
        let changes = tokio::select! {
            () = state.shutdown.cancelled() => return None,
            changes = timeout_at(end, listener.recv()) => match changes.ok()? {
                Ok(changes) => changes,
                Err(RecvError::Lagged(_)) => return Some(()),
                Err(RecvError::Closed) => return None,
            },
            () = &mut look, if any => return Some(()),
        };
        let told = match watched {
            Watched::Everything => true,
            Watched::Workspace(id) => changes.workspaces.contains(id) || changes.work_requests.is_empty(),
            Watched::WorkRequest { id, waits } => {
                let own = changes.work_requests.contains(id);
                if own {
                    *waits = is_pending(state, *id).await;
                }
                any |= *waits;
                own || changes.work_requests.is_empty()
            }
        };
        if told {
            return Some(());
        }
    }
}

/// Whether a work request waits for a worker. If that cannot be told, it is looked at more often than needed.
async fn is_pending(state: &AppState, id: i64) -> bool {
    let row = WorkRequestManager(&state.database).get_or_none(id).await;
    row.map_or(true, |row| row.is_some_and(|row| *row.status == Statuses::Pending))
}
