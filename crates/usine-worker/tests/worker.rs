//! The worker against a small server that counts, refuses and hangs on purpose.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use usine_model::clock::ManualClock;
use usine_model::entropy::{CountingEntropy, Entropy};
use usine_model::output_data::OutputData;
use usine_model::policy::ResourceLimits;
use usine_model::work_request::Results;
use usine_protocol::content_range::{ContentRange, received};
use usine_protocol::work_request::WorkRequest;
use usine_tasks::{ArtifactRef, Host, LocalFile, LogStream, NewArtifact, NewRelation, Outcome, Surroundings};
use usine_worker::{Config, Ground, Runner, Stop, Tempo, WorkerError};

/// What the server has and does.
#[derive(Default)]
struct Office {
    /// Ids of work requests to hand out.
    queue: Mutex<Vec<i64>>,
    artifacts: Mutex<Vec<Value>>,
    /// Content by artifact and path.
    files: Mutex<BTreeMap<(i64, String), Vec<u8>>>,
    relations: Mutex<Vec<Value>>,
    completed: Mutex<Vec<(i64, Value)>>,
    registered: Mutex<Vec<(Option<String>, Value)>>,
    metadata: Mutex<Vec<Value>>,
    frames: Mutex<Vec<Value>>,
    connections: AtomicUsize,
    disabled: AtomicBool,
    /// The work-request token is no longer taken.
    refuses: AtomicBool,
    /// It is not usine: artifacts cannot be listed.
    lists_nothing: AtomicBool,
    /// Calls that change something, counted.
    steps: AtomicUsize,
    /// What to do at which step.
    trap: Mutex<Option<(usize, Trap)>>,
    tell: Mutex<Option<broadcast::Sender<String>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trap {
    /// Never answer, and do nothing.
    HangBefore,
    /// Do it, but never answer.
    HangAfter,
    /// 502 and do nothing, as often as this.
    Fail(usize),
    /// 403 with a page of a proxy and do nothing, as often as this.
    ErrorPage(usize),
    /// 400 and do nothing.
    Refuse,
}

type Shared = State<Arc<Office>>;

impl Office {
    /// Runs one step that changes something, or falls into the trap.
    async fn step(&self, headers: &HeaderMap, act: impl FnOnce() -> Response) -> Response {
        assert_eq!(headers["token"], "wrt");
        assert_eq!(headers["x-debusine-scope"], "debusine");
        if self.refuses.load(Ordering::SeqCst) {
            return (StatusCode::FORBIDDEN, "work request is not running").into_response();
        }
        let number = self.steps.fetch_add(1, Ordering::SeqCst);
        let trap = match &mut *self.trap.lock().unwrap() {
            Some((at, Trap::Fail(times))) if number >= *at && *times > 0 => {
                *times -= 1;
                Some(Trap::Fail(*times))
            }
            Some((at, Trap::ErrorPage(times))) if number >= *at && *times > 0 => {
                *times -= 1;
                Some(Trap::ErrorPage(*times))
            }
            Some((at, trap)) if number == *at && !matches!(trap, Trap::Fail(_) | Trap::ErrorPage(_)) => Some(*trap),
            _ => None,
        };
        match trap {
            None => act(),
            Some(Trap::Fail(_)) => StatusCode::BAD_GATEWAY.into_response(),
            Some(Trap::ErrorPage(_)) => {
                (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "text/html")], "<h1>Forbidden</h1>").into_response()
            }
            Some(Trap::Refuse) => problem(400, "No"),
            Some(Trap::HangBefore) => std::future::pending().await,
            Some(Trap::HangAfter) => {
                act();
                std::future::pending().await
            }
        }
    }

    fn set_trap(&self, at: usize, trap: Trap) {
        *self.trap.lock().unwrap() = Some((at, trap));
    }

    /// Sends a notice to every connected worker.
    fn tell(&self, notice: Value) {
        let _ = self.tell.lock().unwrap().as_ref().unwrap().send(notice.to_string());
    }

    fn incomplete(&self, id: i64) -> Vec<String> {
        let (artifacts, files) = (self.artifacts.lock().unwrap(), self.files.lock().unwrap());
        let announced = artifacts[id as usize - 1]["files"].as_object().unwrap();
        let complete = |path: &str, file: &Value| {
            let have = files.get(&(id, path.to_owned())).map_or(0, Vec::len) as u64;
            have == file["size"].as_u64().unwrap()
        };
        announced.iter().filter(|(path, file)| !complete(path, file)).map(|(path, _)| path.clone()).collect()
    }

    fn artifact(&self, id: i64) -> Value {
        let missing = self.incomplete(id);
        let artifact = &self.artifacts.lock().unwrap()[id as usize - 1];
        let mut files = artifact["files"].clone();
        files.as_object_mut().unwrap().values_mut().for_each(|file| file["url"] = json!("http://h/"));
        json!({"id": id, "workspace": "System", "category": artifact["category"], "created_at": "2026-03-01T10:20:30Z",
            "data": artifact["data"], "download_tar_gz_url": "", "files_to_upload": missing, "files": files})
    }
}

