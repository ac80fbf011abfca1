//! Following the live log of one work request.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use tokio::time::{MissedTickBehavior, interval};
use usine_db::WorkRequestManager;
use usine_model::work_request::Statuses;
use usine_protocol::channel::LogMessage;

use super::worker::{close, send};
use super::{MAX_WORD, small};
use crate::auth::Visitor;
use crate::permissions::visible_work_request_anywhere;
use crate::problem::ApiResult;
use crate::state::AppState;

/// Looks this often whether the work request still runs when no log comes.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn connect(
    State(state): State<AppState>,
    Path(id): Path<String>,
    visitor: ApiResult<Visitor>,
    upgrade: WebSocketUpgrade,
) -> Response {
    small(upgrade, MAX_WORD).on_upgrade(async move |mut socket| {
        let row = match visitor {
            Ok(visitor) => visible_work_request_anywhere(&state, &visitor.context, &id).await.ok().flatten(),
            Err(_) => None,
        };
        let row = row.map(|(row, _)| row);
        let refusal = match row {
            None => rejected("Work request not found", "not_found"),
            Some(row) if *row.status == Statuses::Running => {
                if let Err(error) = follow(&state, row.id, &mut socket).await {
                    tracing::debug!(work_request = row.id, %error, "a follower of the log is gone");
                }
                return close(socket).await;
            }
            Some(_) => rejected("Work request is not running", "not_running"),
        };
        // Whether a refused follower hears of it makes no difference here.
        let _ = send(&mut socket, &refusal).await;
        close(socket).await;
    })
}

fn rejected(reason: &str, code: &str) -> LogMessage {
    LogMessage::ConnectionRejected { reason: reason.to_owned(), reason_code: code.to_owned() }
}

/// Sends the log from the beginning, and on until the work request ends.
async fn follow(state: &AppState, id: i64, socket: &mut WebSocket) -> Result<(), axum::Error> {
    let mut follower = state.live_logs.follow(id).await.map_err(axum::Error::new)?;
    send(socket, &LogMessage::Connected).await?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = state.database.events();
    let mut runs = true;
    loop {
        while let Some(line) = follower.next_line().await.map_err(axum::Error::new)? {
            socket.send(Message::Text(line.into())).await?;
        }
        // The end is looked for before the log is read for the last time: nothing that was written is missed.
        if !runs {
            return Ok(());
        }
        tokio::select! {
            () = state.shutdown.cancelled() => return Ok(()),
            () = follower.changed() => {}
            event = events.recv() => {
                if event.is_ok_and(|event| event.work_request_id == Some(id)) {
                    runs = is_running(state, id).await?;
                }
            }
            _ = look.tick() => runs = is_running(state, id).await?,
            message = socket.recv() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(_)) => {}
            },
        }
        if !runs {
            state.live_logs.settled(id).await;
        }
    }
}

async fn is_running(state: &AppState, id: i64) -> Result<bool, axum::Error> {
    let row = WorkRequestManager(&state.database).get_or_none(id).await.map_err(axum::Error::new)?;
    Ok(row.is_some_and(|row| *row.status == Statuses::Running))
}
