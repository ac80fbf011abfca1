//! The server: REST API, pages, channels of workers and followers, scheduler, upkeep.
//!
//! Everything that changes state calls a manager of `usine-db`; what happened comes back as events after the commit, and
//! wakes the scheduler ([`scheduler`]), tells workers and followers ([`channel`]). What must happen by the clock is in
//! [`upkeep`].

pub mod api;
pub mod auth;
pub mod channel;
pub mod config;
mod connections;
pub mod leadership;
pub mod live_log;
pub mod memory;
mod old_worker;
pub mod openapi;
pub mod overload;
pub mod paths;
pub mod permissions;
pub mod problem;
pub mod requirements;
pub mod routes;
pub mod scheduler;
mod serve;
pub mod state;
pub mod stores;
pub mod untrusted;
pub mod upkeep;
pub mod web;

pub use config::{Config, ConfigError};
pub use serve::{Server, StartError, open, routes as all_routes, service};
pub use state::AppState;
