//! Why the worker cannot begin or go on, with the exit status that says so to systemd.

use std::io;
use std::path::{Path, PathBuf};

/// The worker stops.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// There is no configuration directory.
    #[error("no configuration found: looked for {}; create one with an api-url", .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoConfiguration(Vec<PathBuf>),
    /// A configuration file that cannot be used.
    #[error("{}: {message}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Debusine's file is missing or unreadable.
    #[error("Cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Debusine's file lacks its section.
    #[error("Missing required section \"General\" in the configuration file ({})", .0.display())]
    NoGeneral(PathBuf),
    /// Debusine's file lacks the address.
    #[error("Missing required key \"api-url\" in General section in the configuration file ({})", .0.display())]
    NoApiUrl(PathBuf),
    /// A token that others may read.
    #[error("Permission too open for {}. Make sure that the file is not accessible by group or others", .0.display())]
    PermissionTooOpen(PathBuf),
    /// The server did not take us.
    #[error("Could not register. {}", registration(.0))]
    Registration(#[source] usine_client::Error),
    /// The address or the token cannot be used.
    #[error(transparent)]
    Client(#[from] usine_client::Error),
    /// Root may not run tasks, and the user who should does not exist.
    #[error(
        "tasks run as user '{0}', who does not exist: run 'usine doctor --fix', or name another with 'user' in the worker's configuration"
    )]
    NoUser(String),
    /// The user database cannot be asked.
    #[error("cannot look up user '{name}': {source}")]
    UserLookup {
        /// Login name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the state directory.
    #[error("another worker uses {}: stop it, or give this one a state directory of its own", .0.display())]
    InUse(PathBuf),
    /// A file or directory of the worker's own.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What a task made can be neither kept nor reported.
    #[error("could not report the result of work request {id}: {message}")]
    Report {
        /// The work request.
        id: i64,
        /// Why not.
        message: String,
    },
}

impl WorkerError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    /// The exit status, as debusine's worker has them: 2 a result was not reported, 3 configuration or registration.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Report { .. } => 2,
            _ => 3,
        }
    }
}

/// Whether the server was reached, and what it said, in the words of debusine's worker.
fn registration(error: &usine_client::Error) -> String {
    match (error, error.status()) {
        (usine_client::Error::Problem { status, problem, .. }, _) => {
            format!("Server HTTP status code: {status} Body: {problem}")
        }
        (other, Some(status)) => format!("Server HTTP status code: {status} Body: {other}"),
        (other, None) => format!("Server unreachable: {other}"),
    }
}
