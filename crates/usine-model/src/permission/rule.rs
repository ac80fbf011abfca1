//! Rules as data, and what they say of one resource.

use super::{Actor, MembershipRole, PermissionContext, ScopeRole, WorkspaceRole};

/// A condition between whoever asks and a resource. The database's room turns the same rules into conditions of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// One of them is enough.
    Any(&'static [Rule]),
    /// All of them are needed.
    All(&'static [Rule]),
    /// The contrary.
    Not(&'static Rule),
    /// If whoever asks acts for a work request, the first; else the second.
    IfWorkRequest(&'static Rule, &'static Rule),
    /// One of the user's groups holds this role, or a higher one, on the resource's scope.
    ScopeGrant(ScopeRole),
    /// The user is in a group of the resource's scope.
    InScope,
    /// The resource's scope is public.
    ScopePublic,
    /// One of the user's groups holds this role, or a higher one, on the resource's workspace.
    WorkspaceGrant(WorkspaceRole),
    /// The resource's workspace is public.
    WorkspacePublic,
    /// The resource's workspace is that of the work request that is acted for.
    OwnWorkspace,
    /// The work request is the one that is acted for.
    OwnWorkRequest,
    /// The user submitted the work request.
    Creator,
    /// The work request that is acted for made the artifact.
    MadeByOwnWorkRequest,
    /// The artifact was given to the work request that is acted for.
    InputOfOwnWorkRequest,
    /// The user is this, or more, in the group.
    InGroup(MembershipRole),
    /// The group belongs to a workspace.
    GroupOfWorkspace,
    /// The group is the system's own.
    SystemGroup,
    /// The user is the one who asks.
    Oneself,
    /// Whoever asks is a user.
    LoggedIn,
}

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumIter)]
pub enum Resource {
    /// [`ScopeFacts`]
    Scope,
    /// [`WorkspaceFacts`]
    Workspace,
    /// [`WorkRequestFacts`]
    WorkRequest,
    /// [`ArtifactFacts`]
    Artifact,
    /// [`GroupFacts`]
    Group,
    /// [`UserFacts`]
    User,
}

/// A predicate: what may be done with a resource, by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predicate {
    /// Its name, such as `can_display`.
    pub name: &'static str,
    /// What it is about.
    pub resource: Resource,
    /// For messages: `alice cannot VERB debusine/System`.
    pub verb: &'static str,
    /// Whether somebody who acts for a work request may at all.
    pub with_work_request: bool,
    /// Whether nobody in particular may at all.
    pub anonymous: bool,
    /// The test itself.
    pub body: Rule,
}

/// What is known before the resource is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes, whatever it is.
    Allow,
    /// No, whatever it is.
    Deny,
    /// It depends on the resource.
    Ask(Rule),
}

impl Predicate {
    /// What this predicate says to whoever asks, before a resource is looked at. The order matters: the system first, then
    /// work requests, workers, tokens with nothing but grants, and nobody. A work request of the system itself is no less bound
    /// to what it needs than others.
    pub fn decide(&self, context: &PermissionContext) -> Decision {
        let for_work_request = context.work_request.is_some();
        match context.actor {
            Actor::System if !for_work_request => Decision::Allow,
            _ if for_work_request && !self.with_work_request => Decision::Deny,
            Actor::Worker | Actor::ExplicitGrantsOnly => Decision::Deny,
            Actor::Anonymous if !self.anonymous => Decision::Deny,
            Actor::System | Actor::Anonymous | Actor::User(_) => Decision::Ask(self.body),
        }
    }

    /// Whether whoever asks may do it with this resource.
    pub fn allows(&self, context: &PermissionContext, resource: &dyn Facts) -> bool {
        debug_assert_eq!(self.resource, resource.kind(), "{} was asked of another resource", self.name);
        match self.decide(context) {
            Decision::Allow => true,
            Decision::Deny => false,
            Decision::Ask(rule) => rule.holds(context, resource),
        }
    }
}

/// What rules may ask of a resource; what it does not have is not there.
pub trait Facts {
    /// What it is.
    fn kind(&self) -> Resource;
    /// Its scope.
    fn scope(&self) -> Option<&ScopeFacts> {
        None
    }
    /// Its workspace.
    fn workspace(&self) -> Option<&WorkspaceFacts> {
        None
    }
    /// If it is a work request.
    fn work_request(&self) -> Option<&WorkRequestFacts> {
        None
    }
    /// If it is an artifact.
    fn artifact(&self) -> Option<&ArtifactFacts> {
        None
    }
    /// If it is a group.
    fn group(&self) -> Option<&GroupFacts> {
        None
    }
    /// If it is a user.
    fn user(&self) -> Option<&UserFacts> {
        None
    }
}

/// A scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeFacts {
    /// Its id.
    pub id: i64,
    /// Whether anybody may know of it.
    pub public: bool,
}

/// A workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceFacts {
    /// Its scope.
    pub scope: ScopeFacts,
    /// Its id.
    pub id: i64,
    /// Whether anybody may look.
    pub public: bool,
}

