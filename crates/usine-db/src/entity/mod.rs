//! The rows: one file per table. Names of tables and columns are the original's where it has them.

pub mod artifact;
pub mod artifact_relation;
pub mod attempt;
pub mod audit_log;
pub mod client_enrolment;
pub mod event;
pub mod file;
pub mod file_in_artifact;
pub mod file_in_store;
pub mod file_store;
pub mod file_upload;
pub mod group;
pub mod group_membership;
pub mod lane;
pub mod requirement_set;
pub mod scope;
pub mod scope_role;
pub mod session;
pub mod token;
pub mod user;
pub mod user_permission;
pub mod work_request;
pub mod worker;
pub mod workspace;
pub mod workspace_inheritance;
pub mod workspace_role;
