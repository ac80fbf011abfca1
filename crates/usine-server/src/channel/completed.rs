//! Following completions: what ended since a time, then what ends.

use std::collections::{BTreeMap, HashSet};

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast::error::RecvError;
use usine_db::{WorkRequest, WorkRequestManager, WorkspaceManager};
use usine_model::event::EventKind;
use usine_model::work_request::Results;
use usine_protocol::channel::{Notice, ServerMessage};
use usine_protocol::time;

use super::worker::{close, send};
use super::{MAX_WORD, small};
use crate::auth::{Identity, Visitor};
use crate::problem::ApiResult;
use crate::state::AppState;

pub(super) async fn connect(
    State(state): State<AppState>,
    Query(query): Query<BTreeMap<String, String>>,
    visitor: ApiResult<Visitor>,
    upgrade: WebSocketUpgrade,
) -> Response {
    small(upgrade, MAX_WORD).on_upgrade(async move |mut socket| {
        match subscription(&state, &query, visitor).await {
            Ok(subscription) => {
                if let Err(error) = follow(&state, subscription, &mut socket).await {
                    tracing::debug!(%error, "a follower of completions is gone");
                }
            }
            Err(reason) => {
                // Whether a refused follower hears of it makes no difference here.
                let _ = send(&mut socket, &ServerMessage::Rejected { reason, reason_code: None }).await;
            }
        }
        close(socket).await;
    })
}

/// What somebody wants to hear of.
struct Subscription {
    workspaces: Vec<i64>,
    since: Option<DateTime<Utc>>,
}

/// Only what the user may see: without names, all visible workspaces.
async fn subscription(
    state: &AppState,
    query: &BTreeMap<String, String>,
    visitor: ApiResult<Visitor>,
) -> Result<Subscription, String> {
    let visitor = visitor
        .ok()
        .filter(|visitor| matches!(visitor.identity, Identity::User(_)))
        .ok_or("No token header, token not associated to a user or not enabled")?;
    let seen = WorkspaceManager(&state.database).displayable(&visitor.context, None).await;
    let seen = seen.map_err(|error| error.to_string())?;
    let visible: Vec<_> = seen.into_iter().map(|(workspace, _)| workspace).collect();
    let mut workspaces = Vec::new();
    for name in query.get("workspaces").map(String::as_str).unwrap_or_default().split(',').filter(|n| !n.is_empty()) {
        let named: Vec<_> = visible.iter().filter(|workspace| workspace.name == name).map(|w| w.id).collect();
        if named.is_empty() {
            return Err(format!("Workspace \"{name}\" not found"));
        }
        workspaces.extend(named);
    }
    if workspaces.is_empty() {
        workspaces = visible.iter().map(|workspace| workspace.id).collect();
    }
    let since = match query.get("completed_at_since") {
        None => None,
        // A "+" of the time zone that was not encoded arrives as a blank.
        Some(text) => Some(
            time::from_text(&text.replace(' ', "+"))
                .or_else(|_| time::from_text(text))
                .map_err(|error| format!("completed_at_since={text}: {error}"))?,
        ),
    };
    Ok(Subscription { workspaces, since })
}

async fn follow(state: &AppState, subscription: Subscription, socket: &mut WebSocket) -> Result<(), axum::Error> {
    // Listens before it reads: what ends in between is heard twice rather than never, and then sent once.
    let mut events = state.database.events();
    send(socket, &ServerMessage::Notice(Notice::Connected)).await?;
    let manager = WorkRequestManager(&state.database);
    let mut latest = subscription.since.or(Some(state.now()));
    let mut told = HashSet::new();
    if let Some(since) = subscription.since {
        let ended = manager.completed_since(since, &subscription.workspaces).await.map_err(axum::Error::new)?;
        for row in &ended {
            told.insert(row.id);
            latest = row.completed_at.max(latest);
            tell(socket, row).await?;
        }
    }
    loop {
        let missed = tokio::select! {
            () = state.shutdown.cancelled() => return Ok(()),
            message = socket.recv() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(_)) => continue,
            },
            event = events.recv() => match event {
                Ok(event) if *event.kind == EventKind::Completed => event.work_request_id.into_iter().collect(),
                Ok(_) => continue,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Lagged(_)) => match latest {
                    Some(since) => {
                        let ended = manager.completed_since(since, &subscription.workspaces).await;
                        ended.map_err(axum::Error::new)?.iter().map(|row| row.id).collect::<Vec<_>>()
                    }
                    None => continue,
                },
            },
        };
        for id in missed {
            let row = manager.get_or_none(id).await.map_err(axum::Error::new)?;
            let Some(row) = row.filter(|row| subscription.workspaces.contains(&row.workspace_id)) else { continue };
            let told_live = !matches!(*row.result, Results::None | Results::Skipped);
            if told_live && told.insert(row.id) {
                latest = row.completed_at.max(latest);
                tell(socket, &row).await?;
            }
        }
    }
}

async fn tell(socket: &mut WebSocket, row: &WorkRequest) -> Result<(), axum::Error> {
    let Some(completed_at) = row.completed_at else { return Ok(()) };
    let notice = Notice::WorkRequestCompleted { work_request_id: row.id, completed_at, result: *row.result };
    send(socket, &ServerMessage::Notice(notice)).await
}
