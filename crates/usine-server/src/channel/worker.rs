//! The channel of one worker: notices to it, live logs from it.

use std::collections::HashSet;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::request::Parts;
use axum::response::Response;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use usine_db::entity::event;
use usine_db::{Token, TokenManager, WorkRequestManager, Worker, WorkerManager};
use usine_model::event::EventKind;
use usine_model::token::TokenHash;
use usine_model::work_request::Statuses;
use usine_model::worker::WorkerType;
use usine_protocol::channel::{LogMessage, Notice, ServerMessage, WorkerMessage};

use crate::auth::{Identity, by_key, presented_key};
use crate::problem::ApiError;
use crate::state::AppState;

/// The server asks whether the worker is there this often.
const PING: Duration = Duration::from_secs(20);

/// A worker that says nothing for this long, not even to a ping, is not there. Debian's worker 0.11.3 hears nothing for 60
/// seconds when it is told of work while it has some, as it is when it comes back to a server that was away.
const SILENCE: Duration = Duration::from_secs(90);

/// Metadata are asked for anew this often.
const METADATA: Duration = Duration::from_secs(3600);

/// Longest message taken, in bytes.
const MAX_MESSAGE: usize = 16 << 20;

/// Completes the upgrade in every case, so that the worker is told in words when it is not accepted.
pub(super) async fn connect(State(state): State<AppState>, upgrade: WebSocketUpgrade, parts: Parts) -> Response {
    let key = presented_key(&parts).map(str::to_owned);
    upgrade.max_message_size(MAX_MESSAGE).on_upgrade(async move |mut socket| {
        // Listens before it looks: a token that is disabled from now on is noticed.
        let events = state.database.events();
        let identity = by_key(&state, key.as_deref()).await.map(|(identity, _)| identity);
        let refusal = match identity {
            Ok(Identity::Worker(worker, token))
                if matches!(*worker.worker_type, WorkerType::External | WorkerType::Signing) =>
            {
                return serve(state, *worker, *token, socket, events).await;
            }
            Ok(Identity::Worker(..)) => ServerMessage::Rejected {
                reason: "Unexpected worker type, only EXTERNAL and SIGNING supported".to_owned(),
                reason_code: None,
            },
            // The text is about tokens that are no worker's, too.
            Ok(_) | Err(ApiError::Text(..)) => ServerMessage::rejected_worker(),
            Err(error) => {
                tracing::error!(?error, "cannot look a worker up");
                ServerMessage::Rejected { reason: "Service unavailable".to_owned(), reason_code: None }
            }
        };
        // Whether a refused worker hears of it makes no difference here.
        let _ = send(&mut socket, &refusal).await;
        close(socket).await;
    })
}

