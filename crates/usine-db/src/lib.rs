//! Entities, migrations and managers: the same on SQLite and on PostgreSQL.
//!
//! The seed's names are here: [`Token`], [`TokenManager`], [`WorkRequest`], [`WorkRequestManager`], [`Worker`],
//! [`WorkerManager`], with the seed's methods. Managers are what everybody calls to change something: REST API, command
//! line, scheduler and upkeep. Each change is one transaction, guarded in the statement, with its event. Times and random
//! keys come in as arguments.

mod database;
pub mod entity;
mod error;
mod migration;
mod text;

pub use database::Database;
pub use error::{Error, Result};
pub use text::Text;
