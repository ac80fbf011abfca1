//! What can go wrong between here and the server, in the words that Debian's client uses.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use usine_model::token::TokenHash;
use usine_protocol::problem::Problem;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server says what is wrong (`application/problem+json`, whatever the status).
    #[error("Error ({status}): {problem}")]
    Problem {
        /// HTTP status.
        status: u16,
        /// What the server says.
        problem: Box<Problem>,
        /// Seconds or date of `Retry-After`, if it was seconds.
        retry_after: Option<Duration>,
    },
    /// 404 without a problem body.
    #[error("Not found ({url}){}", if body.is_empty() { String::new() } else { format!(" (server: {body})") })]
    NotFound {
        /// What was asked for.
        url: String,
        /// The beginning of the answer, if it is plain text.
        body: String,
    },
    /// 403 without a problem body. The token itself is not shown, unlike in the original: this text ends in logs.
    #[error("Server rejected connection: HTTP 403. {}", forbidden(token, body))]
    Forbidden {
        /// What was asked for.
        url: String,
        /// Hash of the token that was sent.
        token: Option<TokenHash>,
        /// The beginning of the answer, if it is plain text.
        body: String,
    },
    /// No connection, or it broke.
    #[error("Error connecting to debusine: Cannot connect to {url}. Error: {}", chain(source.as_ref()))]
    Connect {
        /// What was asked for.
        url: String,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Nothing heard within the time limit.
    #[error("Error connecting to debusine: no answer from {url} in time")]
    Timeout {
        /// What was asked for.
        url: String,
    },
    /// A status that this call does not have.
    #[error("Server returned unexpected status code: {status} ({url})")]
    UnexpectedStatus {
        /// HTTP status.
        status: u16,
        /// What was asked for.
        url: String,
        /// Seconds of `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the protocol says.
    #[error("Server ({url}) did not return valid object. Error: {message}")]
    InvalidBody {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        message: String,
    },
    /// An address that cannot be used.
    #[error("{url:?} is not a usable address: {message}; expected something like https://debusine.example.org/api")]
    InvalidUrl {
        /// The address.
        url: String,
        /// Why.
        message: String,
    },
    /// A token or scope that cannot be put in an HTTP header.
    #[error("the {0} has characters that HTTP does not allow in a header; check the configuration file")]
    InvalidHeader(&'static str),
    /// A local file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that arrived is not the file that was announced.
    #[error("{url} is not the file that the server announced: expected {expected}, got {actual}")]
    HashMismatch {
        /// Where it came from.
        url: String,
        /// Size and SHA-256 announced.
        expected: String,
        /// Size and SHA-256 received.
        actual: String,
    },
    /// A file changed under our hands, or its artifact was announced with other facts.
    #[error("{}: has {actual} bytes, but was announced with {expected}; was it changed meanwhile?", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
        /// Bytes announced.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// TLS or the HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn invalid_body(url: &str, message: impl ToString) -> Self {
        Self::InvalidBody { url: url.to_owned(), message: message.to_string() }
    }

    pub(crate) fn from_reqwest(url: &str, error: reqwest::Error) -> Self {
        let url = url.to_owned();
        if error.is_timeout() {
            Self::Timeout { url }
        } else if error.is_builder() {
            Self::InvalidUrl { url, message: chain(&error.without_url()) }
        } else {
            Self::Connect { url, source: Box::new(error.without_url()) }
        }
    }

    /// HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { status, .. } | Self::UnexpectedStatus { status, .. } => Some(*status),
            Self::NotFound { .. } => Some(404),
            Self::Forbidden { .. } => Some(403),
            _ => None,
        }
    }

    /// Whether the same call may well succeed later: no connection, no answer in time, 429, 5xx.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } => true,
            other => other.status().is_some_and(|status| status == 429 || (500..600).contains(&status)),
        }
    }

    /// Whether the server says that the thing is not there, or not ours: 403 or 404.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status(), Some(403 | 404))
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } | Self::UnexpectedStatus { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn forbidden(token: &Option<TokenHash>, body: &str) -> String {
    let text = match token {
        Some(hash) => format!("Token (hash {hash}) is invalid or disabled"),
        None => "No token was sent".to_owned(),
    };
    if body.is_empty() { text } else { format!("{text} (server: {body})") }
}

/// An error with all its causes, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.dedup();
    texts.join(": ")
}
