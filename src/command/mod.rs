//! The commands, one file for each group.

pub mod admin;
pub mod artifact;
pub mod bench;
pub mod check;
pub mod completions;
pub mod doctor;
pub mod man;
pub mod server;
pub mod setup;
pub mod standalone;
pub mod task;
pub mod work_request;
pub mod worker;
pub mod workspace;
