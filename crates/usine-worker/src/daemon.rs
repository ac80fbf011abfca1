//! The worker from start to end: prepare, register, stay connected, and do one thing after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use usine_client::{Client, NextWork, Options};
use usine_model::clock::Clock;
use usine_model::entropy::Entropy;
use usine_protocol::work_request::WorkRequest;
use usine_tasks::Identity;

use crate::cache::{Cache, CacheError};
use crate::delivery::{Circumstances, Delivered, deliver};
use crate::log_queue::LogQueue;
use crate::spool::{Entry, Spool, SpoolError};
use crate::{Config, Runner, Tempo, WorkerError, credentials, identity, job, session, workdir};

/// What the worker stands on; the binary hands out the real things, tests their own.
#[derive(Clone)]
pub struct Ground {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Who runs tasks.
    pub runner: Arc<dyn Runner>,
    /// How long to wait for what.
    pub tempo: Tempo,
}

/// How the worker is asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Finish the present work request, take no more.
    pub drain: CancellationToken,
    /// Stop the present work request, report nothing.
    pub abort: CancellationToken,
}

/// A worker that is set up.
pub(crate) struct Worker {
    pub config: Config,
    pub ground: Ground,
    pub stop: Stop,
    pub client: Client,
    pub identity: Option<Identity>,
    pub spool: Spool,
    pub cache: Cache,
    pub logs: Arc<LogQueue>,
    /// There may be work.
    pub wake: Notify,
    /// The server was just heard.
    pub online: Arc<Notify>,
    /// Whether the server takes us at present.
    pub accepted: AtomicBool,
    current: Mutex<Option<(i64, CancellationToken)>>,
}

/// Removes what earlier runs left in the working directory, and says how much that was. Blocks.
pub fn clean(config: &Config) -> Result<usize, WorkerError> {
    workdir::clean(&config.working_directory)
}

/// Runs until asked to stop.
///
/// # Errors
/// If it cannot begin: configuration, tokens, user, registration. Later faults are logged and survived.
pub async fn run(config: Config, ground: Ground, stop: Stop) -> Result<(), WorkerError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let worker = Arc::new(set_up(config, ground, stop).await?);
    tokio::select! {
        () = session::keep_connected(&worker) => unreachable!("it connects for ever"),
        () = work(&worker) => Ok(()),
    }
}

async fn set_up(config: Config, ground: Ground, stop: Stop) -> Result<Worker, WorkerError> {
    let identity = identity::for_tasks(&config.user)?;
    let removed = clean(&config)?;
    if removed > 0 {
        tracing::info!(removed, "removed directories of earlier runs");
    }
    workdir::make_reachable(&config.state_directory)?;
    let spool = Spool::open(config.state_directory.join("spool")).map_err(spool_error)?;
    let cache = Cache::open(config.state_directory.join("cache"), config.cache_size).map_err(|error| match error {
        CacheError::Io { path, source } => WorkerError::Io { path, source },
        other => WorkerError::Io { path: config.state_directory.join("cache"), source: std::io::Error::other(other) },
    })?;
    let token = match credentials::token(&config)? {
        Some(token) => token,
        None => credentials::register(&config, &credentials::fqdn(), ground.entropy.as_ref()).await?,
    };
    let client =
        Client::new(Options { token: Some(token), timeouts: config.http_timeout, ..Options::new(&config.api_url) })?;
    Ok(Worker {
        config,
        ground,
        stop,
        client,
        identity,
        spool,
        cache,
        logs: Arc::default(),
        wake: Notify::new(),
        online: Arc::default(),
        accepted: AtomicBool::new(false),
        current: Mutex::default(),
    })
}

fn spool_error(error: SpoolError) -> WorkerError {
    match error {
        SpoolError::Io { path, source } => WorkerError::Io { path, source },
        other => WorkerError::Io { path: "spool".into(), source: std::io::Error::other(other) },
    }
}

