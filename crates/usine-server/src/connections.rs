//! Connections: so many at once, none that says nothing, none that does not take its answers.
//!
//! axum has a serving loop of its own, which waits for ever: for the head of a request, for somebody who does not read, and with any
//! number of connections. This one does not.

use std::io::{self, Error, ErrorKind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::future::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::config::Config;
use crate::overload::{Occupied, Refusal, reads_pages};
use crate::state::AppState;

/// Connections have this long to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Longest head of a request, and what is kept at most of what comes faster than it is read, in bytes.
const BUFFER: usize = 64 << 10;

/// Somebody who takes nothing of an answer for this long is not there.
const STALLED: Duration = Duration::from_secs(120);

/// Connections beyond the last place that are told so. Further ones wait in the kernel.
const REFUSED: usize = 256;

/// How long these have.
const REFUSAL: Duration = Duration::from_secs(5);

/// Files besides connections: the database, the store, logs.
const OTHER_FILES: u64 = 1024;

/// Allows the process as many open files as connections need, if that may be had: many systems begin with 1,024.
pub(crate) fn allow_files(config: &Config) {
    let wanted = u64::from(config.max_connections) + u64::from(config.max_channels) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return };
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(current);
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(current), ..limit }) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    } else if current < wanted {
        tracing::warn!(current, wanted, "the limit on open files is lower than connections may need");
    }
}

/// Serves until the shutdown token is cancelled, and a little longer.
pub(crate) async fn serve<S>(state: &AppState, listener: TcpListener, service: S)
where
    S: tower::Service<Request, Response = Response, Error = std::convert::Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut connections = JoinSet::new();
    let mut refused = JoinSet::new();
    let header_timeout = Duration::from_secs(state.config.header_timeout.into());
    loop {
        let accepted = tokio::select! {
            () = state.shutdown.cancelled() => break,
            accepted = listener.accept(), if refused.len() < REFUSED => accepted,
            Some(_) = connections.join_next() => continue,
            Some(_) = refused.join_next() => continue,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                // Too many open files, most likely: others end meanwhile.
                tracing::error!(%error, "cannot accept a connection");
                tokio::select! {
                    () = state.shutdown.cancelled() => break,
                    () = sleep(Duration::from_secs(1)) => continue,
                }
            }
        };
        // What is said is said at once. It does not matter if that cannot be had.
        let _ = socket.set_nodelay(true);
        let occupied = Occupied::default();
        match state.overload.connection() {
            Some(place) => {
                occupied.hold(place);
                let socket = Guarded::new(socket, occupied.clone());
                let service = service.clone();
                let answer = move |mut request: Request| {
                    request.extensions_mut().insert(occupied.clone());
                    service.clone().oneshot(request)
                };
                connections.spawn(one(socket, header_timeout, state.shutdown.clone(), answer));
            }
            None => {
                let state = state.clone();
                let answer = move |request: Request| {
                    let (head, _) = request.into_parts();
                    let mut response = state.overload.refuse(Refusal::Connections, reads_pages(&head));
                    let close = axum::http::HeaderValue::from_static("close");
                    response.headers_mut().insert(axum::http::header::CONNECTION, close);
                    std::future::ready(Ok(response))
                };
                let socket = Guarded::new(socket, occupied);
                let talk = one(socket, REFUSAL, CancellationToken::new(), answer);
                refused.spawn(async move {
                    // Whether they hear it makes no difference here.
                    let _ = tokio::time::timeout(REFUSAL, talk).await;
                });
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Those that are still at it are cut off with the set.
    let _ = tokio::time::timeout(GRACE, all).await;
}

/// Whether the other side was gone already.
fn is_of_the_peer(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

/// Serves one connection until it ends.
async fn one<F, A>(socket: Guarded, header_timeout: Duration, shutdown: CancellationToken, answer: F)
where
    F: Fn(Request) -> A + Send + 'static,
    A: Future<Output = Result<Response, std::convert::Infallible>> + Send + 'static,
{
    let service = service_fn(move |request: axum::http::Request<Incoming>| answer(request.map(Body::new)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(BUFFER).max_header_size(BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service).with_upgrades());
    let mut asked = pin!(shutdown.cancelled().fuse());
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = &mut asked, if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A socket that breaks when the other side takes nothing for too long, and gives back the place of its connection at the end.
struct Guarded {
    socket: TcpStream,
    occupied: Occupied,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn new(socket: TcpStream, occupied: Occupied) -> Self {
        Self { socket, occupied, stalled: None }
    }

    /// The outcome of a write; waiting has an end.
    fn unless_stalled<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the other side takes nothing")))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.occupied.leave();
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.unless_stalled(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, pieces);
        self.unless_stalled(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
