//! The worker from start to end: prepare, register, stay connected, and do one thing after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use usine_client::{Client, NextWork, Options};
use usine_model::clock::Clock;
use usine_model::entropy::Entropy;
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;
use usine_protocol::work_request::{Completed, WorkRequest};
use usine_tasks::{Cgroups, Identity};

use crate::cache::{Cache, CacheError};
use crate::delivery::{Circumstances, Delivered, deliver};
use crate::lock::Lock;
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
    /// Where runs get their cgroups, if they can have some.
    pub cgroups: Option<Cgroups>,
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
    _lock: Lock,
}

/// Removes what earlier runs left in the working directory, and says how much that was. Blocks.
///
/// # Errors
/// If a worker uses the state directory at present, or something cannot be removed.
pub fn clean(config: &Config) -> Result<usize, WorkerError> {
    let _lock = Lock::take(&config.state_directory)?;
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
    let lock = Lock::take(&config.state_directory)?;
    let removed = workdir::clean(&config.working_directory)?;
    if removed > 0 {
        tracing::info!(removed, "removed directories of earlier runs");
    }
    let cgroups = Cgroups::open(&cgroup_tag(&config.working_directory));
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
        cgroups,
        spool,
        cache,
        logs: Arc::default(),
        wake: Notify::new(),
        online: Arc::default(),
        accepted: AtomicBool::new(false),
        current: Mutex::default(),
        _lock: lock,
    })
}

/// Tells the cgroups of this worker from those of others on the machine: the working directory is its own.
fn cgroup_tag(working_directory: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    hex::encode(&Sha256::digest(working_directory.as_os_str().as_bytes())[..4])
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
        deliver_entry(worker, entry, true, not_ours).await;
    }
    let mut back_off = worker.ground.tempo.back_off();
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
            if one(worker, work_request).await {
                back_off = worker.ground.tempo.back_off();
            } else {
                // What is wrong here is wrong for the next one, too; the server aborts what is handed out in vain.
                pause(worker, back_off.wait(None)).await;
            }
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
        pause(worker, wait).await;
        if worker.is_stopping() {
            return None;
        }
    }
}

/// Waits, unless asked to stop.
async fn pause(worker: &Worker, wait: Duration) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = worker.stop.drain.cancelled() => {}
        () = worker.stop.abort.cancelled() => {}
    }
}

/// Runs and delivers one. False: this machine could not run it, whatever it is.
async fn one(worker: &Arc<Worker>, work_request: WorkRequest) -> bool {
    let id = work_request.id;
    let cancel = worker.begin(id);
    let stopped = worker.stop.abort.clone();
    let stopping = cancel.clone();
    let (token, scope) = (work_request.token.clone(), work_request.scope.clone());
    // A task of its own: reading and hashing large files must not keep the connection waiting. It ends with this set.
    let mut job = JoinSet::new();
    let (ours, stop) = (Arc::clone(worker), cancel.clone());
    job.spawn(async move { job::run(&ours, work_request, &stop).await });
    let run = async {
        let ended = job.join_next().await.unwrap_or_else(|| Ok(Ok(None)));
        match ended.unwrap_or_else(|error| Err(WorkerError::Report { id, message: error.to_string() })) {
            Ok(Some(entry)) => deliver_entry(worker, entry, false, cancel.clone()).await,
            Ok(None) => {}
            Err(error) => {
                tracing::error!(work_request = id, %error, "cannot be run");
                if let Some(token) = token {
                    tokio::select! {
                        () = report_failure(worker, id, &token, &scope, &error) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                return false;
            }
        }
        true
    };
    let watch = async {
        stopped.cancelled().await;
        stopping.cancel();
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = run => done,
        () = watch => unreachable!("the watch has no end"),
    };
    worker.end();
    done
}

/// Reports, past the spool, what kept a work request from being run or its outcome from being kept.
async fn report_failure(worker: &Worker, id: i64, token: &str, scope: &str, error: &WorkerError) {
    let output_data = OutputData::error("setup-failed", format!("The worker cannot run it: {error}"));
    let completed = Completed { result: Results::Error, output_data };
    let reported = match worker.client.acting_as(Some(token), Some(scope)) {
        Ok(client) => client.complete(id, &completed).await,
        Err(error) => Err(error),
    };
    if let Err(error) = reported {
        tracing::error!(work_request = id, %error, "and that cannot be reported");
    }
}

async fn deliver_entry(worker: &Arc<Worker>, entry: Entry, resumed: bool, not_ours: CancellationToken) {
    let id = entry.manifest.work_request;
    let around = Circumstances {
        tempo: worker.ground.tempo,
        stop: worker.stop.abort.clone(),
        hurry: worker.stop.drain.clone(),
        not_ours,
        online: worker.online.clone(),
    };
    match deliver(&worker.client, entry, resumed, &around).await {
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
