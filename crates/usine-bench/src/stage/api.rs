//! How many calls of the API the server answers, and how fast; beside it an HTTP server that does nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::above_zero;
use crate::client::{NOOP, WORK_REQUESTS};
use crate::crew::{Crew, on_one_thread};
use crate::http::Connection;
use crate::measure::{Sheet, counted, percentile};
use crate::server::Server;
use crate::site::Site;
use crate::timetable::Timetable;
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
    #[arg(long, value_parser = above_zero, default_value_t = 4.0)]
    pub seconds: f64,
    /// Reads per second, on the highest of the numbers of connections, where they do not come as fast as they can
    #[arg(long, value_name = "NUMBER", value_parser = above_zero, default_value_t = 200.0)]
    pub rate: f64,
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
        let one = Call::get(GET_ONE, format!("{WORK_REQUESTS}{last}/"), &site);
        let list = Call::get(GET_LIST, WORK_REQUESTS.to_owned(), &site);
        let create = Call {
            names: POST,
            method: Method::POST,
            path: WORK_REQUESTS.to_owned(),
            token: Some(site.token.clone()),
            body: Bytes::from_static(NOOP),
        };
        for &connections in &self.connections {
            let mut sheet = Sheet::new("api", place.name(), counted(connections, "connection"));
            // Several that call as fast as they can wait for each other: that is how many calls there can be.
            let target = (connections == 1).then_some(Target::AtMost(TARGET));
            let pace = Pace::Fast;
            self.note(&mut sheet, &server, connections, pace, &one, target)?;
            self.note(&mut sheet, &server, connections, pace, &list, target)?;
            created += self.note(&mut sheet, &server, connections, pace, &create, None)?;
            measures.append(&mut sheet.measures);
        }
        let most = self.connections.iter().copied().max().unwrap_or(1);
        let case = format!("{}, {} reads/s", counted(most, "connection"), self.rate);
        let mut sheet = Sheet::new("api", place.name(), case);
        for call in [&one, &list] {
            let target = Some(Target::AtMost(TARGET));
            self.note(&mut sheet, &server, most, Pace::Rate(self.rate), call, target)?;
        }
        measures.append(&mut sheet.measures);
        let size = answer_size(&server, &one).await?;
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
            let mut sheet = Sheet::new("api", site.place.name(), counted(connections, "connection"));
            let call = Call {
                names: BARE_GET,
                method: Method::GET,
                path: bare_http::PATH.to_owned(),
                token: None,
                body: Bytes::new(),
            };
            self.note(&mut sheet, &server, connections, Pace::Fast, &call, None)?;
            let call = Call { names: BARE_POST, method: Method::POST, body: Bytes::from_static(NOOP), ..call };
            self.note(&mut sheet, &server, connections, Pace::Fast, &call, None)?;
            measures.append(&mut sheet.measures);
        }
        server.stop().await?;
        Ok(measures)
    }

    /// Calls for a while and notes how that went. Returns how many calls there were.
    fn note(
        &self,
        sheet: &mut Sheet,
        server: &Server,
        connections: usize,
        pace: Pace,
        call: &Call,
        target: Option<Target>,
    ) -> Result<usize> {
        let time = Duration::from_secs_f64(self.seconds);
        let hammered = on_one_thread(hammer(server, connections, time, pace, call))?;
        let Hammered { mut times, elapsed, in_all } = hammered;
        sheet.note(call.names[0], times.len() as f64 / elapsed.as_secs_f64(), "/s");
        sheet.note(call.names[1], percentile(&mut times, 0.5), "ms");
        sheet.aim(call.names[2], percentile(&mut times, 0.99), "ms", target);
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

/// When the next call is made.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// As soon as the last one is answered.
    Fast,
    /// So many per second in all, whatever the server does.
    Rate(f64),
}

/// What is called.
#[derive(Clone)]
struct Call {
    /// What the numbers are called: how many per second, and two percentiles.
    names: [&'static str; 3],
    method: Method,
    path: String,
    token: Option<HeaderValue>,
    body: Bytes,
}

impl Call {
    fn get(names: [&'static str; 3], path: String, site: &Site) -> Self {
        Self { names, method: Method::GET, path, token: Some(site.token.clone()), body: Bytes::new() }
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

/// Calls again and again on so many connections.
async fn hammer(server: &Server, connections: usize, time: Duration, pace: Pace, call: &Call) -> Result<Hammered> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let mut ready = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(server.address).await?;
        // The first one is not like the others.
        call.by(&mut connection).await?;
        ready.push(connection);
    }
    let mut crew = Crew::default();
    let begin = Instant::now();
    let timetable = match pace {
        Pace::Fast => None,
        Pace::Rate(rate) => Some(Arc::new(Timetable::new(rate, time.as_secs_f64()))),
    };
    for mut connection in ready {
        let (call, times, timetable) = (call.clone(), Arc::clone(&times), timetable.clone());
        crew.spawn(async move {
            let mut own = Vec::new();
            loop {
                let goes_on = match &timetable {
                    None => begin.elapsed() < time,
                    Some(timetable) => timetable.next().await.is_some(),
                };
                if !goes_on {
                    break;
                }
                let sent = Instant::now();
                call.by(&mut connection).await?;
                own.push(sent.elapsed());
            }
            times.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
            Ok(())
        });
    }
    crew.finish().await?;
    let elapsed = begin.elapsed();
    let times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    let in_all = times.len() + connections;
    if times.is_empty() {
        return Err(Error::Usage("that was too short a time for a single call".to_owned()));
    }
    Ok(Hammered { times, elapsed, in_all })
}

async fn answer_size(server: &Server, call: &Call) -> Result<usize> {
    Ok(call.by(&mut Connection::open(server.address).await?).await?.len())
}
