//! How many calls of the API the server answers, and how fast; beside it an HTTP server that does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use crate::client::{NOOP, WORK_REQUESTS};
use crate::crew::Crew;
use crate::http::Connection;
use crate::measure::{Sheet, percentile};
use crate::server::Server;
use crate::site::Site;
use crate::{Error, Ground, Measure, Place, Result, Target, bare_http, fill};

/// Milliseconds for 99 of 100 reads.
const TARGET: f64 = 5.0;

/// How many callers, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Api {
    /// Numbers of connections that call at the same time, one measurement each
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,16")]
    pub connections: Vec<usize>,
    /// Seconds for each call
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Work requests that are there
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    pub stored: usize,
}

impl Api {
    /// Measures.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let site = Site::new(ground, place).await?;
        let last = fill::queue(&site, self.stored).await?;
        let stored = site.count().await?;
        let server = site.serve().await?;
        let mut created = 0;
        let mut measures = Vec::new();
        for &connections in &self.connections {
            let mut sheet = Sheet::new("api", place.name(), connected(connections));
            let read = Some(Target::AtMost(TARGET));
            let one = Call::get(format!("{WORK_REQUESTS}{last}/"), &site);
            self.note(&mut sheet, &server, connections, &one, GET_ONE, read).await?;
            let list = Call::get(WORK_REQUESTS.to_owned(), &site);
            self.note(&mut sheet, &server, connections, &list, GET_LIST, read).await?;
            let create = Call {
                method: Method::POST,
                path: WORK_REQUESTS.to_owned(),
                token: Some(site.token.clone()),
                body: Bytes::from_static(NOOP),
            };
            created += self.note(&mut sheet, &server, connections, &create, POST, None).await?;
            measures.append(&mut sheet.measures);
        }
        let size = answer_size(&server, &Call::get(format!("{WORK_REQUESTS}{last}/"), &site)).await?;
        server.stop().await?;
        site.check(0, stored + created).await?;
        measures.extend(self.bare(&site, size).await?);
        site.remove().await?;
        Ok(measures)
    }

    /// The same with the server that does nothing.
    async fn bare(&self, site: &Site, size: usize) -> Result<Vec<Measure>> {
        let server = site.serve_bare_http(size).await?;
        let mut measures = Vec::new();
        for &connections in &self.connections {
            let mut sheet = Sheet::new("api", site.place.name(), connected(connections));
            let call = Call { method: Method::GET, path: bare_http::PATH.to_owned(), token: None, body: Bytes::new() };
            self.note(&mut sheet, &server, connections, &call, BARE_GET, None).await?;
            let call = Call { method: Method::POST, body: Bytes::from_static(NOOP), ..call };
            self.note(&mut sheet, &server, connections, &call, BARE_POST, None).await?;
            measures.append(&mut sheet.measures);
        }
        server.stop().await?;
        Ok(measures)
    }

    /// Calls for a while and notes how that went. Returns how many calls there were.
    async fn note(
        &self,
        sheet: &mut Sheet,
        server: &Server,
        connections: usize,
        call: &Call,
        names: [&'static str; 3],
        target: Option<Target>,
    ) -> Result<usize> {
        let hammered = hammer(server, connections, Duration::from_secs_f64(self.seconds), call).await?;
        let Hammered { mut times, elapsed, in_all } = hammered;
        sheet.note(names[0], times.len() as f64 / elapsed.as_secs_f64(), "/s");
        sheet.note(names[1], percentile(&mut times, 0.5), "ms");
        sheet.aim(names[2], percentile(&mut times, 0.99), "ms", target);
        Ok(in_all)
    }
}

const GET_ONE: [&str; 3] = ["GET of one work request", "GET of one work request, p50", "GET of one work request, p99"];
const GET_LIST: [&str; 3] =
    ["GET of a page of the list", "GET of a page of the list, p50", "GET of a page of the list, p99"];
const POST: [&str; 3] = ["POST of a work request", "POST of a work request, p50", "POST of a work request, p99"];
const BARE_GET: [&str; 3] =
    ["GET of the same size, bare HTTP", "GET of the same size, bare HTTP, p50", "GET of the same size, bare HTTP, p99"];
const BARE_POST: [&str; 3] = [
    "POST of the same size, bare HTTP",
    "POST of the same size, bare HTTP, p50",
    "POST of the same size, bare HTTP, p99",
];

fn connected(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// What is called.
#[derive(Clone)]
struct Call {
    method: Method,
    path: String,
    token: Option<HeaderValue>,
    body: Bytes,
}

impl Call {
    fn get(path: String, site: &Site) -> Self {
        Self { method: Method::GET, path, token: Some(site.token.clone()), body: Bytes::new() }
    }

    async fn by(&self, connection: &mut Connection) -> Result<Bytes> {
        let answer = connection.call(self.method.clone(), &self.path, self.token.as_ref(), self.body.clone()).await?;
        answer.expect(StatusCode::OK)
    }
}

/// What came of it.
struct Hammered {
    /// How long each call took.
    times: Vec<Duration>,
    elapsed: Duration,
    /// With those that did not count.
    in_all: usize,
}

/// Calls again and again on so many connections, each as soon as it has its answer.
async fn hammer(server: &Server, connections: usize, time: Duration, call: &Call) -> Result<Hammered> {
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut ready = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(server.address).await?;
        // The first one is not like the others.
        call.by(&mut connection).await?;
        ready.push(connection);
    }
    let mut crew = Crew::default();
    let begin = Instant::now();
    for mut connection in ready {
        let (call, times) = (call.clone(), Arc::clone(&times));
        crew.spawn(async move {
            let mut own = Vec::new();
            while begin.elapsed() < time {
                let sent = Instant::now();
                call.by(&mut connection).await?;
                own.push(sent.elapsed());
            }
            times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut own);
            Ok(())
        });
    }
    crew.finish().await?;
    let elapsed = begin.elapsed();
    let times = std::mem::take(&mut *times.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let in_all = times.len() + connections;
    if times.is_empty() {
        return Err(Error::Usage("that was too short a time for a single call".to_owned()));
    }
    Ok(Hammered { times, elapsed, in_all })
}

async fn answer_size(server: &Server, call: &Call) -> Result<usize> {
    Ok(call.by(&mut Connection::open(server.address).await?).await?.len())
}
