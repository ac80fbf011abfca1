//! What can go wrong below, told apart by what the caller can do about it.

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};
use usine_model::work_request::StatusChangeError;

/// An error of a manager.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row does not exist.
    #[error("{kind} {key} does not exist")]
    DoesNotExist {
        /// What was looked for.
        kind: &'static str,
        /// By which id or name.
        key: String,
    },
    /// More than one row where there should be one.
    #[error("more than one {kind} for {key}")]
    MultipleObjectsReturned {
        /// What was looked for.
        kind: &'static str,
        /// By which id or name.
        key: String,
    },
    /// A row contradicts what the program takes for granted.
    #[error("inconsistent row {id} in {table}, column {column}: {problem}")]
    Inconsistent {
        /// Name of the table.
        table: &'static str,
        /// Id of the row.
        id: i64,
        /// Name of the column.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The step is not allowed in the present state.
    #[error(transparent)]
    StatusChange(#[from] StatusChangeError),
    /// A rule of the data model is broken by the caller.
    #[error("{0}")]
    Invalid(String),
    /// A value that must be unique exists already, or a row that is referred to does not.
    #[error("integrity error: {0}")]
    Integrity(SqlErr),
    /// The database refuses to delete what others refer to.
    #[error("cannot delete {kind} {key}: it is still referred to")]
    Protected {
        /// What was to be deleted.
        kind: &'static str,
        /// Its id.
        key: String,
    },
    /// The schema belongs to a later version of the program.
    #[error(
        "the schema is too far ahead of this program: it has {}; a program may be one step behind, this one is {} behind. \
         Install the version that the other servers have",
        .steps.join(", "), .steps.len()
    )]
    SchemaAhead {
        /// The migrations that this program does not know.
        steps: Vec<String>,
    },
    /// The database itself.
    #[error("database error: {0}")]
    Database(DbErr),
    /// The program stops, or has a fault: whether the change was made is not known.
    #[error("interrupted before its end was seen")]
    Interrupted,
    /// The database cannot be reached at present. Nothing was changed.
    #[error("the database cannot be reached: {0}")]
    Unreachable(DbErr),
    /// The database's disk is full. Nothing was changed.
    #[error("the database has no space left: {0}")]
    NoSpace(DbErr),
    /// The database was busy, again and again.
    #[error("the database stayed busy after {tries} tries: {last}")]
    StillBusy {
        /// How often it was tried.
        tries: u32,
        /// The last error.
        last: DbErr,
    },
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(integrity) => Self::Integrity(integrity),
            None if is_unreachable(&error) => Self::Unreachable(error),
            None if is_full(&error) => Self::NoSpace(error),
            None => Self::Database(error),
        }
    }
}

impl Error {
    /// The row that was asked for by `key` is not there.
    pub fn does_not_exist(kind: &'static str, key: impl ToString) -> Self {
        Self::DoesNotExist { kind, key: key.to_string() }
    }

    /// Whether a uniqueness rule on `column` of `table` was broken. The engines name it differently: SQLite the column,
    /// PostgreSQL the constraint.
    pub fn violates_unique(&self, table: &str, column: &str) -> bool {
        match self {
            Self::Integrity(SqlErr::UniqueConstraintViolation(text)) => {
                text.contains(&format!("{table}.{column}")) || text.contains(&format!("{table}_{column}_key"))
            }
            _ => false,
        }
    }

    /// An error of a commit. When the database itself says no, nothing was changed. When its answer is missing, nobody knows: that
    /// must not be tried again.
    pub(crate) fn of_commit(error: DbErr) -> Self {
        let refused = matches!(sqlx_error(&error), Some(sqlx::Error::Database(_))) && !is_unreachable(&error);
        if refused {
            return Self::from(error);
        }
        tracing::error!(%error, "the answer to a commit is missing: whether it was made is not known");
        Self::Interrupted
    }

    /// Whether trying the whole transaction again may help: serialization failure and deadlock (PostgreSQL 40001,
    /// 40P01), busy and locked (SQLite 5 and 6 and their extended codes), or a connection that broke.
    pub(crate) fn is_transient(&self) -> bool {
        let inner = match self {
            // Who waited in vain for a connection has waited long enough.
            Self::Unreachable(error) => return !matches!(error, DbErr::ConnectionAcquire(_)),
            Self::Database(DbErr::Exec(inner) | DbErr::Query(inner) | DbErr::Conn(inner)) => inner,
            _ => return false,
        };
        let text = inner.to_string();
        ["40001", "40P01", "database is locked", "database table is locked", "could not serialize", "deadlock detected"]
            .iter()
            .any(|sign| text.contains(sign))
    }
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner)) => Some(inner.as_ref()),
        _ => None,
    }
}

/// No connection, or it broke; PostgreSQL is starting, stopping (57P01 to 57P03, 08…), or has no connection to spare (53300).
fn is_unreachable(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return true;
    }
    match sqlx_error(error) {
        // A connection that is closed as soon as it is made is a breach of the protocol to sqlx.
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::BeginFailed
            | sqlx::Error::WorkerCrashed,
        ) => true,
        Some(sqlx::Error::Database(database)) => database.code().is_some_and(|code| {
            code.starts_with("08") || ["57P01", "57P02", "57P03", "53300"].contains(&code.as_ref())
        }),
        _ => false,
    }
}

/// SQLite 13, PostgreSQL 53100.
fn is_full(error: &DbErr) -> bool {
    match sqlx_error(error) {
        Some(sqlx::Error::Database(database)) => matches!(database.code().as_deref(), Some("13" | "53100")),
        _ => false,
    }
}

/// The result of a manager.
pub type Result<T, E = Error> = std::result::Result<T, E>;
