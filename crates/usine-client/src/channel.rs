//! WebSockets: the worker's channel, the followers of completions and of live logs.

use std::marker::PhantomData;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http::header::{HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use usine_protocol::TOKEN_HEADER;
use usine_protocol::channel::{LogMessage, ServerMessage};

use crate::client::retry_after;
use crate::{Client, Error, USER_AGENT};

/// How often we ping.
const PING: Duration = Duration::from_secs(60);

/// After a ping the server has this long to say anything.
const PONG: Duration = Duration::from_secs(30);

/// Largest message that is read, in bytes.
const MAX_MESSAGE: usize = 1024 * 1024;

/// A WebSocket on which the server sends `M`.
pub struct Channel<M> {
    url: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    ping: Interval,
    last_heard: Instant,
    messages: PhantomData<fn() -> M>,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Received<M> {
    /// A message.
    Message(M),
    /// Something that is no message of this protocol, and why; to be logged and otherwise ignored.
    Unknown(String),
    /// The server closed the channel.
    Closed,
}

impl Client {
    /// The notification channel of a worker; needs the worker's token.
    pub async fn worker_channel(&self) -> Result<Channel<ServerMessage>, Error> {
        self.channel("1.0/worker/connect/", &[]).await
    }

    /// Tells of work requests that end. `workspaces`: all if empty; `since`: first those that ended after that time.
    pub async fn on_completed(
        &self,
        workspaces: &[String],
        since: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Result<Channel<ServerMessage>, Error> {
        let mut query = Vec::new();
        if !workspaces.is_empty() {
            query.push(("workspaces", workspaces.join(",")));
        }
        query.extend(since.map(|since| ("completed_at_since", usine_protocol::time::to_text(&since))));
        self.channel("1.0/work-request/on-completed/", &query).await
    }

    /// The live log of a running work request, from its beginning.
    pub async fn follow_log(&self, work_request: i64) -> Result<Channel<LogMessage>, Error> {
        self.channel(&format!("1.0/work-request/{work_request}/logs/"), &[]).await
    }

    async fn channel<M>(&self, endpoint: &str, query: &[(&str, String)]) -> Result<Channel<M>, Error> {
        let mut address = self.api_url.as_ref().clone();
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        let path = format!("{}/ws/{endpoint}", address.path().trim_end_matches('/'));
        address.set_path(&path);
        let url = address.as_str().replacen("http", "ws", 1);

        let connect_error = |error: tungstenite::Error| from_tungstenite(&url, error);
        let mut request = url.as_str().into_client_request().map_err(connect_error)?;
        request.headers_mut().insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        if let Some(token) = &self.token {
            request.headers_mut().insert(TOKEN_HEADER, token.clone());
        }
        let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        // The handshake is an answer, too: both limits together.
        let limit = self.timeouts.connect + self.timeouts.read;
        let (socket, _) = timeout(limit, connect_async_with_config(request, Some(limits), true))
            .await
            .map_err(|_| Error::Timeout { url: url.clone() })?
            .map_err(connect_error)?;
        let now = Instant::now();
        let mut ping = interval_at(now + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Channel { url, socket, ping, last_heard: now, messages: PhantomData })
    }
}

impl<M: DeserializeOwned> Channel<M> {
    /// Waits for the next message, and keeps the connection alive meanwhile. May be dropped and called again.
    ///
    /// # Errors
    /// If the connection breaks, or nothing at all is heard for 90 s.
    pub async fn receive(&mut self) -> Result<Received<M>, Error> {
        loop {
            let silent_until = self.last_heard + PING + PONG;
            let frame = tokio::select! {
                frame = self.socket.next() => frame,
                _ = self.ping.tick() => {
                    let sent = self.socket.send(Message::Ping(Default::default())).await;
                    sent.map_err(|error| from_tungstenite(&self.url, error))?;
                    continue;
                }
                () = tokio::time::sleep_until(silent_until) => return Err(Error::Timeout { url: self.url.clone() }),
            };
            self.last_heard = Instant::now();
            match frame {
                None | Some(Ok(Message::Close(_))) => return Ok(Received::Closed),
                Some(Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed)) => {
                    return Ok(Received::Closed);
                }
                Some(Err(error)) => return Err(from_tungstenite(&self.url, error)),
                Some(Ok(Message::Text(text))) => {
                    return Ok(match serde_json::from_str(&text) {
                        Ok(message) => Received::Message(message),
                        Err(error) => {
                            Received::Unknown(format!("{error}: {}", text.chars().take(200).collect::<String>()))
                        }
                    });
                }
                Some(Ok(Message::Binary(_))) => return Ok(Received::Unknown("a binary frame".to_owned())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
        }
    }

    /// Sends one message.
    pub async fn send(&mut self, message: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(message).map_err(|error| Error::invalid_body(&self.url, error))?;
        let sent = timeout(PONG, self.socket.send(Message::text(text))).await;
        sent.map_err(|_| Error::Timeout { url: self.url.clone() })?.map_err(|error| from_tungstenite(&self.url, error))
    }

    /// Says good-bye; errors do not matter any more.
    pub async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }
}

fn from_tungstenite(url: &str, error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Http(response) => {
            let (status, url) = (response.status().as_u16(), url.to_owned());
            match status {
                404 => Error::NotFound { url, body: String::new() },
                _ => Error::UnexpectedStatus { status, url, retry_after: retry_after(response.headers()) },
            }
        }
        tungstenite::Error::Url(error) => Error::InvalidUrl { url: url.to_owned(), message: error.to_string() },
        other => Error::Connect { url: url.to_owned(), source: Box::new(other) },
    }
}
