//! Simulated workers: what a real one says to the server, without anything that it does besides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;
use usine_model::tags::{build_arch, task_version};
use usine_model::token::TokenKey;
use usine_model::work_request::TaskType;
use usine_model::worker::WorkerType;
use usine_protocol::TOKEN_HEADER;
use usine_protocol::channel::{Notice, ServerMessage};
use usine_protocol::status::ServiceStatus;
use usine_protocol::worker::Register;

use crate::crew::Crew;
use crate::http::{Connection, token_header};
use crate::site::Site;
use crate::tally::{Report, Tally};
use crate::{Error, Result};

/// The architecture that they build on.
pub(crate) const ARCHITECTURE: &str = "amd64";

/// Bytes of each buffer of a channel: notices are short, and there are many workers.
const BUFFER: usize = 1024;

/// Workers that come at the same time.
const AT_ONCE: usize = 16;

/// How long the server may take to see that workers are gone.
const FAREWELL: Duration = Duration::from_secs(60);

/// What a worker sends about the result.
const COMPLETED: &[u8] = br#"{"result": "success", "output_data": {}}"#;

/// A worker that is registered, enabled and connected, and has said what it can do.
pub(crate) struct Worker {
    http: Connection,
    channel: WebSocketStream<TcpStream>,
    token: HeaderValue,
}

/// Of the answer to get-next-for-worker, what is needed here.
#[derive(Deserialize)]
struct Work {
    id: i64,
    token: String,
}

/// Brings so many workers to the server.
pub(crate) async fn enrol(site: &Site, address: SocketAddr, count: usize) -> Result<Vec<Worker>> {
    stream::iter(0..count).map(|number| Worker::enrol(site, address, number)).buffered(AT_ONCE).try_collect().await
}

