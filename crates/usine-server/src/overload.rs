//! What happens when more is asked of the server than it can do: it works on so many requests at once, lets so many wait, and
//! tells all others at once to come back later (503 with `Retry-After`). Nothing queues without a bound.
//!
//! A request waits here without costing more than its connection and a small body. Large bodies, in either direction, have places
//! of their own ([`Overload::transfers`]), so that slow transfers do not keep quick requests out; channels and live pages are
//! counted apart, too. How connections come in is in [`crate::connections`].

mod body;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use futures::StreamExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::body::Gathered;
use crate::config::Config;
use crate::problem::{ApiError, ApiResult, drain};
use crate::state::AppState;

/// A request waits for its turn no longer than this. Clients wait 30 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places for monitoring, which is wanted most when the server has its hands full.
const WATCHERS: usize = 2;

/// Longest time that somebody is asked to stay away, in seconds. The times differ, so that not all come back at once.
const AWAY: u64 = 5;

/// What has no place left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// Too many requests are worked on, and too many wait.
    Requests,
    /// Too many large bodies are on their way, in either direction.
    Transfers,
    /// Too many channels are open.
    Channels,
    /// Too many connections are open.
    Connections,
}

/// The places there are, and who was turned away.
pub struct Overload {
    requests: Lane,
    transfers: Lane,
    answers: Lane,
    watchers: Lane,
    channels: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    refused: [AtomicU64; 4],
}

/// Places, and a queue before them. What only few may do at once has one of its own, so that those who wait for it do not take up
/// all places of requests.
pub(crate) struct Lane {
    all: usize,
    places: Arc<Semaphore>,
    longest: usize,
    queue: Semaphore,
    patience: Duration,
}

impl Lane {
    /// So many places, and so many who may wait for one.
    pub(crate) fn new(places: usize, queue: usize) -> Self {
        Self {
            all: places,
            places: Arc::new(Semaphore::new(places)),
            longest: queue,
            queue: Semaphore::new(queue),
            patience: PATIENCE,
        }
    }

    /// A place, perhaps after some waiting; `None` if too many wait already, or it takes too long.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // Whoever waits comes first: there is no free place while somebody does.
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let _turn = self.queue.try_acquire().ok()?;
        timeout(self.patience, self.places.clone().acquire_owned()).await.ok()?.ok()
    }

    /// The same, or the answer that says so.
    pub(crate) async fn turn(&self) -> ApiResult<OwnedSemaphorePermit> {
        self.place().await.ok_or_else(|| ApiError::unavailable("Too many do this at once; try again in a few seconds."))
    }

    fn taken(&self) -> usize {
        self.all - self.places.available_permits()
    }

    fn waiting(&self) -> usize {
        self.longest - self.queue.available_permits()
    }
}

impl Overload {
    /// With the places that the configuration says.
    pub fn new(config: &Config) -> Self {
        let size = |number: u32| number as usize;
        Self {
            requests: Lane::new(size(config.max_requests), size(config.max_waiting)),
            transfers: Lane::new(size(config.max_transfers), size(config.max_waiting)),
            answers: Lane::new(size(config.max_transfers), size(config.max_waiting)),
            watchers: Lane::new(WATCHERS, WATCHERS * 8),
            channels: Arc::new(Semaphore::new(size(config.max_channels))),
            connections: Arc::new(Semaphore::new(size(config.max_connections))),
            refused: Default::default(),
        }
    }