fn problem(status: u16, title: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), headers, json!({"title": title}).to_string()).into_response()
}

async fn register(State(office): Shared, headers: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    let activation = headers.get("token").map(|token| token.to_str().unwrap().to_owned());
    office.registered.lock().unwrap().push((activation, body));
    StatusCode::CREATED
}

async fn next(State(office): Shared) -> Response {
    let mut queue = office.queue.lock().unwrap();
    if queue.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let id = queue.remove(0);
    Json(
        json!({"id": id, "created_at": "2026-03-01T10:20:30Z", "status": "pending", "result": "", "task_type": "Worker",
        "task_name": "noop", "task_data": {}, "priority_base": 0, "priority_adjustment": 0, "artifacts": [],
        "scope": "debusine", "workspace": "System", "token": "wrt", "limits": {"memory": 1_048_576}}),
    )
    .into_response()
}

async fn whoami(State(office): Shared) -> Response {
    if office.refuses.load(Ordering::SeqCst) {
        return (StatusCode::FORBIDDEN, "work request is not running").into_response();
    }
    Json(json!({"user": "<anonymous>", "auth": true, "work_request": 7, "worker": false})).into_response()
}

async fn create(State(office): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let act = || {
        assert_eq!(body["work_request"], 7);
        office.artifacts.lock().unwrap().push(body.clone());
        let id = office.artifacts.lock().unwrap().len() as i64;
        (StatusCode::CREATED, Json(office.artifact(id))).into_response()
    };
    office.step(&headers, act).await
}

async fn show(State(office): Shared, Path(id): Path<i64>) -> Json<Value> {
    Json(office.artifact(id))
}

async fn list(State(office): Shared, headers: HeaderMap, Query(query): Query<BTreeMap<String, String>>) -> Response {
    assert_eq!((&headers["token"], query["work_request"].as_str()), (&"wrt".parse().unwrap(), "7"));
    if office.lists_nothing.load(Ordering::SeqCst) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let count = office.artifacts.lock().unwrap().len() as i64;
    Json((1..=count).rev().map(|id| office.artifact(id)).collect::<Vec<_>>()).into_response()
}

async fn upload(
    State(office): Shared,
    Path((id, path)): Path<(i64, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = path.trim_end_matches('/').to_owned();
    let range = ContentRange::parse(headers["content-range"].to_str().unwrap()).unwrap();
    let act = || {
        let mut files = office.files.lock().unwrap();
        let content = files.entry((id, path)).or_default();
        match range {
            ContentRange::Probe { .. } => {
                (StatusCode::PARTIAL_CONTENT, [(header::RANGE, received(content.len() as u64))]).into_response()
            }
            ContentRange::Chunk { start, .. } => {
                content.truncate(start as usize);
                content.extend_from_slice(&body);
                StatusCode::CREATED.into_response()
            }
        }
    };
    office.step(&headers, act).await
}

async fn relate(State(office): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let act = || {
        for end in ["artifact", "target"] {
            let id = body[end].as_i64().unwrap();
            assert!(id == 99 || office.incomplete(id).is_empty(), "relations come after the files");
        }
        let mut relations = office.relations.lock().unwrap();
        if !relations.contains(&body) {
            relations.push(body.clone());
        }
        let mut answer = body.clone();
        answer["id"] = json!(1);
        Json(answer).into_response()
    };
    office.step(&headers, act).await
}

async fn completed(
    State(office): Shared,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let act = || {
        let mut completed = office.completed.lock().unwrap();
        if !completed.contains(&(id, body.clone())) {
            completed.push((id, body));
        }
        StatusCode::OK.into_response()
    };
    office.step(&headers, act).await
}

async fn connect(State(office): Shared, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| talk(office, socket).await)
}

