//! The least that an HTTP server on the same stack can do: answer with the same bytes each time. What the real one answers
//! per second is compared with it.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// Its one path.
pub(crate) const PATH: &str = "/";

/// Answers GET and POST with a JSON text of this size, until it is told to stop. `ready` hears where it listens.
///
/// # Errors
/// If it cannot listen.
pub async fn serve(size: usize, stop: CancellationToken, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let body = Bytes::from(format!("\"{}\"", "x".repeat(size.saturating_sub(2))));
    let answer = move || {
        let body = body.clone();
        async move { json(body) }
    };
    let post = {
        let answer = answer.clone();
        // The body is read, as the real one does.
        move |_: Bytes| answer()
    };
    let router = Router::new().route(PATH, get(answer).post(post));
    let what = "cannot listen";
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::io(what))?;
    ready(listener.local_addr().map_err(Error::io(what))?);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    serving.await.map_err(Error::io("cannot serve"))
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
