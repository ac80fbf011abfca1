//! A typed client of the HTTP and WebSocket API, for the command line, the worker and the tests.
//!
//! Nothing here prints: progress and messages go back to the caller. Files are streamed, so memory does not grow
//! with their size. [`Client`] speaks HTTP, [`channel`] the WebSockets, [`import`] turns Debian files into artifacts, [`enrol`]
//! gets a token.

mod api;
pub mod channel;
mod client;
pub mod config;
mod content_type;
mod download;
pub mod enrol;
mod error;
mod fetch;
pub mod import;
pub mod ini;
mod upload;

pub use api::{ArtifactFilter, NextWork, WorkRequestFilter};
pub use client::{Client, Options, Pace, Timeouts};
pub use content_type::content_type;
pub use download::ByteStream;
pub use error::Error;
pub use upload::{FileFacts, file_facts};

/// What this program calls itself in `User-Agent`.
pub const USER_AGENT: &str = concat!("usine/", env!("CARGO_PKG_VERSION"));
