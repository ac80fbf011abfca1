//! The client against a small server that misbehaves on purpose.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use usine_client::channel::Received;
use usine_client::{Client, Error, FileFacts, NextWork, Options, Pace, Timeouts, WorkRequestFilter};
use usine_protocol::artifact::{CreateRelation, Relation};
use usine_protocol::channel::{LogMessage, Notice, ServerMessage};
use usine_protocol::content_range::{ContentRange, Slice, received};
use usine_protocol::problem::{self, Problem};
use usine_protocol::work_request::Completed;

/// Serves a router on a free port; the address is `api-url`.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/api")
}

fn options(api_url: &str) -> Options {
    let pace = Pace {
        wait: Duration::from_millis(1),
        transfer_wait: Duration::from_millis(1),
        chunk: 1000,
        ..Pace::default()
    };
    Options { token: Some("secret".into()), scope: Some("debusine".into()), pace, ..Options::new(api_url) }
}

fn client(api_url: &str) -> Client {
    Client::new(options(api_url)).unwrap()
}

fn problem(status: u16, problem: Problem) -> Response {
    let headers = [(header::CONTENT_TYPE, problem::CONTENT_TYPE)];
    (StatusCode::from_u16(status).unwrap(), headers, serde_json::to_vec(&problem).unwrap()).into_response()
}

fn work_request(id: i64) -> Value {
    json!({"id": id, "created_at": "2026-03-01T10:20:30Z", "status": "pending", "result": "", "task_type": "Worker",
           "task_name": "noop", "task_data": {}, "priority_base": 0, "priority_adjustment": 0, "artifacts": [], "workspace": "System"})
}

#[tokio::test]
async fn answers_are_judged_in_the_order_of_the_protocol() {
    let router = Router::new()
        .route("/api/1.0/work-request/1/", get(async || problem(200, Problem::new("No").detail("even with 200"))))
        .route("/api/1.0/work-request/2/", get(async || (StatusCode::NOT_FOUND, Html("<html>"))))
        .route("/api/1.0/work-request/3/", get(async || (StatusCode::FORBIDDEN, "work request is not running")))
        .route("/api/1.0/work-request/4/", get(async || StatusCode::IM_A_TEAPOT))
        .route("/api/1.0/work-request/5/", get(async || Json(json!({"id": 5}))))
        .route("/api/1.0/work-request/6/", get(async || Json(work_request(6))))
        .route("/api/1.0/work-request/7/", get(async || (StatusCode::NOT_FOUND, "Scope \"x\" not found")));
    let api_url = serve(router).await;
    let client = client(&api_url);
    assert!(
        matches!(client.work_request(1).await, Err(Error::Problem { status: 200, problem, .. }) if problem.title == "No")
    );
    let error = client.work_request(2).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Not found ({api_url}/1.0/work-request/2/)"));
    let error = client.work_request(7).await.unwrap_err();
    assert!(error.to_string().ends_with("/7/) (server: Scope \"x\" not found)"), "{error}");
    let error = client.work_request(3).await.unwrap_err();
    assert!(error.is_refusal() && !error.is_transient());
    assert!(
        error.to_string().ends_with("(server: work request is not running)") && !error.to_string().contains("secret")
    );
    let error = client.work_request(4).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Server returned unexpected status code: 418 ({api_url}/1.0/work-request/4/)")
    );
    assert!(
        client
            .work_request(5)
            .await
            .unwrap_err()
            .to_string()
            .contains("did not return valid object. Error: missing field")
    );
    assert_eq!(client.work_request(6).await.unwrap().id, 6);
}