async fn talk(office: Arc<Office>, mut socket: WebSocket) {
    office.connections.fetch_add(1, Ordering::SeqCst);
    if office.disabled.load(Ordering::SeqCst) {
        let rejected = json!({"type": "connection_rejected", "reason": "No token", "reason_code": "TOKEN_DISABLED"});
        let _ = socket.send(Message::text(rejected.to_string())).await;
        return;
    }
    let mut notices = office.tell.lock().unwrap().as_ref().unwrap().subscribe();
    for text in ["connected", "request_dynamic_metadata"] {
        let _ = socket.send(Message::text(json!({"type": "websocket.send", "text": text}).to_string())).await;
    }
    for rubbish in ["", "null", "[]", "{\"type\":\"websocket.send\",\"text\":\"sing\"}", "\u{0}"] {
        let _ = socket.send(Message::text(rubbish)).await;
    }
    let _ = socket.send(Message::binary(vec![1, 2, 3])).await;
    let available = json!({"type": "websocket.send", "text": "work_request_available"});
    let _ = socket.send(Message::text(available.to_string())).await;
    loop {
        tokio::select! {
            Ok(notice) = notices.recv() => {
                if socket.send(Message::text(notice)).await.is_err() {
                    return;
                }
            }
            frame = socket.recv() => match frame {
                Some(Ok(Message::Text(text))) => office.frames.lock().unwrap().push(serde_json::from_str(&text).unwrap()),
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

async fn open_office() -> (Arc<Office>, String) {
    let office = Arc::new(Office::default());
    *office.tell.lock().unwrap() = Some(broadcast::channel(16).0);
    let router = Router::new()
        .route("/api/1.0/worker/register/", post(register))
        .route(
            "/api/1.0/worker/dynamic-metadata/",
            put(async |State(office): Shared, Json(body): Json<Value>| {
                office.metadata.lock().unwrap().push(body);
                StatusCode::NO_CONTENT
            }),
        )
        .route("/api/1.0/work-request/get-next-for-worker/", post(next))
        .route("/api/1.0/work-request/{id}/completed/", put(completed))
        .route("/api/1.0/whoami/", get(whoami))
        .route("/api/1.0/artifact/", post(create))
        .route("/api/1.0/artifact/System/{id}/", get(show))
        .route("/api/usine/1.0/artifact/", get(list))
        .route("/api/1.0/artifact/{id}/files/{*path}", put(upload))
        .route("/api/1.0/artifact-relation/", post(relate))
        .route("/api/ws/1.0/worker/connect/", any(connect))
        .layer(DefaultBodyLimit::disable())
        .with_state(office.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (office, format!("http://{address}/api"))
}

/// A task that makes two artifacts with a file in common, or one that waits to be stopped.
struct TestTasks {
    waits: bool,
    runs: AtomicUsize,
    stopped: AtomicUsize,
    limits: Mutex<Vec<ResourceLimits>>,
}

impl TestTasks {
    fn new(waits: bool) -> Arc<Self> {
        Arc::new(Self { waits, runs: AtomicUsize::new(0), stopped: AtomicUsize::new(0), limits: Mutex::default() })
    }
}

fn make(directory: &FilePath) -> Outcome {
    let file = |name: &str, content: &str| {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        (name.parse().unwrap(), LocalFile { path, content_type: None })
    };
    let (common, log, empty) = (file("common.deb", "package"), file("build.log", "log"), file("empty", ""));
    let artifact = |files: Vec<_>| NewArtifact {
        category: usine_model::artifact::ArtifactCategory::Test,
        data: json!({}),
        files: files.into_iter().collect(),
    };
    let relation = |artifact, target| NewRelation {
        artifact,
        target,
        relation_type: usine_model::artifact::RelationType::RelatesTo,
    };
    Outcome {
        result: Some(Results::Success),
        output_data: OutputData::default(),
        artifacts: vec![artifact(vec![common.clone(), empty]), artifact(vec![common, log])],
        relations: vec![
            relation(ArtifactRef::Made(1), ArtifactRef::Made(0)),
            relation(ArtifactRef::Made(0), ArtifactRef::Existing(99)),
        ],
    }
}

impl Runner for TestTasks {
    fn execute<'a>(
        &'a self,
        _: &'a WorkRequest,
        surroundings: &'a Surroundings,
        host: &'a dyn Host,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.runs.fetch_add(1, Ordering::SeqCst);
            self.limits.lock().unwrap().push(surroundings.resources.limits);
            host.log(LogStream::Stdout, b"hello\xff\n");
            if self.waits {
                surroundings.cancel.cancelled().await;
                self.stopped.fetch_add(1, Ordering::SeqCst);
                let nothing = OutputData::default();
                return Outcome { result: None, output_data: nothing, artifacts: Vec::new(), relations: Vec::new() };
            }
            host.log_end(0);
            make(&surroundings.directory)
        })
    }

    fn capabilities(&self) -> Map<String, Value> {
        json!({"provided_tags": []}).as_object().unwrap().clone()
    }
}

struct Machine {
    _root: tempfile::TempDir,
    config: Config,
    tasks: Arc<TestTasks>,
}

impl Machine {
    fn new(api_url: &str, waits: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config::new(api_url, root.path().join("etc"), root.path().join("state"));
        // Tests may run as root, on a machine without the worker's user.
        config.user = "root".to_owned();
        Self { _root: root, config, tasks: TestTasks::new(waits) }
    }

    fn ground(&self) -> Ground {
        let short = Duration::from_millis(5);
        let tempo = Tempo {
            reconnect: short,
            reconnect_spread: short,
            retry: short,
            patience: Duration::from_millis(20),
            input_patience: short,
            poll: Duration::from_millis(50),
            check: Duration::from_millis(30),
        };
        let now: DateTime<Utc> = "2026-03-01T10:20:30Z".parse().unwrap();
        let entropy = Arc::new(CountingEntropy::default());
        Ground { clock: Arc::new(ManualClock::at(now)), entropy, runner: self.tasks.clone(), tempo }
    }

    fn start(&self) -> (Stop, tokio::task::JoinHandle<Result<(), WorkerError>>) {
        let stop = Stop::default();
        (stop.clone(), tokio::spawn(usine_worker::run(self.config.clone(), self.ground(), stop)))
    }

    fn is_clean(&self) -> bool {
        let entries = |directory: &FilePath| std::fs::read_dir(directory).unwrap().count();
        entries(&self.config.working_directory) == 0 && entries(&self.config.state_directory.join("spool")) == 0
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}

/// All that the task made is there, and each thing once.
fn check_delivery(office: &Office, orphans: usize) {
    let artifacts = office.artifacts.lock().unwrap().len() as i64;
    assert_eq!(artifacts as usize, 2 + orphans);
    let complete: Vec<i64> = (1..=artifacts).filter(|id| office.incomplete(*id).is_empty()).collect();
    assert!(complete.len() >= 2, "{complete:?} of {artifacts}");
    let relations = office.relations.lock().unwrap();
    assert_eq!(relations.len(), 2, "{relations:?}");
    assert_eq!(relations[0]["target"], relations[1]["artifact"]);
    assert_eq!(*office.completed.lock().unwrap(), [(7, json!({"result": "success", "output_data": {}}))]);
}

#[tokio::test]
async fn a_work_request_from_registration_to_report() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    let machine = Machine::new(&api_url, false);
    std::fs::create_dir_all(&machine.config.directory).unwrap();
    let activation = machine.config.directory.join("activation-token");
    std::fs::write(&activation, "activate\n").unwrap();
    let refused = usine_worker::run(machine.config.clone(), machine.ground(), Stop::default()).await;
    assert!(matches!(refused, Err(WorkerError::PermissionTooOpen(_))));
    std::fs::set_permissions(&activation, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let (stop, running) = machine.start();
    until("completed", || office.completed.lock().unwrap().len() == 1).await;
    until("logged", || office.frames.lock().unwrap().len() == 2).await;
    until("delivered", || machine.is_clean()).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    check_delivery(&office, 0);
    let limits = ResourceLimits { memory: Some(1_048_576), disk: None };
    assert_eq!(*machine.tasks.limits.lock().unwrap(), [limits]);
    let registered = office.registered.lock().unwrap();
    let [(activation, body)] = registered.as_slice() else { panic!("registered once") };
    assert_eq!((activation.as_deref(), &body["worker_type"]), (Some("activate"), &json!("external")));
    assert_eq!(
        std::fs::read_to_string(machine.config.directory.join("token")).unwrap(),
        body["token"].as_str().unwrap()
    );
    assert_eq!(*office.metadata.lock().unwrap(), [json!({"provided_tags": []})]);
    let frames = office.frames.lock().unwrap();
    assert_eq!(
        frames[0],
        json!({"type": "log_data", "work_request_id": 7, "stream": "stdout", "data": "hello\u{fffd}\n", "timestamp": "2026-03-01T10:20:30Z"})
    );
    assert_eq!(frames[1]["exit_code"], 0);
}

#[tokio::test]
async fn registration_fails_with_a_reason() {
    let machine = Machine::new("http://127.0.0.1:9/api", false);
    let error = usine_worker::run(machine.config.clone(), machine.ground(), Stop::default()).await.unwrap_err();
    assert!(
        error.to_string().starts_with("Could not register. Server unreachable: Error connecting to debusine"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 3);
    assert!(!machine.config.directory.join("token").exists());

    // The key of the first try is used again.
    let new = machine.config.directory.join("token.new");
    let key = std::fs::read_to_string(&new).unwrap();
    let (office, api_url) = open_office().await;
    let mut config = machine.config.clone();
    config.api_url = api_url;
    let (stop, entropy) = (Stop::default(), CountingEntropy::default());
    assert_ne!(entropy.bytes32(), entropy.bytes32());
    let ground = Ground { entropy: Arc::new(entropy), ..machine.ground() };
    let running = tokio::spawn(usine_worker::run(config, ground, stop.clone()));
    until("connected", || office.connections.load(Ordering::SeqCst) > 0).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(office.registered.lock().unwrap()[0].1["token"], key.as_str());
    assert_eq!(std::fs::read_to_string(machine.config.directory.join("token")).unwrap(), key);
    assert!(!new.exists());
}

#[tokio::test]
async fn a_crash_at_any_step_loses_and_repeats_nothing() {
    // 2 artifacts, 3 files of a probe and a piece each, 2 relations, 1 report.
    let steps = 2 + 3 * 2 + 2 + 1;
    for (trap, lists_nothing) in [(Trap::HangBefore, false), (Trap::HangAfter, false), (Trap::HangAfter, true)] {
        for at in 0..steps {
            let (office, api_url) = open_office().await;
            office.lists_nothing.store(lists_nothing, Ordering::SeqCst);
            office.queue.lock().unwrap().push(7);
            office.set_trap(at, trap);
            let machine = Machine::new(&api_url, false);
            let (_, running) = machine.start();
            until("trapped", || office.steps.load(Ordering::SeqCst) > at).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled());

            let (stop, running) = machine.start();
            until("completed", || office.completed.lock().unwrap().len() == 1 && machine.is_clean()).await;
            stop.drain.cancel();
            running.await.unwrap().unwrap();
            // Where the answer to a creation (steps 0 and 3) was lost before it could be noted, and what was made cannot be
            // asked for, one stays without files.
            check_delivery(&office, usize::from(lists_nothing && [0, 3].contains(&at)));
            assert_eq!(machine.tasks.runs.load(Ordering::SeqCst), 1, "{trap:?} at {at}: the task runs once");
        }
    }
}

#[tokio::test]
async fn an_error_page_costs_no_result() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    office.set_trap(3, Trap::ErrorPage(4));
    let machine = Machine::new(&api_url, false);
    let (stop, running) = machine.start();
    until("completed", || office.completed.lock().unwrap().len() == 1).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    check_delivery(&office, 0);
}

#[tokio::test]
async fn a_machine_that_cannot_run_says_so_and_does_not_ask_for_the_next_at_once() {
    let (office, api_url) = open_office().await;
    let machine = Machine::new(&api_url, false);
    let mut ground = machine.ground();
    (ground.tempo.retry, ground.tempo.patience) = (Duration::from_secs(60), Duration::from_secs(60));
    let stop = Stop::default();
    let running = tokio::spawn(usine_worker::run(machine.config.clone(), ground, stop.clone()));
    until("connected", || office.connections.load(Ordering::SeqCst) == 1).await;
    let directory = &machine.config.working_directory;
    std::fs::remove_dir(directory).unwrap();
    std::fs::write(directory, "no directory").unwrap();
    office.queue.lock().unwrap().extend([7, 7]);
    until("reported", || office.completed.lock().unwrap().len() == 1).await;
    // Longer than it takes to ask for work regularly.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(*office.queue.lock().unwrap(), [7]);
    let (id, body) = office.completed.lock().unwrap()[0].clone();
    let error = &body["output_data"]["errors"][0];
    assert_eq!((id, &body["result"], &error["code"]), (7, &json!("error"), &json!("setup-failed")));
    assert!(error["message"].as_str().unwrap().contains(directory.to_str().unwrap()), "{error}");
    stop.drain.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_second_worker_leaves_the_first_alone() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    let machine = Machine::new(&api_url, true);
    let (stop, running) = machine.start();
    until("running", || machine.tasks.runs.load(Ordering::SeqCst) == 1).await;
    let second = usine_worker::run(machine.config.clone(), machine.ground(), Stop::default()).await;
    assert!(matches!(second, Err(WorkerError::InUse(_))));
    assert!(matches!(usine_worker::clean(&machine.config), Err(WorkerError::InUse(_))));
    assert!(!machine.is_clean(), "the first one's directory is still there");
    stop.abort.cancel();
    running.await.unwrap().unwrap();
    assert!(machine.is_clean());
}

#[tokio::test]
async fn an_absent_server_is_waited_for() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    office.set_trap(3, Trap::Fail(12));
    let machine = Machine::new(&api_url, false);
    let (stop, running) = machine.start();
    until("completed", || office.completed.lock().unwrap().len() == 1).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    check_delivery(&office, 0);
}

#[tokio::test]
async fn what_the_server_does_not_take_is_reported_as_an_error() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    office.set_trap(0, Trap::Refuse);
    let machine = Machine::new(&api_url, false);
    let (stop, running) = machine.start();
    until("completed", || office.completed.lock().unwrap().len() == 1).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    let completed = office.completed.lock().unwrap();
    assert_eq!(completed[0].1["result"], "error");
    assert_eq!(completed[0].1["output_data"]["errors"][0]["code"], "upload-failed");
    assert!(machine.is_clean());
}