/// Sends all workers away, and waits until the server knows that they are gone.
pub(crate) async fn dismiss(crew: Crew, address: SocketAddr) -> Result<()> {
    crew.dismiss().await?;
    let mut http = Connection::open(address).await?;
    let begin = Instant::now();
    loop {
        let answer = http.call(Method::GET, "/api/1.0/service-status/", None, Bytes::new()).await?;
        let status: ServiceStatus = answer.json(StatusCode::OK)?;
        let external = status.workers.get(&WorkerType::External.to_string());
        let external = external.ok_or_else(|| Error::Inconsistent("the status has no external workers".to_owned()))?;
        let left = external.connected;
        if left == 0 {
            return Ok(());
        }
        if begin.elapsed() > FAREWELL {
            return Err(Error::Inconsistent(format!("the server takes {left} workers for connected that are gone")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

impl Worker {
    async fn enrol(site: &Site, address: SocketAddr, number: usize) -> Result<Self> {
        let key = TokenKey::generate(site.ground.entropy.as_ref());
        let token = token_header(key.reveal())?;
        let mut http = Connection::open(address).await?;
        let register = Register {
            token: key.reveal().to_owned(),
            fqdn: format!("worker-{number}.example.org"),
            worker_type: WorkerType::External,
        };
        let body = json!(register).to_string().into();
        http.call(Method::POST, "/api/1.0/worker/register/", None, body).await?.expect(StatusCode::CREATED)?;

        site.enable_worker(&key).await?;
        let channel = connect(address, &token).await?;
        let mut worker = Self { http, channel, token };
        let mut connected = false;
        loop {
            match worker.notice().await? {
                Notice::Connected => connected = true,
                Notice::RequestDynamicMetadata if connected => break,
                other => return Err(Error::Inconsistent(format!("a new worker is told {other:?}"))),
            }
        }
        worker.report_metadata().await?;
        Ok(worker)
    }

    /// Does what it is given, until it is told to stop.
    pub async fn work(mut self, tally: Arc<Tally>, stop: CancellationToken) -> Result<()> {
        loop {
            let notice = tokio::select! {
                notice = self.notice() => notice?,
                () = stop.cancelled() => return Ok(()),
            };
            match notice {
                Notice::WorkRequestAvailable => self.take(Instant::now(), &tally).await?,
                Notice::RequestDynamicMetadata => self.report_metadata().await?,
                other => return Err(Error::Inconsistent(format!("a worker is told {other:?}"))),
            }
        }
    }

    /// Takes one work request, if there is one, and reports it.
    async fn take(&mut self, noticed: Instant, tally: &Tally) -> Result<()> {
        let path = "/api/1.0/work-request/get-next-for-worker/";
        let answer = self.http.call(Method::POST, path, Some(&self.token), Bytes::from_static(b"{}")).await?;
        if answer.status == StatusCode::NO_CONTENT {
            // A notice may come once more for what was taken already.
            return Ok(());
        }
        let work: Work = answer.json(StatusCode::OK)?;
        let path = format!("/api/1.0/work-request/{}/completed/", work.id);
        let key = token_header(&work.token)?;
        let answer = self.http.call(Method::PUT, &path, Some(&key), Bytes::from_static(COMPLETED)).await?;
        answer.expect(StatusCode::OK)?;
        tally.reported(Report { id: work.id, noticed, reported: Instant::now() });
        Ok(())
    }

    async fn report_metadata(&mut self) -> Result<()> {
        let body = metadata().to_string().into();
        let path = "/api/1.0/worker/dynamic-metadata/";
        let answer = self.http.call(Method::PUT, path, Some(&self.token), body).await?;
        answer.expect(StatusCode::NO_CONTENT).map(drop)
    }

    /// The next notice. May be dropped and called again.
    async fn notice(&mut self) -> Result<Notice> {
        let broken = |error: SocketError| Error::connection("the channel of a worker", error);
        loop {
            let message = self.channel.next().await;
            let message = message.ok_or_else(|| Error::connection("the channel of a worker", "closed"))?;
            let Message::Text(text) = message.map_err(broken)? else { continue };
            return match serde_json::from_str(&text) {
                Ok(ServerMessage::Notice(notice)) => Ok(notice),
                _ => Err(Error::connection("the channel of a worker", text)),
            };
        }
    }
}

async fn connect(address: SocketAddr, token: &HeaderValue) -> Result<WebSocketStream<TcpStream>> {
    let url = format!("ws://{address}/api/ws/1.0/worker/connect/");
    let failed = |error: SocketError| Error::connection(&url, error);
    let mut request = url.as_str().into_client_request().map_err(failed)?;
    request.headers_mut().insert(TOKEN_HEADER, token.clone());
    let stream = TcpStream::connect(address).await.map_err(|error| Error::connection(&url, error))?;
    let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0).max_write_buffer_size(BUFFER);
    let (channel, _) = client_async_with_config(request, stream, Some(config)).await.map_err(failed)?;
    Ok(channel)
}

/// What a worker on a usual machine says of itself.
fn metadata() -> Value {
    let mut provided = vec![
        build_arch(ARCHITECTURE),
        build_arch("i386"),
        "worker:cap:autopkgtest".to_owned(),
        "worker:cap:mmdebstrap".to_owned(),
        "worker:cap:sbuild".to_owned(),
        "worker:executor:unshare".to_owned(),
    ];
    let tasks = ["autopkgtest", "blhc", "debdiff", "lintian", "mmdebstrap", "noop", "piuparts", "sbuild"];
    provided.extend(tasks.iter().map(|task| task_version(TaskType::Worker, task, 1)));
    provided.push("worker:type:external".to_owned());
    json!({
        "system:cpu_count": 16,
        "system:total_physical_memory": 67_108_864_000_u64,
        "system:worker_type": "external",
        "system:worker_version": "0.16.2",
        "system:native_architecture": ARCHITECTURE,
        "system:architectures": [ARCHITECTURE, "i386"],
        "provided_tags": provided,
    })
}
