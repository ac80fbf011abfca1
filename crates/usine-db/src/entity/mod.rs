//! The rows: one file per table. Names of tables and columns are the original's where it has them.

pub mod artifact;
pub mod artifact_relation;
pub mod attempt;
pub mod event;
pub mod file;
pub mod file_in_artifact;
pub mod file_in_store;
pub mod file_store;
pub mod file_upload;
pub mod requirement_set;
pub mod scope;
pub mod token;
pub mod user;
pub mod work_request;
pub mod worker;
pub mod workspace;