    /// A place for a connection.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    /// How many were turned away since the start, for want of this.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed)
    }

    /// The answer to somebody for whom there is no place: at once, and without asking anybody anything.
    pub(crate) fn refuse(&self, refusal: Refusal, reads_pages: bool) -> Response {
        let count = self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        let mut response = if reads_pages {
            let page = "<!DOCTYPE html>\n<html lang=\"en\"><title>Busy</title>\n<h1>The server has its hands full</h1>\n\
                        <p>Reload this page in a few seconds.</p>\n";
            (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response()
        } else {
            ApiError::unavailable("The server has its hands full; try again later.").into_response()
        };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1 + count % AWAY));
        response
    }

    /// What monitoring wants to know.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let refused = Family::<Labels, Counter>::default();
        for refusal in Refusal::iter() {
            refused.get_or_create(&Labels { of: refusal.into() }).inc_by(self.refused(refusal));
        }
        registry.register(
            "http_refused",
            "Requests and connections answered 503 since the start, by what was full",
            refused,
        );
        let taken = Family::<Labels, Gauge>::default();
        let waiting = Family::<Labels, Gauge>::default();
        for (of, lane) in [("requests", &self.requests), ("transfers", &self.transfers), ("answers", &self.answers)] {
            taken.get_or_create(&Labels { of }).set(as_gauge(lane.taken()));
            waiting.get_or_create(&Labels { of }).set(as_gauge(lane.waiting()));
        }
        registry.register("http_in_progress", "Requests and large bodies in progress", taken);
        registry.register("http_waiting", "Requests that wait for their turn", waiting);
    }
}

/// Whether whoever asks reads pages.
pub(crate) fn reads_pages(head: &Parts) -> bool {
    let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html") && !head.uri.path().starts_with("/api/")
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    of: &'static str,
}

fn as_gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An answer with this among its extensions goes on for long, and is counted where it is made: live pages, clients that wait.
#[derive(Debug, Clone, Copy)]
pub struct CountedApart;

/// The connection on which a request came: what it occupies is free again when it ends, whatever became of it.
#[derive(Clone, Default)]
pub(crate) struct Occupied(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Occupied {
    /// Holds this place, instead of the one before.
    pub(crate) fn hold(&self, place: OwnedSemaphorePermit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// The connection is over. Requests on it may still be at work.
    pub(crate) fn leave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Lets a request in when there is a place for it.
pub(crate) async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = answer(&state.overload, request, next).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !response.headers().contains_key(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(AWAY));
    }
    response
}

async fn answer(overload: &Overload, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let reads_pages = reads_pages(&head);
    // Kept until the connection has become a channel.
    let channel = if head.headers.contains_key(header::UPGRADE) {
        match overload.channels.clone().try_acquire_owned() {
            Ok(turn) => Some(turn),
            Err(_) => return overload.refuse(Refusal::Channels, reads_pages),
        }
    } else {
        None
    };
    // A body that comes slowly has no place yet.
    let gathered = body::gather(body).await;
    let (body, lane, refusal) = match gathered {
        Gathered::Small(body) if head.uri.path() == super::api::metrics::PATH => {
            (body, &overload.watchers, Refusal::Requests)
        }
        Gathered::Small(body) => (body, &overload.requests, Refusal::Requests),
        Gathered::Large(body) => (body, &overload.transfers, Refusal::Transfers),
    };
    let Some(place) = lane.place().await else {
        if refusal == Refusal::Transfers && !head.headers.contains_key(header::EXPECT) {
            drain(&mut body.into_data_stream()).await;
        }
        return overload.refuse(refusal, reads_pages);
    };
    let (occupied, is_head) = (head.extensions.get::<Occupied>().cloned(), head.method == Method::HEAD);
    // What has changed something must be told; so must an old worker what it is to do, which asks with GET.
    let may_be_withheld = head.method == Method::GET && !head.uri.path().starts_with("/api/");
    let response = next.run(Request::from_parts(head, body)).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let (Some(occupied), Some(channel)) = (occupied, channel) {
            occupied.hold(channel);
        }
        return response;
    }
    let size = response.body().size_hint().exact();
    if is_head || size.is_some_and(|size| size <= body::SMALL) || response.extensions().get::<CountedApart>().is_some()
    {
        return response;
    }
    // The rest of the answer takes as long as whoever reads it likes, and a large one so much memory.
    drop(place);
    let lane = if size.is_some() { &overload.answers } else { &overload.transfers };
    match lane.place().await {
        Some(place) => held(response, place),
        None if size.is_some() && !may_be_withheld => response,
        None => overload.refuse(Refusal::Transfers, reads_pages),
    }
}

/// The answer, with the place that its body takes until it has been sent.
fn held(mut response: Response, place: OwnedSemaphorePermit) -> Response {
    if let Some(size) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |piece| {
            let _place = &place;
            piece
        }))
    })
}

#[cfg(test)]
mod tests;