#[tokio::test]
async fn a_closed_port_and_a_silent_server_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_url = format!("http://{}/api", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&api_url).whoami().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_transient(), "{error}");
    assert!(
        error.to_string().starts_with("Error connecting to debusine: Cannot connect to http://127.0.0.1"),
        "{error}"
    );

    let api_url =
        serve(Router::new().route("/api/1.0/whoami/", get(async || std::future::pending::<()>().await))).await;
    let timeouts = Timeouts { read: Duration::from_millis(20), ..Timeouts::default() };
    let error = Client::new(Options { timeouts, ..options(&api_url) }).unwrap().whoami().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn calls_are_repeated_only_when_that_is_safe() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let unstable = async move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::BAD_GATEWAY.into_response(),
        1 => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")]).into_response(),
        _ => Json(work_request(7)).into_response(),
    };
    let created = Arc::new(AtomicUsize::new(0));
    let counted = created.clone();
    let router = Router::new().route("/api/1.0/work-request/7/", get(unstable)).route(
        "/api/1.0/work-request/",
        post(async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            StatusCode::BAD_GATEWAY
        }),
    );
    let client = client(&serve(router).await);
    assert_eq!(client.work_request(7).await.unwrap().id, 7);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!(client.create_work_request(&Default::default()).await.unwrap_err().status(), Some(502));
    assert_eq!(created.load(Ordering::SeqCst), 1, "a POST that may have worked is not sent twice");
}

/// How long to stay away is told of calls and of channels; what nobody means is cut.
#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let busy =
        |seconds: &'static str| any(async move || (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds)]));
    let router = Router::new()
        .route("/api/1.0/artifact/1/", busy("0"))
        .route("/api/ws/1.0/worker/connect/", busy("7"))
        .route("/api/ws/1.0/work-request/1/logs/", busy("99999999999"))
        .route("/api/ws/1.0/work-request/2/logs/", busy("soon"));
    let client = client(&serve(router).await);
    let asked = |error: Error| {
        assert!(error.is_transient() && error.status() == Some(503), "{error}");
        error.retry_after().map(|time| time.as_secs())
    };
    assert_eq!(asked(client.artifact(1).await.unwrap_err()), Some(0));
    assert_eq!(asked(client.worker_channel().await.map(|_| ()).unwrap_err()), Some(7));
    assert_eq!(asked(client.follow_log(1).await.map(|_| ()).unwrap_err()), Some(3600));
    assert_eq!(asked(client.follow_log(2).await.map(|_| ()).unwrap_err()), None);
}

#[tokio::test]
async fn lists_are_walked_to_the_limit() {
    let page = async |Query(query): Query<HashMap<String, String>>, headers: HeaderMap| {
        let cursor: i64 = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        assert_eq!(headers["token"], "secret");
        let host = headers["host"].to_str().unwrap();
        let next = format!("http://{host}/api/1.0/work-request/?cursor={}", cursor + 10);
        let results: Vec<Value> = (cursor..cursor + 10).map(work_request).collect();
        Json(json!({"next": if cursor < 20 { Some(next) } else { None }, "previous": null, "results": results}))
    };
    let client = client(&serve(Router::new().route("/api/1.0/work-request/", get(page))).await);
    let filter = WorkRequestFilter::default();
    assert_eq!(client.work_requests(&filter, 15).await.unwrap().len(), 15);
    assert_eq!(client.work_requests(&filter, 100).await.unwrap().last().unwrap().id, 29);
}

#[tokio::test]
async fn the_calls_of_a_worker() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let next = async move |Json(body): Json<Value>| {
        assert_eq!(body, json!({}));
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => problem(423, Problem::new("Retry")),
            1 => StatusCode::NO_CONTENT.into_response(),
            _ => {
                let mut answer = work_request(7);
                answer["token"] = json!("ab");
                Json(answer).into_response()
            }
        }
    };
    let completed = async |Json(body): Json<Value>| {
        assert_eq!(body, json!({"result": "success", "output_data": {}}));
        StatusCode::OK
    };
    let relation = async |Json(body): Json<Value>| {
        assert_eq!(body["type"], "relates-to");
        Json(json!({"id": 1, "artifact": 2, "target": 3, "type": "relates-to"}))
    };
    let router = Router::new()
        .route("/api/1.0/work-request/get-next-for-worker/", post(next))
        .route("/api/1.0/work-request/7/completed/", put(completed))
        .route("/api/1.0/artifact-relation/", post(relation))
        .route("/api/1.0/worker/dynamic-metadata/", put(async || StatusCode::NO_CONTENT));
    let client = client(&serve(router).await);
    assert!(matches!(client.get_next().await.unwrap(), NextWork::Retry(None)));
    assert!(matches!(client.get_next().await.unwrap(), NextWork::Nothing));
    let NextWork::Run(work_request) = client.get_next().await.unwrap() else { panic!("there is work") };
    assert_eq!((work_request.id, work_request.token.as_deref()), (7, Some("ab")));
    let completed: Completed = serde_json::from_value(json!({"result": "success"})).unwrap();
    client.complete(7, &completed).await.unwrap();
    let relation: CreateRelation =
        serde_json::from_value(json!({"artifact": 2, "target": 3, "type": "relates-to"})).unwrap();
    assert_eq!(client.create_relation(&relation).await.unwrap().id, 1);
    client.put_dynamic_metadata(&Default::default()).await.unwrap();
    assert_eq!(
        serde_json::to_value(Relation { id: 1, artifact: 2, target: 3, relation_type: relation.relation_type })
            .unwrap()["type"],
        "relates-to"
    );
}