async fn serve(
    state: AppState,
    mut worker: Worker,
    token: Token,
    mut socket: WebSocket,
    events: broadcast::Receiver<event::Model>,
) {
    // Joins before it says so: whatever is assigned from now on is queued behind the greeting.
    let (number, receiver) = state.hub.join(worker.id);
    let mut heard = state.now();
    let outcome = async {
        TokenManager(&state.database).seen(&token, true, state.now()).await?;
        send(&mut socket, &ServerMessage::Notice(Notice::Connected)).await?;
        send(&mut socket, &ServerMessage::Notice(Notice::RequestDynamicMetadata)).await?;
        worker.mark_connected(&state.database, state.now()).await?;
        tracing::info!(worker = worker.name, "connected");
        if worker.is_busy(&state.database).await? {
            send(&mut socket, &ServerMessage::Notice(Notice::WorkRequestAvailable)).await?;
        }
        converse(&state, &worker, &token, &mut socket, receiver, events, &mut heard).await
    }
    .await;
    // The lease runs from the last sign of life, not from when its absence was noticed.
    let last = state.hub.leave(worker.id, number, heard);
    match outcome {
        Ok(()) => tracing::info!(worker = worker.name, "disconnected"),
        Err(ChannelError::Socket(error)) => tracing::info!(worker = worker.name, %error, "connection lost"),
        Err(ChannelError::Database(error)) => tracing::error!(worker = worker.name, %error, "connection given up"),
    }
    close(socket).await;
    if last {
        let gone = async {
            // As it is now: a newer connection may have ended before this one.
            worker = WorkerManager(&state.database).get(worker.id).await?;
            worker.mark_disconnected(&state.database, heard).await
        };
        if let Err(error) = gone.await {
            tracing::error!(worker = worker.name, %error, "cannot note that the worker is gone");
        }
        // The worker may have come back between the two steps above.
        if state.hub.is_connected(worker.id)
            && let Err(error) = worker.mark_connected(&state.database, state.now()).await
        {
            tracing::error!(worker = worker.name, %error, "cannot note that the worker is back");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ChannelError {
    #[error(transparent)]
    Socket(#[from] axum::Error),
    #[error(transparent)]
    Database(#[from] usine_db::Error),
}

async fn converse(
    state: &AppState,
    worker: &Worker,
    token: &Token,
    socket: &mut WebSocket,
    mut notices: tokio::sync::mpsc::Receiver<ServerMessage>,
    mut events: broadcast::Receiver<event::Model>,
    heard: &mut DateTime<Utc>,
) -> Result<(), ChannelError> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut metadata = interval_at(Instant::now() + METADATA, METADATA);
    let mut last_sign = Instant::now();
    let mut writes_logs_of = HashSet::new();
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return Ok(()),
            notice = notices.recv() => match notice {
                Some(notice) => {
                    send(socket, &notice).await?;
                }
                None => return Ok(()),
            },
            event = events.recv() => {
                let disabled = match event {
                    Ok(event) => {
                        // What happens to a work request may end its log: the next frame is looked at anew.
                        writes_logs_of.retain(|id| event.work_request_id != Some(*id));
                        *event.kind == EventKind::WorkerDisabled && event.worker_id == Some(worker.id)
                    }
                    // What was missed may have been just that.
                    Err(_) => !TokenManager(&state.database).get(token.id).await?.enabled,
                };
                if disabled {
                    send(socket, &ServerMessage::token_disabled(&TokenHash(token.hash.clone()))).await?;
                    return Ok(());
                }
            }
            _ = metadata.tick() => send(socket, &ServerMessage::Notice(Notice::RequestDynamicMetadata)).await?,
            _ = ping.tick() => {
                if last_sign.elapsed() > SILENCE {
                    tracing::warn!(worker = worker.name, "no answer to pings");
                    return Ok(());
                }
                socket.send(Message::Ping(Default::default())).await?;
            }
            message = socket.recv() => {
                last_sign = Instant::now();
                *heard = state.now();
                match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(()),
                    Some(Ok(Message::Text(text))) => take_log(state, worker, &mut writes_logs_of, &text).await?,
                    Some(Ok(Message::Binary(_))) => tracing::warn!(worker = worker.name, "binary message ignored"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Err(error)) => return Err(error.into()),
                }
            }
        }
    }
}

/// A frame of live log. Anything else is ignored, and so is the log of somebody else's work request.
async fn take_log(
    state: &AppState,
    worker: &Worker,
    allowed: &mut HashSet<i64>,
    text: &str,
) -> Result<(), ChannelError> {
    let (id, message) = match serde_json::from_str(text) {
        Ok(WorkerMessage::LogData { work_request_id, stream, data, timestamp }) if !data.is_empty() => {
            (work_request_id, LogMessage::LogData { data, stream, timestamp })
        }
        Ok(WorkerMessage::LogDataEnd { work_request_id, exit_code, timestamp }) => {
            (work_request_id, LogMessage::LogDataEnd { exit_code, timestamp })
        }
        Ok(WorkerMessage::LogData { .. }) => return Ok(()),
        Err(error) => {
            tracing::warn!(worker = worker.name, %error, "message ignored");
            return Ok(());
        }
    };
    if !allowed.contains(&id) {
        let row = WorkRequestManager(&state.database).get_or_none(id).await?;
        let theirs = row.is_some_and(|row| row.worker_id == Some(worker.id) && *row.status == Statuses::Running);
        if !theirs {
            tracing::warn!(worker = worker.name, work_request = id, "log of a work request that is not the worker's");
            return Ok(());
        }
        // One at a time: what came before is over.
        allowed.clear();
        allowed.insert(id);
    }
    if let Err(error) = state.live_logs.append(id, &message).await {
        tracing::error!(work_request = id, %error, "cannot write the live log");
    }
    Ok(())
}

pub(super) async fn send<T: serde::Serialize>(socket: &mut WebSocket, message: &T) -> Result<(), axum::Error> {
    let text = serde_json::to_string(message).map_err(axum::Error::new)?;
    socket.send(Message::Text(text.into())).await
}

/// Says good-bye; whether the other side still listens makes no difference.
pub(super) async fn close(mut socket: WebSocket) {
    let frame = CloseFrame { code: close_code::NORMAL, reason: Default::default() };
    let _ = socket.send(Message::Close(Some(frame))).await;
}
