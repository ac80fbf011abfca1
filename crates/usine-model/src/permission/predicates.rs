//! The predicates. What is not in this list nobody may do.
//!
//! Roles first, each with what implies it. Every role on a workspace needs, besides, that the scope may be known; every role on what is
//! in a workspace needs that the workspace may be looked at.

use super::Resource::{self, Artifact, Group, Scope, User, WorkRequest, Workspace};
use super::Rule::{
    self, All, Any, Creator, GroupOfWorkspace, IfWorkRequest, InGroup, InScope, InputOfOwnWorkRequest, LoggedIn,
    MadeByOwnWorkRequest, Not, Oneself, OwnWorkspace, ScopeGrant, ScopePublic, SystemGroup, WorkspaceGrant,
    WorkspacePublic,
};
use super::{MembershipRole, Predicate, ScopeRole, WorkspaceRole};

const SCOPE_OWNER: Rule = ScopeGrant(ScopeRole::Owner);
const SCOPE_OBSERVER: Rule = ScopeGrant(ScopeRole::Observer);
const SCOPE_AWARE: Rule = Any(&[ScopeGrant(ScopeRole::Aware), InScope, ScopePublic]);

const WORKSPACE_OWNER: Rule = All(&[SCOPE_AWARE, Any(&[WorkspaceGrant(WorkspaceRole::Owner), SCOPE_OWNER])]);
const WORKSPACE_CONTRIBUTOR: Rule =
    All(&[SCOPE_AWARE, Any(&[WorkspaceGrant(WorkspaceRole::Contributor), SCOPE_OWNER])]);
const WORKSPACE_VIEWER: Rule =
    All(&[SCOPE_AWARE, Any(&[WorkspaceGrant(WorkspaceRole::Viewer), WorkspacePublic, SCOPE_OBSERVER])]);

/// The creator of a work request stays so, even where all roles are lost; but not where the workspace may not be looked at.
const WORK_REQUEST_CREATOR: Rule = All(&[WORKSPACE_VIEWER, Any(&[Creator, WORKSPACE_OWNER])]);

const GROUP_OWNER: Rule = Any(&[SCOPE_OWNER, All(&[GroupOfWorkspace, WORKSPACE_OWNER])]);
const GROUP_ADMIN: Rule = Any(&[InGroup(MembershipRole::Admin), GROUP_OWNER]);
const GROUP_MEMBER: Rule = Any(&[InGroup(MembershipRole::Member), GROUP_OWNER]);
const GROUP_VIEWER: Rule = Any(&[GROUP_MEMBER, All(&[LoggedIn, SCOPE_AWARE])]);

/// For users without a work request.
const fn users(resource: Resource, name: &'static str, verb: &'static str, body: Rule) -> Predicate {
    Predicate { name, resource, verb, with_work_request: false, anonymous: false, body }
}

/// For users, also when they act for a work request.
const fn work_requests(resource: Resource, name: &'static str, verb: &'static str, body: Rule) -> Predicate {
    Predicate { with_work_request: true, ..users(resource, name, verb, body) }
}

/// For everybody.
const fn everybody(resource: Resource, name: &'static str, verb: &'static str, body: Rule) -> Predicate {
    Predicate { anonymous: true, ..work_requests(resource, name, verb, body) }
}

