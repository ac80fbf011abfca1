//! Running one command in a process group of its own: its output goes to a log and is streamed, and nothing of it
//! stays behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use walkdir::WalkDir;

use super::resources::Meter;
use super::{Host, Identity, LogStream};
use crate::capabilities::which;

/// Seconds between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How long output is still awaited from processes that left the group.
const DRAIN: Duration = Duration::from_secs(5);
/// The largest piece of the live log, in bytes, and the longest that a piece waits.
const CHUNK: usize = 64 * 1024;
const CHUNK_EVERY: Duration = Duration::from_secs(1);
/// What sh(1) does with a command that must be in its cgroup before it begins: it waits for a line. The shell's own
/// variables are not for the command.
const GATE: &str = r#"read -r go && unset go PWD && exec "$@" </dev/null"#;
const RULE: &str = "--------------------";

/// A command to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What the log shows in their place: the command inside of an instance.
    pub shown: Option<Vec<String>>,
    /// What it finds in its environment besides the rest.
    pub environment: BTreeMap<String, String>,
    /// A file name, in the working directory, for its standard output.
    pub capture: Option<String>,
    /// The ending of a file in the working directory that the command writes its log to: streamed as standard output.
    pub follow: Option<&'static str>,
}

/// Where a command runs.
pub(super) struct Place<'a> {
    pub directory: &'a Path,
    pub log: &'a Path,
    /// All variables that do not come from the command.
    pub environment: BTreeMap<String, String>,
    pub identity: Option<&'a Identity>,
    pub host: &'a dyn Host,
    pub cancel: &'a CancellationToken,
    pub meter: &'a Meter,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code, or the negative number of the signal that ended it; `None` if it was aborted.
    pub code: Option<i32>,
}