/// The upload half of a server: one file, and faults to be made at each chunk.
#[derive(Clone)]
struct UploadServer {
    content: Arc<Mutex<Vec<u8>>>,
    expected: String,
    faults: Arc<Mutex<Vec<Fault>>>,
    paths: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// 502, and nothing is stored.
    Unavailable,
    /// It is stored, but the answer is lost.
    LostAnswer,
    /// The server forgets what it has.
    Forgets,
    /// A bit is damaged on the way.
    Damage,
}

async fn upload(
    State(server): State<UploadServer>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    server.paths.lock().unwrap().push(path);
    let mut content = server.content.lock().unwrap();
    match ContentRange::parse(headers["content-range"].to_str().unwrap()).unwrap() {
        ContentRange::Probe { .. } => {
            (StatusCode::PARTIAL_CONTENT, [(header::RANGE, received(content.len() as u64))]).into_response()
        }
        ContentRange::Chunk { start, size, .. } => {
            let mut faults = server.faults.lock().unwrap();
            let fault = if faults.is_empty() { Fault::None } else { faults.remove(0) };
            if fault == Fault::Unavailable {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            if fault == Fault::Forgets {
                content.clear();
            }
            if start > content.len() as u64 {
                return problem(400, Problem::new(format!("Server had received {} bytes of the file.", content.len())));
            }
            content.truncate(start as usize);
            content.extend_from_slice(&body);
            if fault == Fault::Damage {
                content[0] ^= 1;
            }
            if fault == Fault::LostAnswer {
                return StatusCode::GATEWAY_TIMEOUT.into_response();
            }
            if (content.len() as u64) < size.unwrap() {
                return [(header::RANGE, received(content.len() as u64))].into_response();
            }
            if hex::encode(Sha256::digest(&content[..])) != server.expected {
                content.clear();
                return problem(409, Problem::new("Invalid file hash."));
            }
            StatusCode::CREATED.into_response()
        }
    }
}

fn sample(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

async fn try_upload(faults: &[Fault]) -> (Result<(), Error>, UploadServer) {
    let content = sample(4500);
    let server = UploadServer {
        content: Arc::default(),
        expected: hex::encode(Sha256::digest(&content)),
        faults: Arc::new(Mutex::new(faults.to_vec())),
        paths: Arc::default(),
    };
    let router = Router::new()
        .route("/api/1.0/artifact/9/files/{*path}", put(upload))
        .layer(DefaultBodyLimit::disable())
        .with_state(server.clone());
    let directory = tempfile::tempdir().unwrap();
    let local = directory.path().join("file");
    std::fs::write(&local, &content).unwrap();
    let client = client(&serve(router).await);
    let last = AtomicUsize::new(0);
    let progress = |done: u64, all: u64| {
        assert_eq!(all, 4500);
        last.store(done as usize, Ordering::SeqCst);
    };
    let result = client.upload_file(9, "dir/a +%#ü.deb", &local, &progress).await;
    if result.is_ok() {
        assert_eq!(last.load(Ordering::SeqCst), 4500);
        assert_eq!(*server.content.lock().unwrap(), content);
    }
    (result, server)
}

#[tokio::test]
async fn uploads_survive_faults() {
    use Fault::{Damage, Forgets, LostAnswer, None, Unavailable};
    for faults in [
        &[][..],
        &[Unavailable, Unavailable],
        &[None, LostAnswer, None, Unavailable, LostAnswer],
        &[None, None, Forgets],
        &[Damage],
        &[None, None, None, None, LostAnswer],
    ] {
        let (result, server) = try_upload(faults).await;
        result.unwrap();
        assert!(server.paths.lock().unwrap().iter().all(|path| path == "dir/a +%#ü.deb/"));
    }
}

#[tokio::test]
async fn uploads_give_up_in_the_end() {
    let (result, _) = try_upload(&[Fault::Unavailable; 100]).await;
    assert_eq!(result.unwrap_err().status(), Some(502));
    let (result, server) = try_upload(&[Fault::Damage; 100]).await;
    assert_eq!(result.unwrap_err().status(), Some(409));
    assert_eq!(server.paths.lock().unwrap().len(), 1 + 3 * 5, "one probe, three times five chunks");
}

#[tokio::test]
async fn empty_files_are_not_uploaded() {
    let directory = tempfile::tempdir().unwrap();
    let local = directory.path().join("empty");
    std::fs::write(&local, "").unwrap();
    let client = client(&serve(Router::new()).await);
    client.upload_file(9, "empty", &local, &|_, _| {}).await.unwrap();
}

/// Serves a file, but breaks off after 1500 bytes; `ranges`: whether it can continue.
async fn download_server(ranges: bool) -> (Client, String, Vec<u8>) {
    let content = sample(4000);
    let served = content.clone();
    let file = async move |headers: HeaderMap| {
        assert!(headers.get("token").is_some());
        let size = served.len() as u64;
        let slice = match headers.get("range") {
            Some(range) if ranges => Slice::parse(range.to_str().unwrap(), size).unwrap(),
            _ => Slice { start: 0, length: size },
        };
        let start = slice.start as usize;
        let whole = Bytes::copy_from_slice(&served[start..]);
        let broken = whole.len() > 1500 && (ranges || headers.get("range").is_none());
        let (first, second) = if broken {
            (whole.slice(..1500), Err(std::io::Error::other("broken")))
        } else {
            (whole, Ok(Bytes::new()))
        };
        let pieces = futures::stream::once(async { Ok(first) }).chain(futures::stream::once(async {
            // The first piece must be on its way before the connection breaks.
            tokio::time::sleep(Duration::from_millis(20)).await;
            second
        }));
        let status = if start > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let headers = [(header::CONTENT_RANGE, slice.content_range(size))];
        (status, headers, Body::from_stream(pieces)).into_response()
    };
    let api_url = serve(Router::new().route("/debusine/System/artifact/1/download/f", get(file))).await;
    let url = api_url.replace("/api", "/debusine/System/artifact/1/download/f");
    (client(&api_url), url, content)
}

#[tokio::test]
async fn downloads_resume_and_verify() {
    for ranges in [true, false] {
        let (client, url, content) = download_server(ranges).await;
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        let facts = FileFacts { size: content.len() as u64, sha256: hex::encode(Sha256::digest(&content)) };
        client.download_file(&url, &target, &facts, &|_, _| {}).await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), content);
        let error = client.download_file(&url, &target, &facts, &|_, _| {}).await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "an existing file stays: {error}");

        let wrong = FileFacts { sha256: "0".repeat(64), ..facts };
        let error = client.download_file(&url, &directory.path().join("other"), &wrong, &|_, _| {}).await.unwrap_err();
        assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing half-done is left");
    }
}