#[tokio::test]
async fn a_disabled_worker_waits_to_be_enabled() {
    let (office, api_url) = open_office().await;
    office.disabled.store(true, Ordering::SeqCst);
    office.queue.lock().unwrap().push(7);
    let machine = Machine::new(&api_url, false);
    let (stop, running) = machine.start();
    until("refused", || office.connections.load(Ordering::SeqCst) > 2).await;
    assert_eq!(machine.tasks.runs.load(Ordering::SeqCst), 0);
    office.disabled.store(false, Ordering::SeqCst);
    until("completed", || office.completed.lock().unwrap().len() == 1).await;
    office.tell(
        json!({"type": "connection_closed", "reason": "Token has been disabled", "reason_code": "TOKEN_DISABLED"}),
    );
    let before = office.connections.load(Ordering::SeqCst);
    until("connected again", || office.connections.load(Ordering::SeqCst) > before).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_aborted_work_request_stops_at_once_and_is_not_reported() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    let machine = Machine::new(&api_url, true);
    let (stop, running) = machine.start();
    until("running", || machine.tasks.runs.load(Ordering::SeqCst) == 1).await;
    office.tell(json!({"type": "websocket.send", "text": "work_request_aborted", "work_request_id": 6}));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(machine.tasks.stopped.load(Ordering::SeqCst), 0, "another work request");
    let told = std::time::Instant::now();
    office.tell(json!({"type": "websocket.send", "text": "work_request_aborted", "work_request_id": 7}));
    until("stopped", || machine.tasks.stopped.load(Ordering::SeqCst) == 1 && machine.is_clean()).await;
    assert!(told.elapsed() < Duration::from_secs(10));
    // It takes the next one.
    office.queue.lock().unwrap().push(7);
    office.tell(json!({"type": "websocket.send", "text": "work_request_available"}));
    until("running again", || machine.tasks.runs.load(Ordering::SeqCst) == 2).await;
    stop.abort.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(machine.tasks.stopped.load(Ordering::SeqCst), 2);
    assert!(office.completed.lock().unwrap().is_empty() && machine.is_clean());
}

#[tokio::test]
async fn a_refused_token_stops_the_run() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    let machine = Machine::new(&api_url, true);
    let (stop, running) = machine.start();
    until("running", || machine.tasks.runs.load(Ordering::SeqCst) == 1).await;
    office.refuses.store(true, Ordering::SeqCst);
    until("stopped", || machine.tasks.stopped.load(Ordering::SeqCst) == 1 && machine.is_clean()).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    assert!(office.completed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_delivery_is_dropped() {
    let (office, api_url) = open_office().await;
    office.queue.lock().unwrap().push(7);
    office.set_trap(4, Trap::HangBefore);
    let machine = Machine::new(&api_url, false);
    let (_, running) = machine.start();
    until("trapped", || office.steps.load(Ordering::SeqCst) > 4).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(!machine.is_clean());
    office.refuses.store(true, Ordering::SeqCst);
    let (stop, running) = machine.start();
    until("dropped", || machine.is_clean()).await;
    stop.drain.cancel();
    running.await.unwrap().unwrap();
    assert!(office.completed.lock().unwrap().is_empty());
}
