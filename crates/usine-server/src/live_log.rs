//! Logs of running work requests: appended to files as they come, followed while they grow, kept for some hours.
//!
//! One file for each work request, one JSON message a line, in the form that followers get. A crash loses nothing that was
//! written; a file that reaches its limit ends with a line that says so.

mod record;
mod share;

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, watch};
use tokio_util::io::ReaderStream;
use usine_db::Database;
use usine_protocol::channel::{LogMessage, LogStream};

pub(crate) use record::{Record, Records};
pub use share::exchange;

/// Bytes of a log that are read at a time.
pub(crate) const BUFFER: usize = 256 * 1024;

/// The logs of all work requests.
#[derive(Clone)]
pub struct LiveLogs {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    limit: u64,
    open: Mutex<HashMap<i64, Arc<Log>>>,
    /// Logs that have ended and must be told to other servers to their end.
    ended: Mutex<Vec<(i64, Arc<Log>)>>,
    /// There is a new one among these.
    wake: Notify,
    /// Where other servers are told of logs, if there can be any.
    database: Option<Database>,
    /// Whether there are, or were of late.
    shared: AtomicBool,
}

/// A log that is being written or followed.
struct Log {
    file: tokio::sync::Mutex<Option<File>>,
    /// Bytes that followers may read: always the end of a line.
    length: watch::Sender<u64>,
    /// Bytes there were when it was opened.
    start: u64,
    /// Whether a worker writes it here.
    written: AtomicBool,
    /// Bytes that other servers know, as far as this is known. Held while bytes are exchanged.
    told: tokio::sync::Mutex<Option<u64>>,
}

impl Log {
    fn new(length: u64, told: Option<u64>) -> Self {
        Self {
            file: tokio::sync::Mutex::new(None),
            length: watch::Sender::new(length),
            start: length,
            written: AtomicBool::new(false),
            told: tokio::sync::Mutex::new(told),
        }
    }
}

impl LiveLogs {
    /// Logs in a directory, each of at most `limit` bytes.
    pub async fn open(directory: PathBuf, limit: u64) -> io::Result<Self> {
        tokio::fs::create_dir_all(&directory).await?;
        Ok(Self::new(directory, limit, None))
    }

    fn new(directory: PathBuf, limit: u64, database: Option<Database>) -> Self {
        let inner = Inner {
            directory,
            limit,
            open: Mutex::default(),
            ended: Mutex::default(),
            wake: Notify::new(),
            database,
            shared: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a message to the log of a work request and wakes its followers.
    pub async fn append(&self, work_request: i64, message: &LogMessage) -> io::Result<()> {
        let log = self.log(work_request).await?;
        if !log.written.swap(true, Ordering::Relaxed)
            && self.is_shared()
            && let Err(error) = self.pull(work_request, &log).await
        {
            // The log must go on; what another server has of it is put before this when that can be told.
            tracing::warn!(work_request, %error, "cannot see what other servers have of a live log");
        }
        let mut guard = log.file.lock().await;
        let fresh = guard.is_none();
        let file = self.open_file(work_request, &mut guard).await?;
        if fresh {
            log.length.send_replace(file.metadata().await?.len());
        }
        let length = *log.length.borrow();
        if length >= self.inner.limit {
            return Ok(());
        }
        let mut line = serde_json::to_vec(message)?;
        if length + line.len() as u64 >= self.inner.limit {
            line = serde_json::to_vec(&full(message, self.inner.limit))?;
            // What comes now is not written any more, and the length says so.
            line.resize(line.len().max(usize::try_from(self.inner.limit - length).unwrap_or(0)), b' ');
        }
        line.push(b'\n');
        file.write_all(&line).await?;
        file.flush().await?;
        log.length.send_replace(length + line.len() as u64);
        Ok(())
    }

    async fn open_file<'a>(&self, work_request: i64, file: &'a mut Option<File>) -> io::Result<&'a mut File> {
        Ok(match file {
            Some(file) => file,
            empty => {
                let path = self.path(work_request);
                empty.insert(OpenOptions::new().create(true).append(true).open(path).await?)
            }
        })
    }

    /// Everything from the beginning, and on as it grows.
    pub async fn follow(&self, work_request: i64) -> io::Result<Follower> {
        let watch = self.watch(work_request).await?;
        Ok(Follower { path: self.path(work_request), watch, reader: None, at: 0 })
    }

    /// Tells when the log of a work request grows.
    pub async fn watch(&self, work_request: i64) -> io::Result<Watch> {
        self.refresh(work_request).await?;
        let log = self.log(work_request).await?;
        Ok(Watch { length: log.length.subscribe(), _log: log })
    }

    /// Where the log of a work request is, and how many bytes of it may be read; `None` if none is kept.
    pub async fn kept(&self, work_request: i64) -> io::Result<Option<(PathBuf, u64)>> {
        self.refresh(work_request).await?;
        let path = self.path(work_request);
        let length = match tokio::fs::metadata(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?.len(),
        };
        // Of a file that is written to at this moment, the end may be half a message.
        let open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        let length = open.get(&work_request).map_or(length, |log| *log.length.borrow());
        Ok(Some((path, length)))
    }

    /// What is there now, as plain text; `None` if no log is kept.
    pub async fn text(
        &self,
        work_request: i64,
    ) -> io::Result<Option<impl Stream<Item = io::Result<Bytes>> + Send + 'static>> {
        self.refresh(work_request).await?;
        let file = match File::open(self.path(work_request)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut records = Records::starting_at(0);
        Ok(Some(ReaderStream::with_capacity(file, BUFFER).map(move |piece| {
            let mut text = Vec::new();
            let _ = records.feed(&piece?, |_, record| {
                text.extend_from_slice(record.data.as_bytes());
                ControlFlow::Continue(())
            });
            Ok(Bytes::from(text))
        })))
    }