#[tokio::test]
async fn the_token_does_not_follow_a_redirect_to_a_store() {
    let store = serve(Router::new().route(
        "/api/object",
        get(async |headers: HeaderMap| if headers.contains_key("token") { "leaked" } else { "stored" }),
    ))
    .await;
    let location = format!("{store}/object");
    let redirect = async move || (StatusCode::FOUND, [(header::LOCATION, location.clone())]);
    let api_url = serve(Router::new().route("/download", get(redirect))).await;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    let facts = FileFacts { size: 6, sha256: hex::encode(Sha256::digest("stored")) };
    client(&api_url).download_file(&api_url.replace("/api", "/download"), &target, &facts, &|_, _| {}).await.unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "stored");
}

#[tokio::test]
async fn channels_speak_both_ways_and_shrug_off_rubbish() {
    let channel = async |headers: HeaderMap, upgrade: WebSocketUpgrade| {
        assert_eq!(headers["token"], "secret");
        upgrade.on_upgrade(async |mut socket| {
            for frame in [
                Message::text(json!({"type": "websocket.send", "text": "connected"}).to_string()),
                Message::text("not json"),
                Message::text(json!({"type": "websocket.send", "text": "dance"}).to_string()),
                Message::binary(vec![0]),
            ] {
                socket.send(frame).await.unwrap();
            }
            let echo = socket.recv().await.unwrap().unwrap();
            assert_eq!(echo.to_text().unwrap(), r#"{"hello":1}"#);
            socket
                .send(Message::text(
                    json!({"type": "websocket.send", "text": "work_request_aborted", "work_request_id": 3}).to_string(),
                ))
                .await
                .unwrap();
        })
    };
    let logs = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| {
            socket.send(Message::text(json!({"type": "connected"}).to_string())).await.unwrap()
        })
    };
    let router = Router::new()
        .route("/api/ws/1.0/worker/connect/", any(channel))
        .route("/api/ws/1.0/work-request/3/logs/", any(logs));
    let client = client(&serve(router).await);
    let mut channel = client.worker_channel().await.unwrap();
    assert_eq!(channel.receive().await.unwrap(), Received::Message(ServerMessage::Notice(Notice::Connected)));
    for _ in 0..3 {
        assert!(matches!(channel.receive().await.unwrap(), Received::Unknown(_)));
    }
    channel.send(&json!({"hello": 1})).await.unwrap();
    let aborted = Notice::WorkRequestAborted { work_request_id: 3 };
    assert_eq!(channel.receive().await.unwrap(), Received::Message(ServerMessage::Notice(aborted)));
    // The peer hangs up without good-bye or with one; both are an end.
    assert!(!matches!(channel.receive().await, Ok(Received::Message(_))));

    let mut log = client.follow_log(3).await.unwrap();
    assert_eq!(log.receive().await.unwrap(), Received::Message(LogMessage::Connected));
    assert!(matches!(client.on_completed(&[], None).await, Err(Error::NotFound { .. })));
}

