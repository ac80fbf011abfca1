//! The roles that groups hold on scopes and workspaces, that users hold in groups, and permissions on the whole site.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// What a group may do in a scope. A higher role implies the lower ones.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ScopeRole {
    /// Knows that the scope exists.
    Aware,
    /// Reads every workspace of the scope.
    Observer,
    /// Full administration.
    Owner,
}

/// What a group may do in a workspace. A higher role implies the lower ones.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum WorkspaceRole {
    /// Reads.
    Viewer,
    /// Makes artifacts and work requests.
    Contributor,
    /// Configures everything.
    Owner,
}

/// What a user is in a group.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum MembershipRole {
    /// One of the group.
    Member,
    /// Manages the members.
    Admin,
}

/// What an administrator allows to a user everywhere. Superusers have all of them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GlobalPermission {
    /// Raise the priority of work requests above that of others.
    ManageWorkrequestPriorities,
    /// Manage pools of workers.
    ManageWorkerpools,
}
