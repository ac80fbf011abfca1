//! The real server, whose tasks are done in steps: requests as they arrive, events, the scheduler, upkeep.

use axum::body::{Body, to_bytes};
use axum::extract::Request as HttpRequest;
use axum::http::header;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use usine_db::WorkerManager;
use usine_db::entity::event;
use usine_protocol::TOKEN_HEADER;
use usine_protocol::channel::ServerMessage;
use usine_server::channel::{WorkerSession, tell};
use usine_server::scheduler::Scheduler;
use usine_server::{AppState, upkeep};

use crate::ground::{Template, config, directory};
use crate::network::{Call, Outcome};
use crate::plan::SECOND;
use crate::world::{Event, World};

/// The scheduler looks this often by itself.
const TICK: i64 = 15 * SECOND;

/// What the clock decides is looked at this often.
const UPKEEP: i64 = 10 * SECOND;

/// Largest answer.
const MAX_BODY: usize = 1 << 20;

/// The server, running or not.
pub struct Server {
    directory: TempDir,
    pub running: Option<Running>,
    /// How often it was started.
    pub boot: u64,
    pub started_at: i64,
}

/// A running server.
pub struct Running {
    pub state: AppState,
    answer: Box<dyn Fn(HttpRequest) -> BoxFuture<'static, Response>>,
    events: broadcast::Receiver<event::Model>,
    scheduler: Scheduler,
    sessions: Vec<Connection>,
    scheduled: bool,
}

struct Connection {
    number: u64,
    worker: usize,
    session: WorkerSession,
    /// When its last message arrives.
    last: i64,
}

impl Server {
    pub fn new(template: &Template) -> Self {
        let directory = directory();
        template.copy_to(directory.path());
        Self { directory, running: None, boot: 0, started_at: 0 }
    }

    /// The channels that the server has of a worker.
    pub fn connections_of(&self, worker: usize) -> Vec<u64> {
        let sessions = self.running.iter().flat_map(|running| &running.sessions);
        sessions.filter(|connection| connection.worker == worker).map(|connection| connection.number).collect()
    }

    /// The state, if it runs.
    pub fn state(&self) -> Option<AppState> {
        self.running.as_ref().map(|running| running.state.clone())
    }

    /// Everything in memory is gone.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.state.shutdown.cancel();
            running.state.database.close().await;
        }
    }
}

