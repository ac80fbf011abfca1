//! Who may do what: roles, what implies them, and each predicate, once.
//!
//! A predicate is data: a [`Rule`] and what holds for requesters who are nobody or act for a work request. It is evaluated in two
//! ways: on one resource in memory ([`Predicate::allows`]), and as the condition of a query, by the database's room. Both read
//! the same rule, so that a list shows exactly what may be looked at one by one.

mod context;
mod predicates;
mod roles;
mod rule;

pub use context::{Actor, Grants, OwnWorkRequest, PermissionContext};
pub use predicates::*;
pub use roles::{GlobalPermission, MembershipRole, ScopeRole, WorkspaceRole};
pub use rule::{
    ArtifactFacts, Decision, Facts, GroupFacts, Predicate, Resource, Rule, ScopeFacts, UserFacts, WorkRequestFacts,
    WorkspaceFacts,
};
