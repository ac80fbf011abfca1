//! Starting and stopping: everything opened, checked and wired together in one place.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder, ServiceExt as _};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use usine_db::{Database, Engine, ServerManager};
use usine_model::clock::{Clock, to_stored_precision};
use usine_model::entropy::Entropy;
use usine_store::Uploads;

use crate::channel::{self, Hub};
use crate::config::Config;
use crate::leadership::{self, Leadership, while_leading};
use crate::live_log::{self, LiveLogs};
use crate::memory::Memory;
use crate::overload::{self, Overload};
use crate::routes::Routes;
use crate::state::{AppState, Inner};
use crate::stores::{self, OpenStoreError};
use crate::web::{self, Live, LogPages, LoginLimit};
use crate::{api, connections, scheduler, upkeep};

/// So many clients may wait for their users at once (`debusine setup`): nobody has to log in to wait.
const ENROLMENTS: usize = 100;

/// A server that listens.
pub struct Server {
    state: AppState,
    listener: TcpListener,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory cannot be made or used.
    #[error("cannot use the directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database cannot be used.
    #[error("cannot use the database: {0}")]
    Database(#[from] usine_db::Error),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The file store cannot be used.
    #[error("cannot use the file store: {0}")]
    Store(#[from] OpenStoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; set `bind` to another address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl Server {
    /// Opens everything: directories, database (whose schema is brought up to date), address. Connections wait from then
    /// on, and are served by [`Server::run`].
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        connections::allow_files(&config);
        let address = config.bind;
        // First: a server that cannot listen is none.
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })?;
        let state = open(config, clock, entropy, shutdown).await?;
        state.database.write_on_own_thread().map_err(StartError::Thread)?;
        Ok(Self { state, listener })
    }

    /// The address that the server listens on; tells the port if any free one was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The shared state, for whoever shares the process.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves until the shutdown token is cancelled.
    pub async fn run(self) -> std::io::Result<()> {
        let Self { state, listener } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(channel::dispatch(state.clone()));
        tasks.spawn(web::live::run(state.clone()));
        tasks.spawn(leadership::run(state.clone()));
        // On a thread of its own, as the batches are: it should not wait behind hundreds of requests.
        let (handle, scheduling) = (Handle::current(), while_leading(state.clone(), scheduler::run));
        tasks.spawn_blocking(move || handle.block_on(scheduling));
        tasks.spawn(upkeep::run_presence(state.clone()));
        tasks.spawn(live_log::exchange(state.clone()));
        tasks.spawn(announce(state.clone()));
        tasks.spawn(upkeep::run(state.clone()));
        tasks.spawn(upkeep::watch_foreign_events(state.clone()));
        tasks.spawn(upkeep::run_expiry(state.clone()));
        tasks.spawn(upkeep::run_vacuum(state.clone()));
        let service = service(&state);
        connections::serve(&state, listener, service).await;
        state.shutdown.cancel();
        while tasks.join_next().await.is_some() {}
        state.database.close().await;
        Ok(())
    }
}

/// Wakes other servers when there is news.
async fn announce(state: AppState) {
    tokio::select! {
        () = state.shutdown.cancelled() => {}
        () = state.database.announce() => {}
    }
}

/// Opens everything but the address, as [`Server::start`] does, for whoever brings requests by other ways.
pub async fn open(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    shutdown: CancellationToken,
) -> Result<AppState, StartError> {
    std::fs::create_dir_all(&config.data_directory).map_err(directory(&config.data_directory))?;
    let database = Database::connect(&config.database_url()).await?;
    database.migrate().await?;
    let store = stores::open(&config, &database, entropy.clone()).await?;
    // What a crash left behind. An hour is longer than any file takes to come under its final name.
    let old = std::time::SystemTime::from(clock.now()) - Duration::from_secs(3600);
    store.sweep(old).await.map_err(OpenStoreError::from)?;
    let uploads = Uploads::open(config.upload_directory()).await.map_err(directory(&config.upload_directory()))?;
    match std::fs::remove_dir_all(config.incoming_directory()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(directory(&config.incoming_directory())(error));
        }
        _ => {}
    }
    let live_logs = LiveLogs::open(config.live_log_directory(), config.live_log_size)
        .await
        .map(|logs| logs.of(&database))
        .map_err(directory(&config.live_log_directory()))?;
    let started_at = to_stored_precision(clock.now());
    // Only now: what went wrong above is no life of a server.
    let server = ServerManager(&database).register(&config.server_name(), started_at).await?;
    if database.backend() != Engine::Postgres {
        // There is one server only, whatever it was called before.
        for other in ServerManager(&database).list().await?.iter().filter(|other| other.id != server.id) {
            ServerManager(&database).end(other.id, started_at).await?;
        }
    }
    live_logs.begin(started_at).await.map_err(directory(&config.live_log_directory()))?;
    let live = Live::default();
    live.begin(server.id);
    let (overload, leadership) = (Overload::new(&config), Leadership::begin(database.backend(), started_at));
    Ok(AppState::new(Inner {
        database,
        store,
        uploads,
        clock,
        entropy,
        memory: Memory::default(),
        config,
        hub: Hub::default(),
        overload,
        live_logs,
        server,
        leadership,
        scheduler: Notify::new(),
        enrolments: Notify::new(),
        enrolment_turns: Arc::new(Semaphore::new(ENROLMENTS)),
        logins: LoginLimit::default(),
        live,
        log_pages: LogPages::default(),
        shutdown,
        started_at,
    }))
}

/// What answers every request.
pub fn service(
    state: &AppState,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static
+ use<> {
    let router = routes()
        .into_router()
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        // One layer of many, from the outermost to the innermost: each layer of a router's own is allocated for each request.
        .layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(CatchPanicLayer::new())
                .layer(SetResponseHeaderLayer::appending(header::VARY, HeaderValue::from_static("Cookie, Token")))
                .layer(CompressionLayer::new().compress_when(web::is_page))
                .layer(from_fn(web::timed))
                .layer(from_fn_with_state(state.clone(), overload::admit))
                .layer(from_fn_with_state(state.clone(), web::errors::as_pages)),
        )
        .with_state(state.clone());
    router.map_request(|request: Request| api::normalize(request))
}

/// All routes there are.
pub fn routes() -> Routes {
    api::routes().merge(channel::routes()).merge(web::routes())
}

fn directory<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    path: &std::path::Path,
) -> impl FnOnce(E) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Directory { path, source: source.into() }
}
