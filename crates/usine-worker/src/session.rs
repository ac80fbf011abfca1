//! The notification channel: connect, listen, send the live log, connect again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use usine_client::channel::{Channel, Received};
use usine_protocol::channel::{Notice, ServerMessage, TOKEN_DISABLED};

use crate::daemon::Worker;

/// Keeps the channel open, for ever.
pub(crate) async fn keep_connected(worker: &Arc<Worker>) {
    let mut waits_to_be_enabled = false;
    loop {
        let mut wait = worker.ground.tempo.reconnect_wait(worker.ground.entropy.as_ref());
        match worker.client.worker_channel().await {
            Ok(channel) => {
                let end = listen(worker, channel).await;
                worker.accepted.store(false, Ordering::Relaxed);
                match end {
                    // Said once: it is tried every few seconds until an administrator enables the worker.
                    End::Disabled(reason) if !waits_to_be_enabled => {
                        waits_to_be_enabled = true;
                        tracing::warn!(reason, "the server does not take our token; waiting to be enabled");
                    }
                    End::Disabled(_) => {}
                    End::Lost(reason) => {
                        waits_to_be_enabled = false;
                        tracing::warn!(reason, "the connection to the server is lost; connecting again");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot connect; trying again");
                // A server with its hands full says when to come back.
                wait = wait.max(error.retry_after().unwrap_or_default().min(worker.ground.tempo.patience));
            }
        }
        tokio::time::sleep(wait).await;
    }
}

/// Why a session ended.
enum End {
    Disabled(String),
    Lost(String),
}

async fn listen(worker: &Arc<Worker>, mut channel: Channel<ServerMessage>) -> End {
    let mut connected = false;
    let mut metadata: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    loop {
        let received = tokio::select! {
            received = channel.receive() => received,
            message = worker.logs.next(), if connected => {
                match channel.send(&message).await {
                    Ok(()) => continue,
                    Err(error) => return End::Lost(error.to_string()),
                }
            }
            Some(()) = metadata.next() => continue,
        };
        match received {
            Ok(Received::Message(ServerMessage::Notice(notice))) => match notice {
                Notice::Connected => {
                    tracing::info!(server = %worker.client.api_url(), "connected");
                    connected = true;
                    worker.accepted.store(true, Ordering::Relaxed);
                    worker.online.notify_one();
                }
                // One report at a time answers any number of requests.
                Notice::RequestDynamicMetadata if metadata.is_empty() => {
                    metadata.push(Box::pin(report_metadata(worker)))
                }
                Notice::RequestDynamicMetadata => {}
                Notice::WorkRequestAvailable => worker.wake.notify_one(),
                Notice::WorkRequestAborted { work_request_id } => worker.abort(work_request_id),
                Notice::WorkRequestCompleted { .. } => {}
            },
            Ok(Received::Message(ServerMessage::Rejected { reason, reason_code })) => {
                if reason_code.as_deref() == Some(TOKEN_DISABLED) {
                    return End::Disabled(reason);
                }
                tracing::warn!(reason, "the server rejects the connection");
            }
            Ok(Received::Message(ServerMessage::Closed { reason, reason_code })) => {
                if reason_code == TOKEN_DISABLED {
                    return End::Disabled(reason);
                }
                tracing::warn!(reason, reason_code, "the server closes the connection");
            }
            Ok(Received::Unknown(what)) => tracing::warn!(what, "ignoring a message that is not understood"),
            Ok(Received::Closed) => return End::Lost("closed by the server".to_owned()),
            Err(error) => return End::Lost(error.to_string()),
        }
    }
}

/// Reports what this machine can do, until the server has it or refuses it.
async fn report_metadata(worker: &Arc<Worker>) {
    let runner = worker.ground.runner.clone();
    let Ok(metadata) = tokio::task::spawn_blocking(move || runner.capabilities()).await else {
        tracing::error!("finding out what this machine can do has failed");
        return;
    };
    let mut back_off = worker.ground.tempo.back_off();
    loop {
        match worker.client.put_dynamic_metadata(&metadata).await {
            Ok(()) => return,
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "cannot report what this machine can do, trying again");
                tokio::time::sleep(back_off.wait(error.retry_after())).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the server does not take what this machine can do");
                return;
            }
        }
    }
}
