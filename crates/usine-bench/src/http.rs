//! The lean HTTP client: one connection, kept alive, one call at a time. The generator shares the machine with the server,
//! so that what it costs is missing there.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use usine_protocol::TOKEN_HEADER;

use crate::{Error, Result};

/// Characters of a refusal that are shown.
const SHOWN: usize = 600;

/// A connection to the server.
pub(crate) struct Connection {
    address: SocketAddr,
    host: HeaderValue,
    sender: SendRequest<Full<Bytes>>,
}

/// What came back.
pub(crate) struct Answer {
    call: String,
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let host = HeaderValue::from_str(&address.to_string()).map_err(|error| Error::connection("host", error))?;
        Ok(Self { address, host, sender: connect(address).await? })
    }

    /// Sends a request, and reads the answer whole.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<Answer> {
        let call = format!("{method} {path}");
        if self.sender.ready().await.is_err() {
            // The server may close a connection that is idle.
            self.sender = connect(self.address).await?;
        }
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if let Some(token) = token {
            request = request.header(TOKEN_HEADER, token);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| Error::connection(&call, error))?;
        let response = self.sender.send_request(request).await.map_err(|error| Error::connection(&call, error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| Error::connection(&call, error))?;
        Ok(Answer { call, status, body: body.to_bytes() })
    }
}

impl Answer {
    /// The body, if this is the status.
    pub fn expect(self, status: StatusCode) -> Result<Bytes> {
        if self.status == status {
            return Ok(self.body);
        }
        let body = String::from_utf8_lossy(&self.body).chars().take(SHOWN).collect();
        Err(Error::Refused { call: self.call, status: self.status, body })
    }

    /// The same, read as JSON.
    pub fn json<T: DeserializeOwned>(self, status: StatusCode) -> Result<T> {
        let call = self.call.clone();
        let body = self.expect(status)?;
        serde_json::from_slice(&body).map_err(|error| Error::connection(call, error))
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let call = format!("connect to {address}");
    let stream = TcpStream::connect(address).await.map_err(|error| Error::connection(&call, error))?;
    stream.set_nodelay(true).map_err(|error| Error::connection(&call, error))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| Error::connection(&call, error))?;
    // Whoever has the sender hears of its end.
    tokio::spawn(connection);
    Ok(sender)
}

/// A token as the value of its header.
pub(crate) fn token_header(key: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(key).map_err(|error| Error::connection("token", error))
}