/// Quotes one word for sh(1), and only where that is needed, as the reference does it in its logs.
pub(crate) fn quote(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

/// A whole command, quoted.
pub(crate) fn quote_all(argv: &[String]) -> String {
    argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// Runs `command` to its end, or until it is cancelled; writes the command log.
pub(super) async fn run(command: &Command, place: &Place<'_>) -> io::Result<Ended> {
    let mut log = File::options().create(true).append(true).open(place.log)?;
    let output = match command.capture {
        None => "stdout and stderr",
        Some(_) => "stderr only, stdout was captured",
    };
    writeln!(log, "cmd: {}\noutput (contains {output}):", quote_all(command.shown.as_ref().unwrap_or(&command.argv)))?;
    let (ended, aborted) = stream(command, place, &mut log).await?;
    let code = ended.code.map_or("None".to_owned(), |code| code.to_string());
    let aborted = if aborted { "True" } else { "False" };
    write!(log, "\naborted: {aborted}\nreturncode: {code}\n\nFiles in working directory:\n")?;
    for path in files_below(place.directory) {
        writeln!(log, "{path}")?;
    }
    writeln!(log, "{RULE}")?;
    if let Some(name) = &command.capture {
        io::copy(&mut File::open(place.directory.join(name))?, &mut log)?;
        writeln!(log, "\n{RULE}")?;
    }
    place.host.log_end(ended.code.filter(|code| *code >= 0).unwrap_or(-1));
    Ok(ended)
}

/// Spawns, streams, reaps, and kills what is left of the group.
async fn stream(command: &Command, place: &Place<'_>, log: &mut File) -> io::Result<(Ended, bool)> {
    let Some(program) = command.argv.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program to run"));
    };
    let cannot_run = |error: io::Error| io::Error::new(error.kind(), format!("cannot run {program}: {error}"));
    let (out_reader, out_writer) = output_pipe(place)?;
    let mut prepared = prepare(command, place).map_err(cannot_run)?;
    prepared
        .env_clear()
        .envs(&place.environment)
        .envs(&command.environment)
        .current_dir(place.directory)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(identity) = place.identity {
        prepared.uid(identity.uid).gid(identity.gid);
    }
    let mut captured = None;
    let mut error_reader = None;
    if let Some(name) = &command.capture {
        let (reader, writer) = output_pipe(place)?;
        prepared.stderr(writer);
        error_reader = Some(receiver(reader.into())?);
        captured = Some(File::create(place.directory.join(name))?);
    } else {
        prepared.stderr(out_writer.try_clone()?);
    }
    prepared.stdout(out_writer);
    let mut out_reader = Some(receiver(out_reader.into())?);
    let mut child = prepared.spawn().map_err(cannot_run)?;
    // The writing ends of the pipes are in there; while they are open the pipes do not end.
    drop(prepared);
    let mut group = Group::of(&child);
    if let Some(pid) = child.id() {
        place.meter.begin(pid);
    }
    let mut end = Some(place.meter.end_of(child.id()));
    if let Some(mut gate) = child.stdin.take() {
        gate.write_all(b"\n").await.map_err(cannot_run)?;
    }

    let mut live = Live { host: place.host, stream: LogStream::Stdout, buffer: Vec::new() };
    let mut tail = command.follow.map(|suffix| Tail { directory: place.directory, suffix, file: None });
    let (mut out, mut error) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    let mut ticker = tokio::time::interval(CHUNK_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
    let (mut kill_at, mut drain_until) = (far, far);
    let mut status: Option<ExitStatus> = None;
    let mut aborted = false;
    let mut passed = None;
    while status.is_none() || out_reader.is_some() || error_reader.is_some() {
        tokio::select! {
            count = read(&mut out_reader, &mut out), if out_reader.is_some() => {
                if count? == 0 {
                    out_reader = None;
                }
                match &mut captured {
                    Some(file) => file.write_all(&out)?,
                    None => log.write_all(&out)?,
                }
                live.add(LogStream::Stdout, &out);
                out.clear();
            }
            count = read(&mut error_reader, &mut error), if error_reader.is_some() => {
                if count? == 0 {
                    error_reader = None;
                }
                log.write_all(&error)?;
                live.add(LogStream::Stderr, &error);
                error.clear();
            }
            ended = ended(&mut child, &mut end, place.meter), if status.is_none() => {
                status = Some(ended?);
                // Stragglers would keep the pipes open, and the machine busy.
                group.kill_for_good();
                drain_until = Instant::now() + DRAIN;
            }
            () = place.cancel.cancelled(), if !aborted && status.is_none() => {
                aborted = true;
                group.terminate_leader();
                kill_at = Instant::now() + GRACE;
            }
            limit = place.meter.limit_passed(), if passed.is_none() && !aborted && status.is_none() => {
                passed = Some(limit);
                group.terminate_leader();
                kill_at = Instant::now() + GRACE;
            }
            () = tokio::time::sleep_until(kill_at), if status.is_none() => {
                group.kill();
                place.meter.kill();
                kill_at = far;
            }
            () = tokio::time::sleep_until(drain_until), if status.is_some() => break,
            _ = ticker.tick() => {
                if let Some(tail) = &mut tail {
                    tail.pass_on(&mut live)?;
                }
                live.flush(false);
            }
        }
    }
    if let Some(tail) = &mut tail {
        tail.pass_on(&mut live)?;
    }
    live.flush(true);
    if let Some(passed) = place.meter.passed() {
        writeln!(log, "\n{}", passed.message())?;
    }
    let code = status.filter(|_| !aborted).and_then(|status| status.code().or_else(|| Some(-status.signal()?)));
    Ok((Ended { code }, aborted))
}

/// A pipe that belongs to the command's user: some commands open `/dev/stderr` once more (autopkgtest does), and a pipe
/// can be opened only by its owner.
fn output_pipe(place: &Place<'_>) -> io::Result<(io::PipeReader, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    if let Some(identity) = place.identity {
        fchown(&writer, Some(identity.uid), Some(identity.gid))?;
    }
    Ok((reader, writer))
}

/// Waits for the command, after its resources were counted.
async fn ended(child: &mut Child, end: &mut Option<JoinHandle<()>>, meter: &Meter) -> io::Result<ExitStatus> {
    if let Some(counted) = end {
        counted.await.map_err(io::Error::other)?;
        *end = None;
    }
    let status = child.wait().await?;
    meter.forget();
    Ok(status)
}

/// The program with its arguments; behind the [`GATE`] if it must wait for its cgroup.
fn prepare(command: &Command, place: &Place<'_>) -> io::Result<tokio::process::Command> {
    let (program, arguments) = (&command.argv[0], &command.argv[1..]);
    if !place.meter.has_cgroup() {
        let mut prepared = tokio::process::Command::new(program);
        prepared.args(arguments).stdin(Stdio::null());
        return Ok(prepared);
    }
    let path = command.environment.get("PATH").or_else(|| place.environment.get("PATH")).map_or("", String::as_str);
    // The shell would tell that with an exit code.
    if !program.contains('/') && which(path, program).is_none() {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error()));
    }
    let mut prepared = tokio::process::Command::new("/bin/sh");
    prepared.args(["-c", GATE, "sh"]).args(&command.argv).stdin(Stdio::piped());
    Ok(prepared)
}

fn receiver(reader: OwnedFd) -> io::Result<Receiver> {
    Receiver::from_owned_fd(reader)
}

/// Reads what is there into `buffer`; 0 is the end.
async fn read(reader: &mut Option<Receiver>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    match reader {
        Some(reader) => reader.read_buf(buffer).await,
        None => Ok(0),
    }
}