    /// When the log of a work request was last written to.
    pub async fn last_written(&self, work_request: i64) -> Option<SystemTime> {
        tokio::fs::metadata(self.path(work_request)).await.and_then(|metadata| metadata.modified()).ok()
    }

    /// Deletes the logs that nobody has written to for `life` seconds.
    pub async fn sweep(&self, now: SystemTime, life: u32) -> io::Result<usize> {
        let mut removed = 0;
        let mut entries = tokio::fs::read_dir(&self.inner.directory).await?;
        while let Some(entry) = entries.next_entry().await? {
            let Ok(modified) = entry.metadata().await.and_then(|metadata| metadata.modified()) else { continue };
            let age = now.duration_since(modified).unwrap_or_default();
            if age > Duration::from_secs(u64::from(life)) && tokio::fs::remove_file(entry.path()).await.is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Closes the file of a work request that has ended. Followers read on to the end.
    pub fn close(&self, work_request: i64) {
        let mut open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_shared() {
            open.remove(&work_request);
        } else if open.get(&work_request).is_some_and(|log| log.written.load(Ordering::Relaxed))
            && let Some(log) = open.remove(&work_request)
        {
            self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner).push((work_request, log));
            self.inner.wake.notify_one();
        }
        // One that another server writes is still to grow to its end for those who read it here.
    }

    fn path(&self, work_request: i64) -> PathBuf {
        self.inner.directory.join(format!("{work_request}.jsonl"))
    }

    async fn log(&self, work_request: i64) -> io::Result<Arc<Log>> {
        if let Some(log) = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).get(&work_request) {
            return Ok(log.clone());
        }
        let length = length_of(&self.path(work_request)).await?;
        let fresh = || Arc::new(Log::new(length, None));
        let mut open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(open.entry(work_request).or_insert_with(fresh).clone())
    }
}

async fn length_of(path: &Path) -> io::Result<u64> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The last line of a log that has reached its limit.
fn full(message: &LogMessage, limit: u64) -> LogMessage {
    match message {
        LogMessage::LogData { timestamp, .. } | LogMessage::LogDataEnd { timestamp, .. } => LogMessage::LogData {
            data: format!("\n[server] the live log has reached its limit of {limit} bytes and ends here\n"),
            stream: LogStream::Internal,
            timestamp: *timestamp,
        },
        other => other.clone(),
    }
}

/// Somebody wants to know when a log grows.
pub struct Watch {
    length: watch::Receiver<u64>,
    _log: Arc<Log>,
}

impl Watch {
    /// Waits for more than there was at the last call.
    pub async fn changed(&mut self) {
        // The sender lives as long as this watch: an error cannot happen.
        let _ = self.length.changed().await;
    }
}

/// Somebody reads a log while it grows.
pub struct Follower {
    path: PathBuf,
    watch: Watch,
    reader: Option<BufReader<File>>,
    at: u64,
}

impl Follower {
    /// The next message that is there already, as a line of JSON; `None` if there is none yet.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        while self.at < *self.watch.length.borrow_and_update() {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                empty => empty.insert(BufReader::new(File::open(&self.path).await?)),
            };
            let mut line = String::new();
            let read = reader.read_line(&mut line).await?;
            if read == 0 {
                return Ok(None);
            }
            self.at += read as u64;
            let line = line.trim_end();
            if !line.is_empty() {
                return Ok(Some(line.to_owned()));
            }
        }
        Ok(None)
    }

    /// Waits for more.
    pub async fn changed(&mut self) {
        self.watch.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn line(text: &str) -> LogMessage {
        let timestamp = DateTime::from_timestamp(0, 0).unwrap();
        LogMessage::LogData { data: text.to_owned(), stream: LogStream::Stdout, timestamp }
    }

    #[tokio::test]
    async fn followers_see_all_from_the_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let logs = LiveLogs::open(directory.path().to_owned(), 1 << 20).await.unwrap();
        logs.append(7, &line("one\n")).await.unwrap();
        let mut follower = logs.follow(7).await.unwrap();
        assert!(follower.next_line().await.unwrap().unwrap().contains("one"));
        assert_eq!(follower.next_line().await.unwrap(), None);
        logs.append(7, &line("two\n")).await.unwrap();
        follower.changed().await;
        assert!(follower.next_line().await.unwrap().unwrap().contains("two"));

        // A restart loses nothing.
        let again = LiveLogs::open(directory.path().to_owned(), 1 << 20).await.unwrap();
        again.append(7, &line("three\n")).await.unwrap();
        let text: Vec<Bytes> = again.text(7).await.unwrap().unwrap().map(Result::unwrap).collect().await;
        assert_eq!(text.concat(), b"one\ntwo\nthree\n");
        assert!(again.text(8).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_log_without_end_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let logs = LiveLogs::open(directory.path().to_owned(), 400).await.unwrap();
        for _ in 0..50 {
            logs.append(7, &line("chatter\n")).await.unwrap();
        }
        let text: Vec<Bytes> = logs.text(7).await.unwrap().unwrap().map(Result::unwrap).collect().await;
        let text = String::from_utf8(text.concat()).unwrap();
        assert!(text.starts_with("chatter\n") && text.ends_with("limit of 400 bytes and ends here\n"), "{text}");
        assert_eq!(text.matches("limit").count(), 1);
    }
}
