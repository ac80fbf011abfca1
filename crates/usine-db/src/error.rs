//! What can go wrong below, told apart by what the caller can do about it.

use sea_orm::{DbErr, SqlErr};
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

    /// Whether trying the whole transaction again may help: serialization failure and deadlock (PostgreSQL 40001,
    /// 40P01), busy and locked (SQLite 5 and 6 and their extended codes).
    pub(crate) fn is_transient(&self) -> bool {
        let Self::Database(DbErr::Exec(inner) | DbErr::Query(inner) | DbErr::Conn(inner)) = self else { return false };
        let text = inner.to_string();
        ["40001", "40P01", "database is locked", "database table is locked", "could not serialize", "deadlock detected"]
            .iter()
            .any(|sign| text.contains(sign))
    }
}

/// The result of a manager.
pub type Result<T, E = Error> = std::result::Result<T, E>;
