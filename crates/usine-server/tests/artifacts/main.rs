//! Artifacts over HTTP: made, shown, filled, fetched, related, each against a real server.

#[path = "../app/mod.rs"]
mod app;
mod create;
mod disk_full;
mod download;
mod relations;
mod server;
#[path = "../../../usine-db/tests/support/mod.rs"]
mod support;
mod upload;