/// Writes a `.dsc` with one tarball, and a source `.changes` that lists both.
fn write_upload(directory: &std::path::Path) -> PathBuf {
    let list = |names: &[&str], algorithm: &str, columns: &str| {
        let lines = names.iter().map(|name| {
            let hashes = usine_debian::hash_file(&directory.join(name)).unwrap();
            let digest = match algorithm {
                "md5" => hashes.md5,
                _ => hashes.sha256,
            };
            format!("\n {digest} {}{columns} {name}", hashes.size)
        });
        lines.collect::<String>()
    };
    std::fs::write(directory.join("hello_1.tar.xz"), b"\xfd7zXZ\0 not really").unwrap();
    let files = ["hello_1.tar.xz"];
    let dsc = format!(
        "Format: 3.0 (native)\nSource: hello\nBinary: hello\nArchitecture: any\nVersion: 1\nChecksums-Sha256:{}\nFiles:{}\n",
        list(&files, "sha256", ""),
        list(&files, "md5", "")
    );
    std::fs::write(directory.join("hello_1.dsc"), dsc).unwrap();
    let files = ["hello_1.dsc", "hello_1.tar.xz"];
    let changes = format!(
        "Format: 1.8\nSource: hello\nBinary: hello\nArchitecture: source\nVersion: 1\nDistribution: unstable\nChecksums-Sha256:{}\nFiles:{}\n",
        list(&files, "sha256", ""),
        list(&files, "md5", " devel optional")
    );
    let path = directory.join("hello_1_source.changes");
    std::fs::write(&path, changes).unwrap();
    path
}