/// The process group of a command; killed whole when it goes out of scope, also when the task panics or is dropped.
pub(super) struct Group(Option<Pid>);

impl Group {
    /// Of a command that leads one.
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    fn terminate_leader(&self) {
        if let Some(leader) = self.0 {
            // It may have ended in this moment, which is as well.
            let _ = kill_process(leader, Signal::TERM);
        }
    }

    pub fn kill(&self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Kills what is left after the leader was reaped; from then on the id may belong to others.
    pub fn kill_for_good(&mut self) {
        self.kill();
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The newest regular file in `directory` whose name ends in `suffix`; links do not count.
pub(crate) fn newest_file(directory: &Path, suffix: &str) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().ends_with(suffix) || !entry.file_type()?.is_file() {
            continue;
        }
        // Names count too, for two files within one tick of the file system's clock.
        let candidate = (entry.metadata()?.modified()?, name);
        if newest.as_ref().is_none_or(|newest| *newest < candidate) {
            newest = Some(candidate);
        }
    }
    Ok(newest.map(|(_, name)| directory.join(name)))
}

/// A log that the command writes to a file while it runs.
struct Tail<'a> {
    directory: &'a Path,
    suffix: &'static str,
    file: Option<File>,
}

impl Tail<'_> {
    /// Passes on what the file has more than last time.
    fn pass_on(&mut self, live: &mut Live<'_>) -> io::Result<()> {
        if self.file.is_none()
            && let Some(path) = newest_file(self.directory, self.suffix)?
        {
            // Between the look and the opening it may have become a link to elsewhere.
            let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
            self.file = Some(File::options().read(true).custom_flags(flags).open(path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut piece = vec![0; CHUNK];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                count => live.add(LogStream::Stdout, &piece[..count]),
            }
        }
    }
}

/// The live log of a command: pieces of at most [`CHUNK`] bytes or one second, cut between characters.
struct Live<'a> {
    host: &'a dyn Host,
    stream: LogStream,
    buffer: Vec<u8>,
}

impl Live<'_> {
    fn add(&mut self, stream: LogStream, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if stream != self.stream {
            self.flush(true);
            self.stream = stream;
        }
        self.buffer.extend_from_slice(data);
        while self.buffer.len() >= CHUNK {
            self.send(CHUNK - incomplete_tail(&self.buffer[..CHUNK]));
        }
    }

    /// Sends what is buffered; half a character at the end waits for its other half unless this is `last`.
    fn flush(&mut self, last: bool) {
        let tail = if last { 0 } else { incomplete_tail(&self.buffer) };
        self.send(self.buffer.len() - tail);
    }

    fn send(&mut self, length: usize) {
        if length > 0 {
            self.host.log(self.stream, &self.buffer[..length]);
            self.buffer.drain(..length);
        }
    }
}

/// How many bytes at the end are the beginning of a UTF-8 character (at most 3).
fn incomplete_tail(bytes: &[u8]) -> usize {
    let window = &bytes[bytes.len().saturating_sub(3)..];
    let Some(position) = window.iter().rposition(|byte| byte & 0xC0 != 0x80) else { return 0 };
    let length = match window[position] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let present = window.len() - position;
    if length > present { present } else { 0 }
}