/// Delivers what is left, then takes one work request after the other.
async fn work(worker: &Arc<Worker>) {
    let leftovers = worker.spool.entries().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot read the spool");
        Vec::new()
    });
    for entry in leftovers {
        tracing::info!(work_request = entry.manifest.work_request, "delivering what an earlier run made");
        let not_ours = worker.begin(entry.manifest.work_request);
        deliver_entry(worker, entry, not_ours).await;
    }
    while !worker.is_stopping() {
        tokio::select! {
            () = worker.wake.notified() => {}
            () = tokio::time::sleep(worker.ground.tempo.poll) => {
                if !worker.accepted.load(Ordering::Relaxed) {
                    continue;
                }
            }
            () = worker.stop.drain.cancelled() => return,
            () = worker.stop.abort.cancelled() => return,
        }
        while let Some(work_request) = next(worker).await {
            one(worker, work_request).await;
            if worker.is_stopping() {
                return;
            }
        }
    }
}

/// Asks for work until the server says what to do, or that there is nothing.
async fn next(worker: &Arc<Worker>) -> Option<WorkRequest> {
    let mut back_off = worker.ground.tempo.back_off();
    loop {
        let asked = tokio::select! {
            // An answer that we do not wait for would be a work request that nobody runs: only the wait below can be
            // cut short.
            answer = worker.client.get_next() => answer,
            () = worker.stop.abort.cancelled() => return None,
        };
        let wait = match asked {
            Ok(NextWork::Run(work_request)) => return Some(*work_request),
            Ok(NextWork::Nothing) => return None,
            Ok(NextWork::Retry(after)) => back_off.wait(after),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "cannot ask for work, trying again");
                back_off.wait(error.retry_after())
            }
            Err(error) => {
                tracing::warn!(%error, "the server gives no work");
                return None;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = worker.stop.drain.cancelled() => return None,
            () = worker.stop.abort.cancelled() => return None,
        }
    }
}

async fn one(worker: &Arc<Worker>, work_request: WorkRequest) {
    let id = work_request.id;
    let cancel = worker.begin(id);
    let stopped = worker.stop.abort.clone();
    let stopping = cancel.clone();
    let run = async {
        match job::run(worker, work_request, &cancel).await {
            Ok(Some(entry)) => deliver_entry(worker, entry, cancel.clone()).await,
            Ok(None) => {}
            Err(error) => tracing::error!(work_request = id, %error, "cannot be run"),
        }
    };
    let watch = async {
        stopped.cancelled().await;
        stopping.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = run => {}
        () = watch => unreachable!("the watch has no end"),
    }
    worker.end();
}

async fn deliver_entry(worker: &Arc<Worker>, entry: Entry, not_ours: CancellationToken) {
    let id = entry.manifest.work_request;
    let around = Circumstances {
        tempo: worker.ground.tempo,
        stop: worker.stop.abort.clone(),
        hurry: worker.stop.drain.clone(),
        not_ours,
        online: worker.online.clone(),
    };
    match deliver(&worker.client, entry, &around).await {
        Ok(Delivered::Done) => tracing::info!(work_request = id, "delivered"),
        Ok(Delivered::Refused) => {}
        Ok(Delivered::Interrupted) => tracing::info!(work_request = id, "not delivered yet; the next start goes on"),
        Err(error) => tracing::error!(%error, "a result is lost"),
    }
    worker.end();
}

impl Worker {
    fn is_stopping(&self) -> bool {
        self.stop.drain.is_cancelled() || self.stop.abort.is_cancelled()
    }

    /// Notes what we are at; the token tells when it is not wanted any more.
    fn begin(&self, work_request: i64) -> CancellationToken {
        let cancel = CancellationToken::new();
        *self.current() = Some((work_request, cancel.clone()));
        cancel
    }

    fn end(&self) {
        *self.current() = None;
    }

    /// The server takes a work request from us.
    pub(crate) fn abort(&self, work_request: i64) {
        match &*self.current() {
            Some((id, cancel)) if *id == work_request => {
                tracing::info!(work_request, "aborted by the server");
                cancel.cancel();
            }
            _ => tracing::debug!(work_request, "the server aborts what we do not run"),
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<(i64, CancellationToken)>> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
