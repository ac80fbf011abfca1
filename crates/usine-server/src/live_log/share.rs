//! Live logs among several servers. The worker's server writes the file, and tells the database what is new in it at least
//! every second. A server where somebody reads a log takes from there what its own file lacks. So the file has the same
//! bytes everywhere, and whoever reads it need not know where the worker is.
//!
//! When a worker moves to another server, that one goes on with the log where the database ends. What its first server had not
//! told yet is lost if that server is dead, and comes after the rest if it is not: two pieces cannot begin at one place.

use std::io::{self, SeekFrom};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval, sleep};
use usine_db::{Database, Engine, LiveLogManager};

use super::{LiveLogs, Log};
use crate::state::AppState;

/// What is new is told, and what others have told is looked for, this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a piece, if its lines are not longer.
const PIECE: u64 = 256 << 10;

/// Pieces read at once.
const BATCH: u64 = 16;

/// Logs that are told at once.
const AT_ONCE: usize = 8;

/// Logs whose lengths are asked for at once.
const LENGTHS: usize = 500;

/// The end of a log that another server writes is waited for this often.
const END: Duration = Duration::from_millis(200);
const ENDS: u32 = 10;

/// Tells and takes, for as long as the server runs.
pub async fn exchange(state: AppState) {
    let logs = &state.live_logs;
    let mut tick = interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !state.shutdown.is_cancelled() {
        tokio::select! {
            () = state.shutdown.cancelled() => {}
            () = logs.inner.wake.notified() => {}
            _ = tick.tick() => {}
        }
        logs.exchange(state.now()).await;
    }
}

fn failed(error: usine_db::Error) -> io::Error {
    io::Error::other(error)
}

impl LiveLogs {
    /// The same logs, which may be shared by the servers on this database.
    pub fn of(&self, database: &Database) -> Self {
        let database = Some(database.clone()).filter(|database| database.backend() == Engine::Postgres);
        Self::new(self.inner.directory.clone(), self.inner.limit, database)
    }

    /// There are other servers: from now on logs are shared.
    pub fn share(&self) {
        self.inner.shared.store(self.inner.database.is_some(), Ordering::Relaxed);
    }

    /// Whether logs are shared with other servers.
    pub fn is_shared(&self) -> bool {
        self.inner.shared.load(Ordering::Relaxed)
    }