/// The relative paths of everything below `directory`, sorted.
fn files_below(directory: &Path) -> Vec<String> {
    let entries = WalkDir::new(directory).min_depth(1).into_iter().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| entry.path().strip_prefix(directory).ok().map(Path::to_owned)).collect();
    paths.sort();
    paths.iter().map(|path| path.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use futures::future::BoxFuture;

    use super::*;
    use crate::run::{ArtifactInfo, HostError, Surroundings};

    #[test]
    fn words_are_quoted_like_in_the_reference() {
        assert_eq!(quote("--dist=bookworm"), "--dist=bookworm");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), "'it'\"'\"'s'");
        assert_eq!(quote("ü"), "'ü'");
    }

    #[test]
    fn characters_are_not_cut() {
        assert_eq!(incomplete_tail("aé".as_bytes()), 0);
        assert_eq!(incomplete_tail(b"a\xc3"), 1);
        assert_eq!(incomplete_tail(b"\xe2\x82"), 2);
        assert_eq!(incomplete_tail(b"\xf0\x9f\x92"), 3);
        assert_eq!(incomplete_tail(b"\xf0\x9f\x92\xa9"), 0);
        assert_eq!(incomplete_tail(b"\xff"), 0);
        assert_eq!(incomplete_tail(b""), 0);
    }

    /// Notes what is streamed.
    #[derive(Default)]
    struct Ear(std::sync::Mutex<Vec<(LogStream, Vec<u8>)>>);

    impl Host for Ear {
        fn artifact(&self, id: i64) -> BoxFuture<'_, Result<ArtifactInfo, HostError>> {
            Box::pin(async move { Err(HostError::Artifact { id, reason: "none here".into() }) })
        }

        fn download(&self, id: i64, _: PathBuf) -> BoxFuture<'_, Result<ArtifactInfo, HostError>> {
            self.artifact(id)
        }

        fn image(&self, id: i64) -> BoxFuture<'_, Result<(ArtifactInfo, PathBuf), HostError>> {
            Box::pin(async move { Err(HostError::Artifact { id, reason: "none here".into() }) })
        }

        fn fetch_url<'a>(&'a self, url: &'a str, _: u64, _: &'a Path) -> BoxFuture<'a, Result<(), HostError>> {
            Box::pin(async move { Err(HostError::Url { url: url.into(), reason: "none here".into() }) })
        }

        fn log(&self, stream: LogStream, data: &[u8]) {
            self.0.lock().unwrap().push((stream, data.to_vec()));
        }

        fn log_end(&self, _: i32) {}

        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
    }

    async fn shell(script: &str, capture: Option<&str>, ear: &Ear) -> (Ended, Vec<u8>) {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        execute(Command { argv, capture: capture.map(str::to_owned), ..Command::default() }, ear).await
    }

    async fn execute(command: Command, ear: &Ear) -> (Ended, Vec<u8>) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("exec");
        std::fs::create_dir(&directory).unwrap();
        let log = root.path().join("log");
        let place = Place {
            directory: &directory,
            log: &log,
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            identity: None,
            host: ear,
            cancel: &CancellationToken::new(),
            meter: &Meter::start(&Surroundings::of_test(&directory)),
        };
        let ended = run(&command, &place).await.unwrap();
        (ended, std::fs::read(log).unwrap())
    }

    #[tokio::test]
    async fn a_captured_output_is_appended_to_the_log() {
        let ear = Ear::default();
        let script = "echo this is the output; echo second line; sleep 0.3; printf 'this is stderr\\n\\377' >&2";
        let (ended, log) = shell(script, Some("stdout.txt"), &ear).await;
        assert_eq!(ended.code, Some(0));
        let mut expected =
            format!("cmd: sh -c {}\noutput (contains stderr only, stdout was captured):\n", quote(script)).into_bytes();
        expected.extend_from_slice(
            b"this is stderr\n\xff\naborted: False\nreturncode: 0\n\nFiles in working directory:\nstdout.txt\n\
              --------------------\nthis is the output\nsecond line\n\n--------------------\n",
        );
        assert_eq!(String::from_utf8_lossy(&log), String::from_utf8_lossy(&expected));
        assert_eq!(log, expected);
        let heard = ear.0.lock().unwrap();
        assert_eq!(heard[0], (LogStream::Stdout, b"this is the output\nsecond line\n".to_vec()));
        assert_eq!(heard[1], (LogStream::Stderr, b"this is stderr\n\xff".to_vec()));
    }

    #[tokio::test]
    async fn the_live_log_comes_in_pieces_of_whole_characters() {
        let ear = Ear::default();
        let (_, _) = shell("yes \u{20ac}\u{20ac} | head -c 300000; exit 3", None, &ear).await;
        let heard = ear.0.lock().unwrap();
        let sizes: Vec<usize> = heard.iter().map(|(_, piece)| piece.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 300_000);
        assert!(sizes.len() >= 5 && sizes.iter().all(|size| *size <= CHUNK), "{sizes:?}");
        let (last, whole) = heard.split_last().unwrap();
        assert!(whole.iter().all(|(_, piece)| std::str::from_utf8(piece).is_ok()));
        assert!(last.1.len() <= CHUNK);
    }

    #[tokio::test]
    async fn a_log_in_a_file_is_followed() {
        let ear = Ear::default();
        let script = "ln -s /etc/passwd x.build; echo one > y.build; sleep 1.5; printf two >> y.build";
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let (ended, log) = execute(Command { argv, follow: Some(".build"), ..Command::default() }, &ear).await;
        assert_eq!(ended.code, Some(0));
        let heard: Vec<_> = ear.0.lock().unwrap().iter().map(|(_, data)| data.clone()).collect();
        assert!(heard.len() >= 2, "while it runs: {heard:?}");
        assert_eq!(heard.concat(), b"one\ntwo");
        assert!(!String::from_utf8(log).unwrap().contains("two\n"), "the command log has only what was printed");
    }

    #[tokio::test]
    async fn a_signal_is_a_negative_code() {
        let (ended, log) = shell("kill -9 $$", None, &Ear::default()).await;
        assert_eq!(ended.code, Some(-9));
        assert!(String::from_utf8(log).unwrap().contains("aborted: False\nreturncode: -9\n"));
    }
}
