//! Scopes, workspaces, groups, and the roles that groups hold: who shares what with whom.
//!
//! [`ScopeManager`], [`WorkspaceManager`] and [`GroupManager`] change them; each change of a group or a role is in the audit log
//! ([`audit`]). [`permission`] reads what a user's groups hold, and turns the rules of `usine_model::permission` into
//! conditions of queries.

pub mod audit;
mod browse;
mod group;
mod inheritance;
pub mod permission;
mod role;
mod scope;
mod workspace;

pub use audit::{AuditEntry, AuditLog};
pub use browse::{GroupFilter, GroupRow, Membership, Roles};
pub use group::{GroupManager, Member};
pub use inheritance::ChainError;
pub use role::RoleHolder;
pub use scope::ScopeManager;
pub use workspace::{MAX_DESCRIPTION, NewWorkspace, WorkspaceChanges, WorkspaceManager};

pub use crate::entity::group::Model as Group;
pub use crate::entity::scope::Model as Scope;
pub use crate::entity::workspace::Model as Workspace;

/// Name of the group that every scope has and everybody in the scope belongs to.
pub const MEMBERS: &str = "Members";

/// Name of the group of a new scope's owners.
pub const OWNERS: &str = "Owners";
