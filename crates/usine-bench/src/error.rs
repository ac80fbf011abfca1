//! What can go wrong with a measurement: then there is no number.

use std::io;

use http::StatusCode;

/// Why a measurement was given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, a directory or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The connection to the server.
    #[error("{call}: {problem}")]
    Connection {
        /// What was asked.
        call: String,
        /// What happened.
        problem: String,
    },
    /// The server answers, but not as it should.
    #[error("{call}: the server answers {status}: {body}")]
    Refused {
        /// What was asked.
        call: String,
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        body: String,
    },
    /// The server did not start, ended, or wrote an error into its log.
    #[error("the server {what}:\n{log}")]
    Server {
        /// What it did.
        what: String,
        /// The last lines of its log, or those that tell of errors.
        log: String,
    },
    /// The counts do not agree: work requests were lost, done twice, or left.
    #[error("the counts do not agree: {0}")]
    Inconsistent(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] usine_db::Error),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
}

/// The outcome of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the system, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An error of a connection, with what was asked.
    pub(crate) fn connection(call: impl Into<String>, problem: impl ToString) -> Self {
        Self::Connection { call: call.into(), problem: problem.to_string() }
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Database(error.into())
    }
}
