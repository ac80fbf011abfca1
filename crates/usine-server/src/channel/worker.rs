//! The channel of one worker: notices to it, live logs from it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::request::Parts;
use axum::response::Response;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use usine_db::{Token, TokenManager, WorkRequestManager, Worker, WorkerManager};
use usine_model::token::TokenHash;
use usine_model::work_request::Statuses;
use usine_model::worker::WorkerType;
use usine_protocol::channel::{LogMessage, Notice, ServerMessage, WorkerMessage};

use super::{News, small};
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
    small(upgrade, MAX_MESSAGE).on_upgrade(async move |mut socket| {
        match state.hub.in_turn(|| Session::admit(&state, key.as_deref())).await {
            Ok(session) => serve(state, session, socket).await,
            Err(refusal) => {
                // Whether a refused worker hears of it makes no difference here.
                let _ = send(&mut socket, &refusal).await;
                close(socket).await;
            }
        }
    })
}

/// One connection of a worker, apart from its socket: its place in the [`Hub`](super::Hub), and its mark in the database.
#[derive(Debug)]
pub struct Session {
    worker: Worker,
    token: Arc<Token>,
    number: u64,
    news: mpsc::Receiver<News>,
    heard: DateTime<Utc>,
}

impl Session {
    /// The session of the worker whose key this is, if it may connect; else what it is told. From now on notices for it
    /// are kept.
    pub async fn admit(state: &AppState, key: Option<&str>) -> Result<Self, ServerMessage> {
        let (worker, token) = match by_key(state, key).await.map(|(identity, _)| identity) {
            Ok(Identity::Worker(worker, token))
                if matches!(*worker.worker_type, WorkerType::External | WorkerType::Signing) =>
            {
                ((*worker).clone(), token)
            }
            Ok(Identity::Worker(..)) => {
                return Err(ServerMessage::Rejected {
                    reason: "Unexpected worker type, only EXTERNAL and SIGNING supported".to_owned(),
                    reason_code: None,
                });
            }
            // The text is about tokens that are no worker's, too.
            Ok(_) | Err(ApiError::Text(..)) => return Err(ServerMessage::rejected_worker()),
            Err(error) => {
                tracing::error!(?error, "cannot look a worker up");
                return Err(ServerMessage::Rejected { reason: "Service unavailable".to_owned(), reason_code: None });
            }
        };
        // Joins before it says so: whatever is assigned from now on is queued behind the greeting.
        let (number, news) = state.hub.join(worker.id);
        Ok(Self { worker, token, number, news, heard: state.now() })
    }

    /// What the worker is told first; nothing more than the last if that ends the session.
    pub async fn greet(&self, state: &AppState) -> usine_db::Result<Result<[ServerMessage; 2], ServerMessage>> {
        let tokens = TokenManager(&state.database);
        // What was disabled before it had joined is seen here; what is disabled later, the hub tells.
        if !tokens.get(self.token.id).await?.enabled {
            return Ok(Err(self.disabled()));
        }
        tokens.seen(&self.token, true, state.now()).await?;
        Ok(Ok([Notice::Connected, Notice::RequestDynamicMetadata].map(ServerMessage::Notice)))
    }

    /// Notes that the worker is there; what it is told if it has work already.
    pub async fn begin(&mut self, state: &AppState) -> usine_db::Result<Option<ServerMessage>> {
        self.worker.mark_connected(&state.database, state.now()).await?;
        tracing::info!(worker = self.worker.name, "connected");
        let busy = self.worker.is_busy(&state.database).await?;
        Ok(busy.then_some(ServerMessage::Notice(Notice::WorkRequestAvailable)))
    }

    /// What waits for the worker to be told, if there is something.
    pub fn waiting_notice(&mut self) -> Option<ServerMessage> {
        loop {
            match self.news.try_recv().ok()? {
                News::Notice(notice) => return Some(ServerMessage::Notice(notice)),
                News::Disabled => return Some(self.disabled()),
                News::Changed(_) => {}
            }
        }
    }

    /// The worker has given a sign of life.
    pub fn hear(&mut self, now: DateTime<Utc>) {
        self.heard = now;
    }

    fn disabled(&self) -> ServerMessage {
        ServerMessage::token_disabled(&TokenHash(self.token.hash.clone()))
    }

    /// The connection is gone: its place in the hub and, if it was the worker's last, its mark in the database.
    pub async fn end(self, state: &AppState) {
        let Self { mut worker, number, heard, .. } = self;
        // The lease runs from the last sign of life, not from when its absence was noticed.
        // When the server stops, its next start notes it, for all.
        if !state.hub.leave(worker.id, number, heard) || state.shutdown.is_cancelled() {
            return;
        }
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

async fn serve(state: AppState, mut session: Session, mut socket: WebSocket) {
    let outcome = async {
        match state.hub.in_turn(|| session.greet(&state)).await? {
            Ok(greeting) => {
                for message in greeting {
                    send(&mut socket, &message).await?;
                }
            }
            Err(refusal) => {
                send(&mut socket, &refusal).await?;
                return Ok(());
            }
        }
        if let Some(message) = state.hub.in_turn(|| session.begin(&state)).await? {
            send(&mut socket, &message).await?;
        }
        converse(&state, &mut session, &mut socket).await
    }
    .await;
    let worker = session.worker.name.clone();
    match outcome {
        Ok(()) => tracing::info!(worker, "disconnected"),
        Err(ChannelError::Socket(error)) => tracing::info!(worker, %error, "connection lost"),
        Err(ChannelError::Database(error)) => tracing::error!(worker, %error, "connection given up"),
    }
    tokio::join!(close(socket), state.hub.in_turn(|| session.end(&state)));
}

#[derive(Debug, thiserror::Error)]
enum ChannelError {
    #[error(transparent)]
    Socket(#[from] axum::Error),
    #[error(transparent)]
    Database(#[from] usine_db::Error),
}

async fn converse(state: &AppState, session: &mut Session, socket: &mut WebSocket) -> Result<(), ChannelError> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut metadata = interval_at(Instant::now() + METADATA, METADATA);
    let mut last_sign = Instant::now();
    let mut writes_logs_of = HashSet::new();
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return Ok(()),
            news = session.news.recv() => match news {
                Some(News::Notice(notice)) => send(socket, &ServerMessage::Notice(notice)).await?,
                // What happens to a work request may end its log: the next frame is looked at anew.
                Some(News::Changed(work_request)) => {
                    writes_logs_of.retain(|id| work_request.is_some_and(|changed| changed != *id));
                }
                Some(News::Disabled) => {
                    send(socket, &session.disabled()).await?;
                    return Ok(());
                }
                // The hub has given this connection up: the worker begins anew, and hears what it has missed.
                None => return Ok(()),
            },
            _ = metadata.tick() => send(socket, &ServerMessage::Notice(Notice::RequestDynamicMetadata)).await?,
            _ = ping.tick() => {
                if last_sign.elapsed() > SILENCE {
                    tracing::warn!(worker = session.worker.name, "no answer to pings");
                    return Ok(());
                }
                socket.send(Message::Ping(Default::default())).await?;
            }
            message = socket.recv() => {
                last_sign = Instant::now();
                session.hear(state.now());
                let worker = &session.worker;
                match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(()),
                    // Boxed: a thousand of these tasks mostly wait.
                    Some(Ok(Message::Text(text))) => {
                        Box::pin(take_log(state, worker, &mut writes_logs_of, &text)).await?;
                    }
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