    /// Makes the files agree with what other servers have done since this one ended.
    pub async fn begin(&self, now: DateTime<Utc>) -> io::Result<()> {
        let Some(database) = &self.inner.database else { return Ok(()) };
        let manager = LiveLogManager(database);
        if !manager.any().await.map_err(failed)? {
            return Ok(());
        }
        self.share();
        let mut entries = tokio::fs::read_dir(&self.inner.directory).await?;
        let mut files = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|id| id.parse::<i64>().ok());
            files.extend(id.zip(Some(entry.metadata().await?.len())));
        }
        for batch in files.chunks(LENGTHS) {
            let ids: Vec<i64> = batch.iter().map(|(id, _)| *id).collect();
            let lengths = manager.lengths(&ids).await.map_err(failed)?;
            for (id, length) in batch {
                match lengths.get(id) {
                    None => {}
                    // Its end may be another one than the others have.
                    Some(known) if known > length => tokio::fs::remove_file(self.path(*id)).await?,
                    Some(known) if known < length => self.tell_rest(*id, *known, now).await?,
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// This server ended before it had told all.
    async fn tell_rest(&self, id: i64, known: u64, now: DateTime<Utc>) -> io::Result<()> {
        let path = self.path(id);
        let mut rest = read(&path, known, u64::MAX).await?;
        // A crash may have left half a line.
        rest.truncate(memchr::memrchr(b'\n', &rest).map_or(0, |end| end + 1));
        let length = known + rest.len() as u64;
        File::options().write(true).open(&path).await?.set_len(length).await?;
        self.push(id, &Log::new(length, Some(known)), now).await
    }

    /// One exchange of all logs that are written or read here. What fails is tried again with the next one.
    async fn exchange(&self, now: DateTime<Utc>) {
        if !self.is_shared() {
            return;
        }
        let open: Vec<(i64, Arc<Log>)> = {
            let open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.iter().map(|(id, log)| (*id, log.clone())).collect()
        };
        let ended = std::mem::take(&mut *self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner));
        stream::iter(open)
            .for_each_concurrent(AT_ONCE, async |(id, log)| {
                let done = if log.written.load(Ordering::Relaxed) { self.push(id, &log, now).await } else { Ok(()) };
                let done = match done {
                    Ok(()) if log.length.receiver_count() > 0 => self.pull(id, &log).await.map(drop),
                    other => other,
                };
                if let Err(error) = done {
                    tracing::warn!(work_request = id, %error, "cannot exchange a live log with other servers");
                }
            })
            .await;
        // What was only looked at.
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, log| {
            log.written.load(Ordering::Relaxed) || log.length.receiver_count() > 0 || Arc::strong_count(log) > 1
        });
        for (id, log) in ended {
            if let Err(error) = self.end(id, &log, now).await {
                tracing::warn!(work_request = id, %error, "cannot tell other servers the end of a live log");
                self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner).push((id, log));
            }
        }
    }

    async fn end(&self, id: i64, log: &Log, now: DateTime<Utc>) -> io::Result<()> {
        self.push(id, log, now).await?;
        let Some(database) = &self.inner.database else { return Ok(()) };
        let length = *log.length.borrow();
        // If another server goes on with it, that one will end it.
        LiveLogManager(database).add(id, length, b"", now).await.map_err(failed)?;
        Ok(())
    }

    /// Takes what other servers have told of a log; whether they said that it has ended. Its file need not be open.
    pub(super) async fn refresh(&self, id: i64) -> io::Result<bool> {
        if !self.is_shared() {
            return Ok(false);
        }
        let log = self.log(id).await?;
        let outcome = self.pull(id, &log).await;
        let mut open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        // This one, and that in the map.
        if Arc::strong_count(&log) == 2 && !log.written.load(Ordering::Relaxed) {
            open.remove(&id);
        }
        outcome
    }

    /// Waits until the end of a log is here, of which is known that it has ended; not for ever.
    pub async fn settled(&self, id: i64) {
        for _ in 0..ENDS {
            let here = self.is_written_here(id);
            if here || !self.is_shared() || self.refresh(id).await.unwrap_or_default() {
                return;
            }
            sleep(END).await;
        }
    }

    fn is_written_here(&self, id: i64) -> bool {
        let open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&id).is_some_and(|log| log.written.load(Ordering::Relaxed))
            || ended.iter().any(|(other, _)| *other == id)
    }

    /// Takes from the database what the file lacks; whether the log has ended there.
    pub(super) async fn pull(&self, id: i64, log: &Log) -> io::Result<bool> {
        let Some(database) = &self.inner.database else { return Ok(false) };
        let mut told = log.told.lock().await;
        loop {
            let from = *log.length.borrow();
            let pieces = LiveLogManager(database).pieces(id, from, BATCH).await.map_err(failed)?;
            let more = pieces.len() as u64 == BATCH;
            let mut file = log.file.lock().await;
            let mut length = *log.length.borrow();
            if length != from {
                // It is being written here.
                return Ok(false);
            }
            for piece in pieces {
                if piece.begin_at.unsigned_abs() != length {
                    return Ok(false);
                }
                if piece.data.is_empty() {
                    return Ok(true);
                }
                let file = self.open_file(id, &mut file).await?;
                file.write_all(&piece.data).await?;
                file.flush().await?;
                length += piece.data.len() as u64;
                log.length.send_replace(length);
                *told = Some(length);
            }
            if !more {
                return Ok(false);
            }
        }
    }

    /// Tells the database what it lacks.
    async fn push(&self, id: i64, log: &Log, now: DateTime<Utc>) -> io::Result<()> {
        let Some(database) = &self.inner.database else { return Ok(()) };
        let manager = LiveLogManager(database);
        loop {
            let mut told = log.told.lock().await;
            let begin = match *told {
                Some(begin) => begin,
                None => {
                    let known = manager.lengths(&[id]).await.map_err(failed)?.remove(&id).unwrap_or(0);
                    // What was here before this server wrote is as others have it.
                    *told.insert(known.min(log.start))
                }
            };
            let end = *log.length.borrow();
            if begin >= end {
                return Ok(());
            }
            let piece = lines(&self.path(id), begin, end).await?;
            if manager.add(id, begin, &piece, now).await.map_err(failed)? {
                *told = Some(begin + piece.len() as u64);
                continue;
            }
            if manager.pieces(id, begin, 1).await.map_err(failed)?.is_empty() {
                // The work request has been deleted.
                *told = Some(end);
                return Ok(());
            }
            drop(told);
            self.go_on_after_others(id, log, begin).await?;
        }
    }

    /// Another server has gone on with the log from `begin`: what was written here comes after that.
    async fn go_on_after_others(&self, id: i64, log: &Log, begin: u64) -> io::Result<()> {
        let own = {
            let mut file = log.file.lock().await;
            let end = *log.length.borrow();
            let own = read(&self.path(id), begin, end).await?;
            self.open_file(id, &mut file).await?.set_len(begin).await?;
            log.length.send_replace(begin);
            own
        };
        let outcome = self.pull(id, log).await;
        let mut file = log.file.lock().await;
        let file = self.open_file(id, &mut file).await?;
        file.write_all(&own).await?;
        file.flush().await?;
        log.length.send_modify(|length| *length += own.len() as u64);
        outcome.map(drop)
    }
}

async fn read(path: &std::path::Path, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(begin)).await?;
    let mut bytes = Vec::new();
    file.take(end.saturating_sub(begin)).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Whole lines from `begin` on: as many as a piece has, or one. At `end` is the end of a line.
async fn lines(path: &std::path::Path, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut size = PIECE;
    loop {
        let mut bytes = read(path, begin, end.min(begin + size)).await?;
        if let Some(last) = memchr::memrchr(b'\n', &bytes) {
            bytes.truncate(last + 1);
            return Ok(bytes);
        }
        if begin + size >= end {
            return Ok(bytes);
        }
        size *= 2;
    }
}