/// A work request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkRequestFacts {
    /// Its workspace.
    pub workspace: WorkspaceFacts,
    /// Its id.
    pub id: i64,
    /// Who submitted it.
    pub created_by: i64,
}

/// An artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactFacts {
    /// Its workspace.
    pub workspace: WorkspaceFacts,
    /// Its id.
    pub id: i64,
    /// Which work request made it.
    pub created_by_work_request: Option<i64>,
}

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its scope.
    pub scope: ScopeFacts,
    /// Its workspace, if it belongs to one.
    pub workspace: Option<WorkspaceFacts>,
    /// Its id.
    pub id: i64,
    /// Whether it is the system's own.
    pub system: bool,
}

/// A user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserFacts {
    /// Its id.
    pub id: i64,
}

impl Facts for ScopeFacts {
    fn kind(&self) -> Resource {
        Resource::Scope
    }
    fn scope(&self) -> Option<&ScopeFacts> {
        Some(self)
    }
}

impl Facts for WorkspaceFacts {
    fn kind(&self) -> Resource {
        Resource::Workspace
    }
    fn scope(&self) -> Option<&ScopeFacts> {
        Some(&self.scope)
    }
    fn workspace(&self) -> Option<&WorkspaceFacts> {
        Some(self)
    }
}

impl Facts for WorkRequestFacts {
    fn kind(&self) -> Resource {
        Resource::WorkRequest
    }
    fn scope(&self) -> Option<&ScopeFacts> {
        Some(&self.workspace.scope)
    }
    fn workspace(&self) -> Option<&WorkspaceFacts> {
        Some(&self.workspace)
    }
    fn work_request(&self) -> Option<&WorkRequestFacts> {
        Some(self)
    }
}

impl Facts for ArtifactFacts {
    fn kind(&self) -> Resource {
        Resource::Artifact
    }
    fn scope(&self) -> Option<&ScopeFacts> {
        Some(&self.workspace.scope)
    }
    fn workspace(&self) -> Option<&WorkspaceFacts> {
        Some(&self.workspace)
    }
    fn artifact(&self) -> Option<&ArtifactFacts> {
        Some(self)
    }
}

impl Facts for GroupFacts {
    fn kind(&self) -> Resource {
        Resource::Group
    }
    fn scope(&self) -> Option<&ScopeFacts> {
        Some(&self.scope)
    }
    fn workspace(&self) -> Option<&WorkspaceFacts> {
        self.workspace.as_ref()
    }
    fn group(&self) -> Option<&GroupFacts> {
        Some(self)
    }
}

impl Facts for UserFacts {
    fn kind(&self) -> Resource {
        Resource::User
    }
    fn user(&self) -> Option<&UserFacts> {
        Some(self)
    }
}

impl Rule {
    /// Whether it holds between whoever asks and this resource.
    pub fn holds(&self, context: &PermissionContext, resource: &dyn Facts) -> bool {
        let grants = &context.grants;
        let own = context.work_request.as_ref();
        // The system holds every role; here it asks only for one of its work requests.
        let system = context.actor == Actor::System;
        match self {
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(context, resource)),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(context, resource)),
            Self::Not(rule) => !rule.holds(context, resource),
            Self::IfWorkRequest(with, without) => if own.is_some() { with } else { without }.holds(context, resource),
            Self::ScopeGrant(role) => resource
                .scope()
                .is_some_and(|scope| system || grants.scope_roles.get(&scope.id).is_some_and(|held| held >= role)),
            Self::InScope => resource.scope().is_some_and(|scope| grants.scopes.contains(&scope.id)),
            Self::ScopePublic => resource.scope().is_some_and(|scope| scope.public),
            Self::WorkspaceGrant(role) => resource.workspace().is_some_and(|workspace| {
                system || grants.workspace_roles.get(&workspace.id).is_some_and(|held| held >= role)
            }),
            Self::WorkspacePublic => resource.workspace().is_some_and(|workspace| workspace.public),
            Self::OwnWorkspace => {
                resource.workspace().is_some_and(|workspace| own.is_some_and(|own| own.workspace_id == workspace.id))
            }
            Self::OwnWorkRequest => resource.work_request().is_some_and(|row| own.is_some_and(|own| own.id == row.id)),
            Self::Creator => {
                resource.work_request().is_some_and(|row| context.user_id().is_some_and(|id| id == row.created_by))
            }
            Self::MadeByOwnWorkRequest => resource
                .artifact()
                .is_some_and(|artifact| own.is_some_and(|own| artifact.created_by_work_request == Some(own.id))),
            Self::InputOfOwnWorkRequest => {
                resource.artifact().is_some_and(|artifact| own.is_some_and(|own| own.inputs.contains(&artifact.id)))
            }
            Self::InGroup(role) => {
                resource.group().is_some_and(|group| grants.groups.get(&group.id).is_some_and(|held| held >= role))
            }
            Self::GroupOfWorkspace => resource.group().is_some_and(|group| group.workspace.is_some()),
            Self::SystemGroup => resource.group().is_some_and(|group| group.system),
            Self::Oneself => resource.user().is_some_and(|user| context.user_id().is_some_and(|id| id == user.id)),
            Self::LoggedIn => system || context.user_id().is_some(),
        }
    }
}
