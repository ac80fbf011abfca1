//! The load generator: simulated workers and clients over the real HTTP and WebSocket protocol, against a server of its own,
//! and the limits of the machine beside them. `usine bench` is its command.
//!
//! A measurement is a *stage* ([`stage`]). It has its own *site* ([`Site`]): a directory, a database and a server on them,
//! which go when it ends. What it finds are [`Measure`]s. An error of the server, or counts that do not agree, are an
//! [`Error`] and no number.

pub mod bare_http;
mod client;
mod crew;
mod error;
mod fill;
mod ground;
mod http;
mod load;
mod measure;
mod process;
mod report;
mod server;
mod site;
pub mod stage;
mod tally;
mod timetable;
mod worker;

pub use error::{Error, Result};
pub use ground::{Ground, Place};
pub use measure::{Measure, Target};
pub use report::Report;