#[tokio::test]
async fn an_upload_is_imported_with_its_parts() {
    let calls: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (made, related) = (calls.clone(), calls.clone());
    let create = async move |Json(body): Json<Value>| {
        let mut calls = made.lock().unwrap();
        let names: Vec<String> = body["files"].as_object().unwrap().keys().cloned().collect();
        let artifact = json!({"id": calls.len() + 1, "workspace": "W", "category": body["category"], "created_at": "2026-03-01T10:20:30Z",
            "data": body["data"], "download_tar_gz_url": "", "files_to_upload": names, "files": {}});
        calls.push(body);
        (StatusCode::CREATED, Json(artifact))
    };
    let relate = async move |Json(body): Json<Value>| {
        related.lock().unwrap().push(body.clone());
        let mut relation = body;
        relation["id"] = json!(1);
        (StatusCode::CREATED, Json(relation))
    };
    let store =
        async |headers: HeaderMap| match ContentRange::parse(headers["content-range"].to_str().unwrap()).unwrap() {
            ContentRange::Probe { .. } => (StatusCode::PARTIAL_CONTENT, [(header::RANGE, received(0))]).into_response(),
            ContentRange::Chunk { .. } => StatusCode::CREATED.into_response(),
        };
    let router = Router::new()
        .route("/api/1.0/artifact/", post(create))
        .route("/api/1.0/artifact/{id}/files/{*path}", put(store))
        .route("/api/1.0/artifact-relation/", post(relate));
    let directory = tempfile::tempdir().unwrap();
    let changes = write_upload(directory.path());
    let client = client(&serve(router).await);
    let imported = client.import(&changes, Some("W"), &|_, _, _| {}).await.unwrap();
    assert_eq!((imported.primary.id, imported.parts.len()), (1, 1));
    let calls = calls.lock().unwrap();
    assert_eq!(calls[0]["category"], "debian:upload");
    assert_eq!(calls[0]["files"].as_object().unwrap().len(), 3);
    assert_eq!(calls[0]["files"]["hello_1.tar.xz"]["content_type"], "application/x-xz; charset=binary");
    assert_eq!(calls[0]["files"]["hello_1_source.changes"]["content_type"], "text/plain; charset=utf-8");
    assert_eq!(calls[0]["data"]["changes_fields"]["Files"][0]["priority"], "optional");
    assert_eq!(calls[1]["category"], "debian:source-package");
    assert_eq!(calls[1]["data"]["dsc_fields"]["Source"], "hello");
    assert_eq!(calls[2], json!({"artifact": 1, "target": 2, "type": "extends"}));
    assert_eq!(calls[3], json!({"artifact": 1, "target": 2, "type": "relates-to"}));
}

#[test]
fn damaged_uploads_are_not_imported() {
    let directory = tempfile::tempdir().unwrap();
    let changes = write_upload(directory.path());
    std::fs::write(directory.path().join("hello_1.tar.xz"), "other").unwrap();
    let error = usine_client::import::artifacts_of(&changes).unwrap_err().to_string();
    assert!(error.contains("sha256 for file hello_1.tar.xz does not match"), "{error}");
    // Without SHA-256 no file is part of the upload, and what Files lists is missing then.
    let changes = write_upload(directory.path());
    let text = std::fs::read_to_string(&changes).unwrap();
    let (before, rest) = text.split_once("Checksums-Sha256:").unwrap();
    let (_, after) = rest.split_once("Files:").unwrap();
    std::fs::write(&changes, format!("{before}Files:{after}")).unwrap();
    let error = usine_client::import::artifacts_of(&changes).unwrap_err().to_string();
    let expected = "Files in the upload and listed in the .changes must match. Files: [] Listed: ['hello_1.dsc', 'hello_1.tar.xz']";
    assert!(error.ends_with(expected), "{error}");
    std::fs::remove_file(directory.path().join("hello_1.tar.xz")).unwrap();
    let error = usine_client::import::artifacts_of(&directory.path().join("hello_1.dsc")).unwrap_err().to_string();
    assert!(error.contains("does not exist: 'hello_1.tar.xz'"), "{error}");
    let error = usine_client::import::artifacts_of(&directory.path().join("x.txt")).unwrap_err().to_string();
    assert!(error.starts_with("Only source packages"), "{error}");
}
