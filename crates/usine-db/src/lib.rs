//! Entities, migrations and managers: the same on SQLite and on PostgreSQL.
//!
//! The seed's names are here: [`Token`], [`TokenManager`], [`WorkRequest`], [`WorkRequestManager`], [`Worker`],
//! [`WorkerManager`], with the seed's methods. Managers are what everybody calls to change something: REST API, command
//! line, scheduler and upkeep. Each change is one transaction, guarded in the statement, with its event. Times and random
//! keys come in as arguments.

pub mod account;
pub mod artifact;
mod batch;
mod bulk;
pub mod coordination;
mod database;
pub mod enrolment;
pub mod entity;
mod error;
pub mod expiry;
mod interned;
pub mod invariants;
pub mod live_log;
pub mod meter;
mod migration;
mod neighbour;
pub mod news;
pub mod paged;
pub mod scheduling;
pub mod server;
pub mod session;
pub mod storage;
pub mod tenancy;
mod text;
pub mod token;
pub mod work_request;
pub mod worker;

pub use account::UserManager;
pub use artifact::{Artifact, ArtifactManager};
pub use database::Database;
pub use enrolment::EnrolmentManager;
pub use error::{Error, Result};
pub use expiry::ExpiryManager;
pub use live_log::LiveLogManager;
pub use news::EventManager;
pub use scheduling::QueueManager;
pub use sea_orm::DbBackend as Engine;
pub use server::{Server, ServerManager};
pub use session::SessionManager;
pub use storage::StorageManager;
pub use tenancy::permission::PermissionManager;
pub use tenancy::{GroupManager, ScopeManager, WorkspaceManager};
pub use text::Text;
pub use token::{Token, TokenManager};
pub use work_request::{WorkRequest, WorkRequestManager};
pub use worker::{Worker, WorkerManager};