impl World<'_> {
    pub async fn start_server(&mut self) {
        if self.server.running.is_some() {
            return;
        }
        let config = config(self.server.directory.path());
        let shutdown = CancellationToken::new();
        let state = usine_server::open(config, self.clock.clone(), self.entropy.clone(), shutdown).await.unwrap();
        let service = usine_server::service(&state);
        let answer = move |request: HttpRequest| {
            let service = service.clone();
            async move { service.oneshot(request).await.unwrap_or_else(|never| match never {}) }.boxed()
        };
        self.server.boot += 1;
        self.server.started_at = self.time();
        let events = state.database.events();
        self.server.running = Some(Running {
            state,
            answer: Box::new(answer),
            events,
            scheduler: Scheduler::default(),
            sessions: Vec::new(),
            scheduled: false,
        });
        self.note(|| "the server runs".to_owned());
        let boot = self.server.boot;
        self.after(1, Event::Schedule { boot, again: true });
        self.after(2, Event::Upkeep { boot });
    }

    pub async fn crash_server(&mut self, back: i64) {
        if self.server.running.is_none() {
            return;
        }
        self.note(|| format!("the server crashes, for {back} ms"));
        self.done.server_crashes += 1;
        for worker in 0..self.workers.len() {
            let noticed = self.roll(5 * SECOND);
            self.sever(worker, 1, noticed);
        }
        self.server.stop().await;
        self.after(back, Event::ServerBack);
    }

    /// Answers a request; `None`: nobody listens.
    pub async fn serve(&mut self, call: &Call) -> Result<Option<Outcome>, String> {
        let Some(running) = &self.server.running else { return Ok(None) };
        let request = &call.request;
        let builder = HttpRequest::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(header::HOST, "localhost")
            .header(TOKEN_HEADER, &request.token);
        let body = match &request.body {
            Some(body) => Body::from(body.to_string()),
            None => Body::empty(),
        };
        let request = builder.header(header::CONTENT_TYPE, "application/json").body(body).unwrap();
        let response = (running.answer)(request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), MAX_BODY).await.unwrap().to_vec();
        let (method, path, from) = (&call.request.method, &call.request.path, call.from);
        self.note(|| format!("{from:?} {method} {path} -> {status}"));
        let outcome = Outcome::Answer { status, body };
        self.judge_answer(call, &outcome)?;
        self.settle();
        Ok(Some(outcome))
    }

    /// What was written is passed on a moment later; what waits for workers is sent.
    pub fn settle(&mut self) {
        let boot = self.server.boot;
        let Some(running) = &mut self.server.running else { return };
        let mut happened = Vec::new();
        while let Ok(event) = running.events.try_recv() {
            happened.push(event);
        }
        let wake = running.state.scheduler.notified().now_or_never().is_some() && !running.scheduled;
        running.scheduled |= wake;
        let mut sent = Vec::new();
        for (place, connection) in running.sessions.iter_mut().enumerate() {
            while let Some(message) = connection.session.waiting_notice() {
                sent.push((place, message));
            }
        }
        for event in happened {
            self.judge_event(&event);
            self.after(3, Event::Told { boot, event: Box::new(event) });
        }
        if wake {
            self.after(3, Event::Schedule { boot, again: false });
        }
        for (place, message) in sent {
            self.send(place, message);
        }
    }

    /// Sends a message on the channel in this place, behind those that were sent before.
    fn send(&mut self, place: usize, message: ServerMessage) {
        let (delay, now) = (self.delay(), self.time());
        let Some(running) = &mut self.server.running else { return };
        let connection = &mut running.sessions[place];
        connection.last = connection.last.max(now + delay);
        let (when, worker, connection) = (connection.last - now, connection.worker, connection.number);
        if !self.severed.contains_key(&connection) {
            self.after(when, Event::Message { worker, connection, message });
        }
    }

    /// An event, as the server's own task passes it on.
    pub async fn told(&mut self, boot: u64, event: &event::Model) {
        if boot != self.server.boot {
            return;
        }
        let Some(running) = &mut self.server.running else { return };
        tell(&running.state, event);
        let (mut sent, mut ended) = (Vec::new(), Vec::new());
        for (place, connection) in running.sessions.iter_mut().enumerate() {
            while let Some(message) = connection.session.waiting_notice() {
                if !matches!(message, ServerMessage::Notice(_)) {
                    ended.push(connection.number);
                }
                sent.push((place, message));
            }
        }
        for (place, message) in sent {
            self.send(place, message);
        }
        for number in ended {
            self.hang_up(number).await;
        }
        self.settle();
    }

    /// A worker's connection reaches the server.
    pub async fn dialled(&mut self, worker: usize, life: u64) {
        if self.workers[worker].life != life || !self.workers[worker].up {
            return;
        }
        let (number, last) = (self.number(), self.time());
        let key = self.workers[worker].key.clone();
        let reached = !self.cut.contains(&crate::network::Actor::Worker(worker));
        let Some(running) = self.server.running.as_mut().filter(|_| reached) else {
            self.redial(worker);
            return;
        };
        let state = running.state.clone();
        self.workers[worker].connection = Some(number);
        match WorkerSession::admit(&state, Some(&key)).await {
            Ok(mut session) => {
                // Nothing can happen between admission and greeting here.
                let mut messages = Vec::from(session.greet(&state).await.unwrap().unwrap());
                messages.extend(session.begin(&state).await.unwrap());
                running.sessions.push(Connection { number, worker, session, last });
                self.judge.heard(worker, last);
                let place = running.sessions.len() - 1;
                for message in messages {
                    self.send(place, message);
                }
                self.settle();
            }
            Err(refusal) => {
                let delay = self.delay();
                self.after(delay, Event::Message { worker, connection: number, message: refusal });
            }
        }
    }

    /// The server closes a channel, or finds out that it is broken.
    pub async fn hang_up(&mut self, number: u64) {
        let broken = self.severed.get(&number).copied();
        let now = self.time();
        let Some(running) = &mut self.server.running else { return };
        let Some(place) = running.sessions.iter().position(|connection| connection.number == number) else { return };
        let Connection { mut session, worker, last, .. } = running.sessions.remove(place);
        let state = running.state.clone();
        if broken.is_none() {
            session.hear(state.now());
            self.judge.heard(worker, now);
            self.after((last - now).max(0) + 1, Event::WorkerMisses { worker, connection: number });
        }
        session.end(&state).await;
        self.settle();
    }

    /// One run of the scheduler.
    pub async fn schedule(&mut self, boot: u64, again: bool) -> Result<(), String> {
        if boot != self.server.boot {
            return Ok(());
        }
        let Some(running) = &mut self.server.running else { return Ok(()) };
        if !again {
            running.scheduled = false;
        }
        let mut assigned = 0;
        loop {
            let outcome = running.scheduler.schedule(&running.state).await.map_err(|error| error.to_string())?;
            assigned += outcome.assigned;
            if !outcome.more {
                break;
            }
        }
        if assigned > 0 {
            self.note(|| format!("scheduled {assigned}"));
        }
        if again {
            self.after(TICK, Event::Schedule { boot, again });
        }
        self.settle();
        Ok(())
    }

    /// One look at what the clock decides.
    pub async fn upkeep(&mut self, boot: u64) -> Result<(), String> {
        if boot != self.server.boot {
            return Ok(());
        }
        let now = self.time();
        let Some(running) = &mut self.server.running else { return Ok(()) };
        let state = running.state.clone();
        // Pongs.
        for connection in &mut running.sessions {
            if !self.severed.contains_key(&connection.number) {
                connection.session.hear(state.now());
                self.judge.heard(connection.worker, now);
            }
        }
        upkeep::look(&state).await;
        self.after(UPKEEP, Event::Upkeep { boot });
        self.settle();
        self.look_around().await
    }

    pub async fn disable(&mut self, worker: usize) {
        if let Some(state) = self.server.state() {
            let row = WorkerManager(&state.database).get(self.workers[worker].id).await.unwrap();
            row.disable(&state.database, state.now()).await.unwrap();
            self.settle();
        }
    }

    pub async fn enable(&mut self, worker: usize) {
        if let Some(state) = self.server.state() {
            let row = WorkerManager(&state.database).get(self.workers[worker].id).await.unwrap();
            row.token(&state.database).await.unwrap().unwrap().enable(&state.database, state.now()).await.unwrap();
            self.settle();
        }
    }
}