macro_rules! predicates {
    ($($(#[$doc:meta])* $constant:ident = $predicate:expr;)+) => {
        $($(#[$doc])* pub const $constant: Predicate = $predicate;)+

        /// All predicates, for those who must look at each.
        pub const ALL: &[Predicate] = &[$($constant),+];
    };
}

predicates! {
    /// Know that a scope exists.
    SCOPE_CAN_DISPLAY = everybody(Scope, "can_display", "display scope", SCOPE_AWARE);
    /// Make a workspace in a scope.
    SCOPE_CAN_CREATE_WORKSPACE = users(Scope, "can_create_workspace", "create workspaces in", SCOPE_OWNER);
    /// Make a group of a scope.
    SCOPE_CAN_CREATE_GROUPS = users(Scope, "can_create_groups", "create groups in", SCOPE_OWNER);
    /// Give and take roles on a scope.
    SCOPE_CAN_ASSIGN_ROLES = users(Scope, "can_assign_roles", "assign roles on", SCOPE_OWNER);
    /// See the statistics of a scope.
    SCOPE_CAN_INSPECT = users(Scope, "can_inspect", "inspect", SCOPE_OBSERVER);
    /// Say who is a member of a scope.
    SCOPE_CAN_MANAGE_MEMBERS = users(Scope, "can_manage_members", "manage the members of", SCOPE_OWNER);

    /// See a workspace and what is in it.
    WORKSPACE_CAN_DISPLAY = everybody(Workspace, "can_display", "display workspace", WORKSPACE_VIEWER);
    /// Change the settings of a workspace.
    WORKSPACE_CAN_CONFIGURE = users(Workspace, "can_configure", "configure", WORKSPACE_OWNER);
    /// Make artifacts in a workspace. A work request does so in its own, whatever has become of its creator's roles: what was
    /// allowed to begin may end.
    WORKSPACE_CAN_CREATE_ARTIFACTS = work_requests(
        Workspace, "can_create_artifacts", "create artifacts in",
        IfWorkRequest(&OwnWorkspace, &WORKSPACE_CONTRIBUTOR)
    );
    /// Submit work requests in a workspace.
    WORKSPACE_CAN_CREATE_WORK_REQUESTS =
        users(Workspace, "can_create_work_requests", "create work requests in", WORKSPACE_CONTRIBUTOR);
    /// Make a workspace that inherits from this one.
    WORKSPACE_CAN_CREATE_CHILD_WORKSPACE = work_requests(
        Workspace, "can_create_child_workspace", "create child workspaces of",
        All(&[WORKSPACE_CONTRIBUTOR, IfWorkRequest(&OwnWorkspace, &LoggedIn)])
    );
    /// Make a group of a workspace.
    WORKSPACE_CAN_CREATE_GROUPS = users(Workspace, "can_create_groups", "create groups in", WORKSPACE_OWNER);
    /// Give and take roles on a workspace.
    WORKSPACE_CAN_ASSIGN_ROLES = users(Workspace, "can_assign_roles", "assign roles on", WORKSPACE_OWNER);

    /// See a work request; who acts for one sees that one only.
    WORK_REQUEST_CAN_DISPLAY = everybody(
        WorkRequest, "can_display", "display work request",
        IfWorkRequest(&Rule::OwnWorkRequest, &WORKSPACE_VIEWER)
    );
    /// Change the priority of a work request, as far as further rules allow.
    WORK_REQUEST_CAN_UPDATE = users(WorkRequest, "can_update", "change", WORKSPACE_CONTRIBUTOR);
    /// Put another one in the place of a work request.
    WORK_REQUEST_CAN_RETRY = users(WorkRequest, "can_retry", "retry", WORKSPACE_CONTRIBUTOR);
    /// Give a work request up.
    WORK_REQUEST_CAN_ABORT = users(WorkRequest, "can_abort", "abort", WORK_REQUEST_CREATOR);
    /// Approve or reject a work request that waits for a person.
    WORK_REQUEST_CAN_UNBLOCK = users(WorkRequest, "can_unblock", "unblock", WORKSPACE_OWNER);
    /// Answer what a task `confirm` asks.
    WORK_REQUEST_CAN_CONFIRM = users(WorkRequest, "can_confirm", "confirm", WORK_REQUEST_CREATOR);

    /// See an artifact and its files; who acts for a work request sees what it was given and what it made.
    ARTIFACT_CAN_DISPLAY = everybody(
        Artifact, "can_display", "display artifact",
        IfWorkRequest(&Any(&[MadeByOwnWorkRequest, InputOfOwnWorkRequest]), &WORKSPACE_VIEWER)
    );
    /// Upload the files of an artifact.
    ARTIFACT_CAN_ADD_FILES = work_requests(
        Artifact, "can_add_files", "add files to",
        IfWorkRequest(&MadeByOwnWorkRequest, &WORKSPACE_CONTRIBUTOR)
    );
    /// Relate an artifact to others.
    ARTIFACT_CAN_ADD_RELATION = work_requests(
        Artifact, "can_add_relation", "add relations to",
        IfWorkRequest(&MadeByOwnWorkRequest, &WORKSPACE_CONTRIBUTOR)
    );
    /// Delete relations from an artifact to others that may be seen.
    ARTIFACT_CAN_DELETE_RELATION = users(Artifact, "can_delete_relation", "delete relations of", WORKSPACE_OWNER);

    /// See a group and its members.
    GROUP_CAN_DISPLAY = users(Group, "can_display", "display group", GROUP_VIEWER);
    /// See how a group has changed.
    GROUP_CAN_DISPLAY_AUDIT_LOG = users(Group, "can_display_audit_log", "display the audit log of", GROUP_VIEWER);
    /// Change the members of a group.
    GROUP_CAN_MANAGE = users(Group, "can_manage", "manage", All(&[GROUP_ADMIN, Not(&SystemGroup)]));
    /// Lend what a group may do.
    GROUP_CAN_GRANT = users(Group, "can_grant", "grant", GROUP_MEMBER);
    /// Delete a group.
    GROUP_CAN_DELETE = users(Group, "can_delete", "delete", All(&[GROUP_OWNER, Not(&SystemGroup)]));

    /// See that a user exists.
    USER_CAN_DISPLAY = work_requests(User, "can_display", "display user", LoggedIn);
    /// Manage a user's tokens and groups.
    USER_CAN_MANAGE = users(User, "can_manage", "manage user", Oneself);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{
        Actor, ArtifactFacts, Facts, GroupFacts, OwnWorkRequest, PermissionContext, ScopeFacts, UserFacts,
        WorkRequestFacts, WorkspaceFacts,
    };
    use super::*;

    fn user(id: i64) -> PermissionContext {
        PermissionContext { actor: Actor::User(id), ..PermissionContext::default() }
    }

    fn workspace(scope_public: bool, public: bool) -> WorkspaceFacts {
        WorkspaceFacts { scope: ScopeFacts { id: 1, public: scope_public }, id: 10, public }
    }

    fn work_request(workspace: WorkspaceFacts) -> WorkRequestFacts {
        WorkRequestFacts { workspace, id: 100, created_by: 7 }
    }

    fn with_role(role: WorkspaceRole) -> PermissionContext {
        let mut context = user(8);
        context.grants.scopes.insert(1);
        context.grants.add_workspace_role(10, role);
        context
    }

    #[test]
    fn names_are_unique_for_each_resource() {
        let names: BTreeSet<_> = ALL.iter().map(|predicate| (predicate.resource.to_string(), predicate.name)).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn only_what_may_be_displayed_is_open_to_nobody() {
        for predicate in ALL.iter().filter(|predicate| predicate.anonymous) {
            assert_eq!(predicate.name, "can_display");
        }
    }

    #[test]
    fn workers_and_bare_tokens_may_do_nothing_and_the_system_everything() {
        let facts: [&dyn Facts; 6] = [
            &ScopeFacts { id: 1, public: true },
            &workspace(true, true),
            &work_request(workspace(true, true)),
            &ArtifactFacts { workspace: workspace(true, true), id: 1, created_by_work_request: None },
            &GroupFacts { scope: ScopeFacts { id: 1, public: true }, workspace: None, id: 1, system: false },
            &UserFacts { id: 1 },
        ];
        for predicate in ALL {
            let fact = facts.iter().find(|fact| fact.kind() == predicate.resource).unwrap();
            for actor in [Actor::Worker, Actor::ExplicitGrantsOnly] {
                let context = PermissionContext { actor, ..PermissionContext::default() };
                assert!(!predicate.allows(&context, *fact), "{predicate:?}");
            }
            assert!(predicate.allows(&PermissionContext::system(), *fact), "{predicate:?}");
        }
    }

    #[test]
    fn what_is_public_is_seen_by_all_and_changed_by_none() {
        let public = workspace(true, true);
        let nobody = PermissionContext::default();
        assert!(WORKSPACE_CAN_DISPLAY.allows(&nobody, &public));
        assert!(WORK_REQUEST_CAN_DISPLAY.allows(&nobody, &work_request(public)));
        assert!(!WORKSPACE_CAN_CREATE_ARTIFACTS.allows(&nobody, &public));
        assert!(!WORKSPACE_CAN_CREATE_WORK_REQUESTS.allows(&user(8), &public));
        assert!(!WORKSPACE_CAN_DISPLAY.allows(&nobody, &workspace(true, false)));
        assert!(!WORKSPACE_CAN_DISPLAY.allows(&nobody, &workspace(false, true)), "its scope is hidden");
    }

    #[test]
    fn each_role_on_a_workspace_implies_the_lower_ones() {
        let private = workspace(true, false);
        let can = |role, predicate: Predicate| predicate.allows(&with_role(role), &private);
        use WorkspaceRole::{Contributor, Owner, Viewer};
        for (predicate, expected) in [
            (WORKSPACE_CAN_DISPLAY, [true, true, true]),
            (WORKSPACE_CAN_CREATE_ARTIFACTS, [false, true, true]),
            (WORKSPACE_CAN_CREATE_WORK_REQUESTS, [false, true, true]),
            (WORKSPACE_CAN_CONFIGURE, [false, false, true]),
        ] {
            assert_eq!([Viewer, Contributor, Owner].map(|role| can(role, predicate)), expected, "{predicate:?}");
        }
    }

    #[test]
    fn observers_read_and_owners_of_scopes_own_what_is_in_them() {
        let private = workspace(false, false);
        let mut observer = user(8);
        observer.grants.add_scope_role(1, ScopeRole::Observer);
        assert!(SCOPE_CAN_DISPLAY.allows(&observer, &private.scope));
        assert!(WORKSPACE_CAN_DISPLAY.allows(&observer, &private));
        assert!(!WORKSPACE_CAN_CREATE_WORK_REQUESTS.allows(&observer, &private));
        observer.grants.add_scope_role(1, ScopeRole::Owner);
        assert!(WORKSPACE_CAN_CONFIGURE.allows(&observer, &private));
        assert!(WORK_REQUEST_CAN_UNBLOCK.allows(&observer, &work_request(private)));
    }

    #[test]
    fn creators_may_abort_and_confirm_but_not_retry() {
        let row = work_request(workspace(true, true));
        assert!(WORK_REQUEST_CAN_ABORT.allows(&user(7), &row) && WORK_REQUEST_CAN_CONFIRM.allows(&user(7), &row));
        assert!(!WORK_REQUEST_CAN_RETRY.allows(&user(7), &row));
        assert!(!WORK_REQUEST_CAN_ABORT.allows(&user(8), &row));
        let hidden = work_request(workspace(true, false));
        assert!(!WORK_REQUEST_CAN_ABORT.allows(&user(7), &hidden), "what cannot be seen cannot be aborted");
    }

    #[test]
    fn who_acts_for_a_work_request_sees_only_what_that_needs() {
        let place = workspace(true, true);
        let mut context = with_role(WorkspaceRole::Owner);
        context.work_request = Some(OwnWorkRequest { id: 100, workspace_id: 10, inputs: [5].into() });
        let artifact = |id, created_by_work_request| ArtifactFacts { workspace: place, id, created_by_work_request };
        assert!(WORK_REQUEST_CAN_DISPLAY.allows(&context, &work_request(place)));
        assert!(!WORK_REQUEST_CAN_DISPLAY.allows(&context, &WorkRequestFacts { id: 101, ..work_request(place) }));
        assert!(ARTIFACT_CAN_DISPLAY.allows(&context, &artifact(5, None)));
        assert!(ARTIFACT_CAN_DISPLAY.allows(&context, &artifact(6, Some(100))));
        assert!(!ARTIFACT_CAN_DISPLAY.allows(&context, &artifact(6, Some(101))));
        assert!(ARTIFACT_CAN_ADD_FILES.allows(&context, &artifact(6, Some(100))));
        assert!(!ARTIFACT_CAN_ADD_FILES.allows(&context, &artifact(5, None)));
        assert!(WORKSPACE_CAN_CREATE_ARTIFACTS.allows(&context, &place));
        assert!(!WORKSPACE_CAN_CREATE_ARTIFACTS.allows(&context, &WorkspaceFacts { id: 11, ..place }));
        assert!(!WORKSPACE_CAN_CREATE_WORK_REQUESTS.allows(&context, &place));
    }

    #[test]
    fn groups_are_managed_by_their_admins_unless_they_are_the_systems() {
        let group = |system| GroupFacts { scope: ScopeFacts { id: 1, public: false }, workspace: None, id: 3, system };
        let mut context = user(8);
        assert!(!GROUP_CAN_DISPLAY.allows(&context, &group(false)), "the scope is hidden");
        context.grants.scopes.insert(1);
        context.grants.groups.insert(3, MembershipRole::Member);
        assert!(GROUP_CAN_DISPLAY.allows(&context, &group(false)) && !GROUP_CAN_MANAGE.allows(&context, &group(false)));
        context.grants.groups.insert(3, MembershipRole::Admin);
        assert!(GROUP_CAN_MANAGE.allows(&context, &group(false)) && !GROUP_CAN_MANAGE.allows(&context, &group(true)));
        assert!(!GROUP_CAN_DELETE.allows(&context, &group(false)));
        context.grants.add_scope_role(1, ScopeRole::Owner);
        assert!(GROUP_CAN_DELETE.allows(&context, &group(false)) && !GROUP_CAN_DELETE.allows(&context, &group(true)));
    }
}
