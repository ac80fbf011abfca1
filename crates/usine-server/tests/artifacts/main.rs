//! Artifacts over HTTP: made, shown, filled, fetched, related, each against a real server.

mod create;
mod disk_full;
mod download;
mod relations;
mod support;
mod upload;
