//! Scopes, workspaces, groups and roles on both databases, and what the audit log says of each change.

mod farm;
mod support;

use farm::{Farm, stories};
use futures::future::join_all;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use usine_db::account::User;
use usine_db::entity::{group_membership, workspace_role};
use usine_db::tenancy::{
    AuditLog, ChainError, Group, MEMBERS, Member, NewWorkspace, OWNERS, Scope, Workspace, WorkspaceChanges,
};
use usine_db::{Database, Error, GroupManager, PermissionManager, ScopeManager, WorkspaceManager};
use usine_model::permission::{MembershipRole, ScopeRole, WorkspaceRole};

/// The scope and the workspace of every new database.
async fn first_place(db: &Database) -> (Scope, Workspace) {
    let scope = ScopeManager(db).get_scope_or_none("debusine").await.unwrap().unwrap();
    let workspace = WorkspaceManager(db).get_workspace_or_none(&scope, "System").await.unwrap().unwrap();
    (scope, workspace)
}

async fn group(db: &Database, scope: &Scope, name: &str) -> Group {
    GroupManager(db).get_group_or_none(scope, None, name).await.unwrap().unwrap()
}

/// A new group of the scope.
async fn new_group(farm: &Farm<'_>, scope: &Scope, name: &str) -> Group {
    GroupManager(farm.db).create(scope, None, name, false, None, farm.now()).await.unwrap()
}

/// A new private workspace of the scope's owners.
async fn new_workspace(farm: &Farm<'_>, scope: &Scope, name: &str) -> Workspace {
    let new = NewWorkspace { name, public: false, default_expiration_delay: 0 };
    let owners = group(farm.db, scope, OWNERS).await;
    WorkspaceManager(farm.db).create(scope, &new, &owners, None, farm.now()).await.unwrap()
}

async fn join(farm: &Farm<'_>, group: &Group, user: &User, role: MembershipRole) {
    let users = std::slice::from_ref(user);
    GroupManager(farm.db).add_users(group, users, role, true, None, farm.now()).await.unwrap();
}

/// Who is in a group, and as what.
async fn members(db: &Database, group: &Group) -> Vec<(String, MembershipRole)> {
    let members = GroupManager(db).members(group).await.unwrap();
    members.into_iter().map(|Member { user, role }| (user.username, role)).collect()
}

async fn names(db: &Database, group: &Group) -> Vec<String> {
    members(db, group).await.into_iter().map(|(name, _)| name).collect()
}

/// The last so many changes, oldest first: who, what, how.
async fn audit(db: &Database, count: usize) -> Vec<(String, String, Value)> {
    let entries = AuditLog(db).newest(count as u64).await.unwrap();
    let told = entries.into_iter().rev().map(|entry| (entry.actor, entry.subject, entry.changes));
    told.collect()
}

/// One change by the system.
fn by_system(subject: &str, changes: Value) -> (String, String, Value) {
    ("_system".to_owned(), subject.to_owned(), changes)
}

async fn audit_length(db: &Database) -> usize {
    AuditLog(db).newest(10_000).await.unwrap().len()
}

/// The words of a refusal.
fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Invalid(text)) => text,
        other => panic!("{other:?} is no refusal"),
    }
}

stories! {
    async fn a_new_database_has_members_and_owners(db: &Database) {
        let (scope, workspace) = first_place(db).await;
        assert!(group(db, &scope, MEMBERS).await.system && !group(db, &scope, OWNERS).await.system);
        let held = ScopeManager(db).list_roles(&scope).await.unwrap();
        assert_eq!(held.iter().map(|held| (held.group.name.as_str(), held.role)).collect::<Vec<_>>(),
            [(OWNERS, ScopeRole::Owner)]);
        assert!(WorkspaceManager(db).list_roles(&workspace).await.unwrap().is_empty());
        let groups = GroupManager(db).list(&scope, None).await.unwrap();
        assert_eq!(groups.iter().map(|(group, _, count)| (group.name.as_str(), *count)).collect::<Vec<_>>(),
            [(MEMBERS, 0), (OWNERS, 0)]);
        assert_eq!(audit_length(db).await, 0);
    }

    async fn a_scope_begins_with_its_groups(db: &Database) {
        let (farm, scopes) = (Farm::new(db), ScopeManager(db));
        let alice = farm.user("alice").await;
        let scope = scopes.create("kali", None, Some("Admins"), Some(alice.id), farm.now()).await.unwrap();
        assert_eq!((scope.label.as_str(), scope.public), ("Kali", true));
        let created = |name: &str| json!({"type": "create", "name": name, "scope": "kali", "workspace": null,
            "ephemeral": false});
        let granted = json!({"type": "grant_role", "resource": "kali", "group": "Admins", "role": "owner"});
        let by_alice = |subject: &str, changes| ("alice".to_owned(), subject.to_owned(), changes);
        assert_eq!(audit(db, 9).await, [
            by_alice("kali/Members", created("Members")),
            by_alice("kali/Admins", created("Admins")),
            by_alice("kali", granted),
        ]);
        let plain = scopes.create("plain", Some("Not so"), None, None, farm.now()).await.unwrap();
        assert_eq!(plain.label, "Not so");
        assert!(scopes.list_roles(&plain).await.unwrap().is_empty());
        let all = scopes.list().await.unwrap();
        assert_eq!(all.iter().map(|scope| scope.name.as_str()).collect::<Vec<_>>(), ["debusine", "kali", "plain"]);

        for (name, label) in [("kali", None), ("other", Some("Kali"))] {
            assert!(refusal(scopes.create(name, label, None, None, farm.now()).await).contains("already exists"));
        }
        for bad in ["api", "", "1a", "a/b"] {
            assert!(refusal(scopes.create(bad, None, None, None, farm.now()).await).contains("not a valid scope name"));
        }
        assert_eq!(scopes.list().await.unwrap(), all, "nothing is left of what was refused");
    }

    async fn scopes_change(db: &Database) {
        let (farm, scopes) = (Farm::new(db), ScopeManager(db));
        let (scope, _) = first_place(db).await;
        let same = scopes.update(&scope, Some("Debusine"), Some(""), Some(true), None, farm.now()).await.unwrap();
        assert_eq!((same, audit_length(db).await), (scope.clone(), 0), "what is so already is no change");
        let changed = scopes.update(&scope, Some("Ours"), Some("star"), Some(false), None, farm.now()).await.unwrap();
        assert_eq!((changed.label.as_str(), changed.icon.as_str(), changed.public), ("Ours", "star", false));
        let renamed = scopes.rename(&changed, "ours", None, farm.now()).await.unwrap();
        assert_eq!(scopes.get(scope.id).await.unwrap(), renamed);
        assert!(scopes.get_scope_or_none("debusine").await.unwrap().is_none());
        assert_eq!(audit(db, 9).await, [
            by_system("debusine", json!({"label": ["Debusine", "Ours"], "icon": ["", "star"], "public": [true, false],
                "type": "update"})),
            by_system("ours", json!({"type": "update", "name": ["debusine", "ours"]})),
        ]);
        scopes.create("kali", None, None, None, farm.now()).await.unwrap();
        assert!(refusal(scopes.rename(&renamed, "kali", None, farm.now()).await).contains("already exists"));
        assert!(refusal(scopes.rename(&renamed, "api", None, farm.now()).await).contains("not a valid scope name"));
        let label = scopes.update(&renamed, Some("Kali"), None, None, None, farm.now()).await;
        assert!(refusal(label).contains("already exists"));
    }

    async fn workspaces_are_made_and_changed(db: &Database) {
        let (farm, workspaces) = (Farm::new(db), WorkspaceManager(db));
        let (scope, system) = first_place(db).await;
        let workspace = new_workspace(&farm, &scope, "sid").await;
        let granted = json!({"type": "grant_role", "resource": "debusine/sid", "group": "Owners", "role": "owner"});
        let created = json!({"type": "create", "public": false, "default_expiration_delay": 0});
        assert_eq!(audit(db, 9).await, [by_system("debusine/sid", created), by_system("debusine/sid", granted)]);
        let changes = WorkspaceChanges {
            public: Some(true),
            default_expiration_delay: Some(86_400),
            expiration_delay: Some(Some(7)),
            description: None,
        };
        let changed = workspaces.update(&workspace, &scope, changes, None, farm.now()).await.unwrap();
        assert_eq!((changed.public, changed.default_expiration_delay, changed.expiration_delay), (true, 86_400, Some(7)));
        let again = workspaces.update(&changed, &scope, changes, None, farm.now()).await.unwrap();
        assert_eq!(again, changed);
        let said = json!({"public": [false, true], "default_expiration_delay": [0, 86_400],
            "expiration_delay": [null, 7], "type": "update"});
        assert_eq!(audit(db, 1).await, [by_system("debusine/sid", said)]);
        let renamed = workspaces.rename(&changed, &scope, "forky", None, farm.now()).await.unwrap();
        assert_eq!(renamed.full_name(&scope), "debusine/forky");
        let said = json!({"type": "update", "name": ["sid", "forky"]});
        assert_eq!(audit(db, 1).await, [by_system("debusine/forky", said)]);
        assert_eq!(workspaces.list().await.unwrap(), [(system, scope.clone()), (renamed.clone(), scope.clone())]);

        assert!(refusal(workspaces.rename(&renamed, &scope, "System", None, farm.now()).await).contains("already exists"));
        assert!(refusal(workspaces.rename(&renamed, &scope, "user", None, farm.now()).await).contains("not a valid"));
        let length = audit_length(db).await;
        let owners = group(db, &scope, OWNERS).await;
        for (name, words) in [("forky", "already exists"), ("user", "not a valid workspace name")] {
            let new = NewWorkspace { name, public: true, default_expiration_delay: 0 };
            assert!(refusal(workspaces.create(&scope, &new, &owners, None, farm.now()).await).contains(words));
        }
        assert_eq!(audit_length(db).await, length);
    }

    async fn a_group_owns_only_what_is_in_its_scope(db: &Database) {
        let (farm, scopes, workspaces) = (Farm::new(db), ScopeManager(db), WorkspaceManager(db));
        let (scope, workspace) = first_place(db).await;
        let other = scopes.create("other", None, Some("Strangers"), None, farm.now()).await.unwrap();
        let strangers = group(db, &other, "Strangers").await;
        let length = audit_length(db).await;
        let role = WorkspaceRole::Owner;
        let granted = workspaces.grant_role(&workspace, &scope, &strangers, role, None, farm.now()).await;
        assert_eq!(refusal(granted), "Workspace 'debusine/System' is not in the scope of the group Strangers");
        let granted = scopes.grant_role(&scope, &strangers, ScopeRole::Aware, None, farm.now()).await;
        assert_eq!(refusal(granted), "Scope 'debusine' is not in the scope of the group Strangers");
        let new = NewWorkspace { name: "stolen", public: false, default_expiration_delay: 0 };
        refusal(workspaces.create(&scope, &new, &strangers, None, farm.now()).await);
        assert!(workspaces.get_workspace_or_none(&scope, "stolen").await.unwrap().is_none());
        assert_eq!(audit_length(db).await, length);
    }

    async fn roles_are_granted_and_revoked_once(db: &Database) {
        let (farm, scopes, workspaces) = (Farm::new(db), ScopeManager(db), WorkspaceManager(db));
        let (scope, workspace) = first_place(db).await;
        let admins = new_group(&farm, &scope, "Admins").await;
        let length = audit_length(db).await;
        for _ in 0..2 {
            workspaces.grant_role(&workspace, &scope, &admins, WorkspaceRole::Owner, None, farm.now()).await.unwrap();
            scopes.grant_role(&scope, &admins, ScopeRole::Observer, None, farm.now()).await.unwrap();
        }
        let held = workspaces.list_roles(&workspace).await.unwrap();
        assert_eq!(held.iter().map(|held| (held.group.id, held.role)).collect::<Vec<_>>(),
            [(admins.id, WorkspaceRole::Owner)]);
        let other = WorkspaceRole::Viewer;
        workspaces.revoke_role(&workspace, &scope, &admins, other, None, farm.now()).await.unwrap();
        assert_eq!(workspaces.list_roles(&workspace).await.unwrap(), held);
        for _ in 0..2 {
            workspaces.revoke_role(&workspace, &scope, &admins, WorkspaceRole::Owner, None, farm.now()).await.unwrap();
            scopes.revoke_role(&scope, &admins, ScopeRole::Observer, None, farm.now()).await.unwrap();
        }
        assert!(workspaces.list_roles(&workspace).await.unwrap().is_empty());
        assert_eq!(scopes.list_roles(&scope).await.unwrap().len(), 1);
        let said = |kind: &str, resource: &str, role: &str| {
            let changes = json!({"type": kind, "resource": resource, "group": "Admins", "role": role});
            by_system(resource, changes)
        };
        assert_eq!(audit(db, audit_length(db).await - length).await, [
            said("grant_role", "debusine/System", "owner"),
            said("grant_role", "debusine", "observer"),
            said("revoke_role", "debusine/System", "owner"),
            said("revoke_role", "debusine", "observer"),
        ]);
    }

    async fn groups_of_scopes_and_of_workspaces_are_apart(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let (scope, workspace) = first_place(db).await;
        let sid = new_workspace(&farm, &scope, "sid").await;
        let of_scope = new_group(&farm, &scope, "Team").await;
        let of_workspace = groups.create(&scope, Some(&workspace), "Team", false, None, farm.now()).await.unwrap();
        let of_sid = groups.create(&scope, Some(&sid), "Team", true, None, farm.now()).await.unwrap();
        assert_eq!(of_workspace.full_name(&scope, Some(&workspace)), "debusine/System/Team");
        assert_eq!(of_scope.full_name(&scope, None), "debusine/Team");
        for (place, expected) in [(None, &of_scope), (Some(&workspace), &of_workspace), (Some(&sid), &of_sid)] {
            let found = groups.get_group_or_none(&scope, place, "Team").await.unwrap();
            assert_eq!(found.as_ref(), Some(expected));
            let taken = groups.create(&scope, place, "Team", false, None, farm.now()).await;
            assert_eq!(refusal(taken), "name: Group with this Name already exists: Team");
        }
        join(&farm, &of_sid, &farm.user("alice").await, MembershipRole::Member).await;
        let list = async |which| -> Vec<(String, i64)> {
            let list = groups.list(&scope, which).await.unwrap();
            list.iter().map(|(group, place, count)| (group.full_name(&scope, place.as_ref()), *count)).collect()
        };
        let expected = [("debusine/Members", 1), ("debusine/Owners", 0), ("debusine/Team", 0), ("debusine/System/Team", 0),
            ("debusine/sid/Team", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(list(None).await, expected);
        assert_eq!(list(Some(None)).await, expected[..3]);
        assert_eq!(list(Some(Some(&sid))).await, expected[4..]);
        assert!(groups.get_group_or_none(&scope, None, "no\0body").await.unwrap().is_none());
        let bad = groups.create(&scope, None, "1a", false, None, farm.now()).await;
        assert_eq!(refusal(bad), "name: '1a' is not a valid group name");
    }

    async fn groups_are_renamed_and_deleted(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let (scope, workspace) = first_place(db).await;
        let team = new_group(&farm, &scope, "Team").await;
        join(&farm, &team, &farm.user("alice").await, MembershipRole::Member).await;
        let role = WorkspaceRole::Viewer;
        WorkspaceManager(db).grant_role(&workspace, &scope, &team, role, None, farm.now()).await.unwrap();
        assert_eq!(refusal(groups.rename(&team, OWNERS, None, farm.now()).await),
            "name: Group with this Name already exists: Owners");
        let team = groups.rename(&team, "Crew", None, farm.now()).await.unwrap();
        let team = groups.set_ephemeral(&team, true, None, farm.now()).await.unwrap();
        assert_eq!((team.name.as_str(), team.ephemeral), ("Crew", true));
        groups.delete(&team, None, farm.now()).await.unwrap();
        assert_eq!(audit(db, 3).await, [
            by_system("debusine/Crew", json!({"type": "update", "name": ["Team", "Crew"]})),
            by_system("debusine/Crew", json!({"type": "update", "ephemeral": [false, true]})),
            by_system("debusine/Crew", json!({"type": "delete", "name": "Crew"})),
        ]);
        assert!(AuditLog(db).of_group(team.id, 9).await.unwrap().is_empty(), "the group is gone, its history is not");
        assert!(workspace_role::Entity::find().all(db.reader()).await.unwrap().is_empty());
        let left = group_membership::Entity::find().all(db.reader()).await.unwrap();
        assert_eq!(left.len(), 1, "alice stays in the scope");
    }

    async fn the_systems_group_stays_as_it_is(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let (scope, _) = first_place(db).await;
        let all = group(db, &scope, MEMBERS).await;
        assert!(refusal(groups.delete(&all, None, farm.now()).await).contains("cannot be deleted"));
        assert!(refusal(groups.rename(&all, "People", None, farm.now()).await).contains("cannot be renamed"));
        assert_eq!((group(db, &scope, MEMBERS).await, audit_length(db).await), (all, 0));
    }

    async fn members_of_groups_are_members_of_the_scope(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let (scope, _) = first_place(db).await;
        let (all, owners) = (group(db, &scope, MEMBERS).await, group(db, &scope, OWNERS).await);
        let (alice, bob) = (farm.user("alice").await, farm.user("bob").await);
        let both = [alice.clone(), bob.clone()];

        join(&farm, &all, &alice, MembershipRole::Member).await;
        let added = groups.add_users(&owners, &both, MembershipRole::Member, false, None, farm.now()).await;
        assert_eq!(refusal(added), "user bob is not a member of scope debusine");
        let added = groups.set_users(&owners, &both, MembershipRole::Member, false, None, farm.now()).await;
        assert_eq!(refusal(added), "user bob is not a member of scope debusine");
        assert!(members(db, &owners).await.is_empty(), "nobody is added if one cannot be");

        groups.add_users(&owners, &both, MembershipRole::Admin, true, Some(alice.id), farm.now()).await.unwrap();
        assert_eq!(names(db, &owners).await, ["alice", "bob"]);
        assert_eq!(names(db, &all).await, ["alice", "bob"]);
        let said = |group: &str, user: &str, role: &str| {
            let changes = json!({"type": "add_user", "user": user, "role": role});
            ("alice".to_owned(), format!("debusine/{group}"), changes)
        };
        assert_eq!(audit(db, 3).await, [
            said("Owners", "alice", "admin"), said("Members", "bob", "member"), said("Owners", "bob", "admin"),
        ]);

        // Who leaves the scope leaves all of its groups.
        groups.remove_users(&all, std::slice::from_ref(&bob), None, farm.now()).await.unwrap();
        assert_eq!(names(db, &owners).await, ["alice"]);
        assert_eq!(names(db, &all).await, ["alice"]);
        let grants = PermissionManager(db).grants(bob.id).await.unwrap();
        assert!(grants.groups.is_empty() && grants.scopes.is_empty() && grants.scope_roles.is_empty());
        let gone = |group: &str| by_system(&format!("debusine/{group}"), json!({"type": "del_user", "user": "bob"}));
        assert_eq!(audit(db, 2).await, [gone("Members"), gone("Owners")]);
    }

    async fn membership_changes_once(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let (scope, _) = first_place(db).await;
        let team = new_group(&farm, &scope, "Team").await;
        let (bob, alice) = (farm.user("bob").await, farm.user("alice").await);
        join(&farm, &team, &alice, MembershipRole::Member).await;
        join(&farm, &team, &bob, MembershipRole::Member).await;
        assert_eq!(names(db, &team).await, ["bob", "alice"], "in the order in which they joined the site");
        let length = audit_length(db).await;
        join(&farm, &team, &alice, MembershipRole::Member).await;
        assert_eq!(audit_length(db).await, length);
        join(&farm, &team, &alice, MembershipRole::Admin).await;
        assert_eq!(members(db, &team).await, [("bob".to_owned(), MembershipRole::Member),
            ("alice".to_owned(), MembershipRole::Admin)]);
        let said = json!({"type": "set_role", "user": "alice", "role": "admin"});
        assert_eq!(audit(db, 1).await, [by_system("debusine/Team", said)]);

        // Who is in it already stays what they are.
        let length = audit_length(db).await;
        groups.add_missing_users(&team, std::slice::from_ref(&alice), None, farm.now()).await.unwrap();
        assert_eq!(audit_length(db).await, length);

        // Carol comes, bob goes, alice stays.
        let carol = farm.user("carol").await;
        let new = [carol, alice.clone()];
        groups.set_users(&team, &new, MembershipRole::Admin, true, None, farm.now()).await.unwrap();
        assert_eq!(names(db, &team).await, ["alice", "carol"]);
        assert_eq!(audit(db, 3).await, [
            by_system("debusine/Team", json!({"type": "del_user", "user": "bob"})),
            by_system("debusine/Members", json!({"type": "add_user", "user": "carol", "role": "member"})),
            by_system("debusine/Team", json!({"type": "add_user", "user": "carol", "role": "admin"})),
        ]);
        let length = audit_length(db).await;
        groups.set_users(&team, &new, MembershipRole::Admin, true, None, farm.now()).await.unwrap();
        groups.remove_users(&team, &[bob], None, farm.now()).await.unwrap();
        assert_eq!(audit_length(db).await, length);
        let of_team = AuditLog(db).of_group(team.id, 100).await.unwrap();
        assert!(of_team.iter().all(|entry| entry.subject == "debusine/Team"));
        assert_eq!(of_team[0].changes["user"], "carol", "newest first");
        groups.set_users(&team, &[], MembershipRole::Member, true, None, farm.now()).await.unwrap();
        assert!(members(db, &team).await.is_empty());
    }

    async fn nobody_joins_a_group_while_they_leave_the_scope(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let (scope, _) = first_place(db).await;
        let (all, team) = (group(db, &scope, MEMBERS).await, new_group(&farm, &scope, "Team").await);
        let people = [farm.user("alice").await, farm.user("bob").await];
        let role = MembershipRole::Member;
        for _ in 0..10 {
            let comings = (0..3).map(|_| groups.add_users(&team, &people, role, true, None, farm.now()));
            let goings = (0..3).map(|_| groups.remove_users(&all, &people, None, farm.now()));
            let (come, gone) = futures::join!(join_all(comings), join_all(goings));
            assert!(come.iter().chain(&gone).all(Result::is_ok), "each is fine, whatever the order: {come:?} {gone:?}");
            farm::all_is_well(db).await;
        }
    }

    async fn what_the_groups_of_a_user_hold(db: &Database) {
        let farm = Farm::new(db);
        let (scope, workspace) = first_place(db).await;
        let (owners, team) = (group(db, &scope, OWNERS).await, new_group(&farm, &scope, "Team").await);
        let alice = farm.user("alice").await;
        assert_eq!(PermissionManager(db).grants(alice.id).await.unwrap(), Default::default());
        join(&farm, &team, &alice, MembershipRole::Admin).await;
        join(&farm, &owners, &alice, MembershipRole::Member).await;
        for role in [WorkspaceRole::Contributor, WorkspaceRole::Viewer] {
            WorkspaceManager(db).grant_role(&workspace, &scope, &team, role, None, farm.now()).await.unwrap();
        }
        let grants = PermissionManager(db).grants(alice.id).await.unwrap();
        let all = group(db, &scope, MEMBERS).await;
        assert_eq!(grants.groups, [(all.id, MembershipRole::Member), (team.id, MembershipRole::Admin),
            (owners.id, MembershipRole::Member)].into());
        assert_eq!(grants.scopes, [scope.id].into());
        assert_eq!(grants.scope_roles, [(scope.id, ScopeRole::Owner)].into());
        assert_eq!(grants.workspace_roles, [(workspace.id, WorkspaceRole::Contributor)].into(), "the highest one");
    }

    async fn a_workspace_looks_further_in_order(db: &Database) {
        let (farm, workspaces) = (Farm::new(db), WorkspaceManager(db));
        let (scope, system) = first_place(db).await;
        let other_scope = ScopeManager(db).create("other", None, Some(OWNERS), None, farm.now()).await.unwrap();
        let child = new_workspace(&farm, &scope, "child").await;
        let far = (new_workspace(&farm, &other_scope, "far").await, other_scope);
        let near = (system, scope.clone());
        let set = async |parents: &[(Workspace, Scope)]| {
            workspaces.set_inheritance(&child, &scope, parents, None, farm.now()).await
        };
        assert!(workspaces.inheritance(&child).await.unwrap().is_empty());
        for chain in [vec![near.clone(), far.clone()], vec![far.clone(), near.clone()], vec![far.clone()], vec![]] {
            set(&chain).await.unwrap();
            assert_eq!(workspaces.inheritance(&child).await.unwrap(), chain);
            let names: Vec<String> = chain.iter().map(|(row, scope)| row.full_name(scope)).collect();
            let said = json!({"type": "update", "inheritance": names});
            assert_eq!(audit(db, 1).await, [by_system("debusine/child", said)]);
        }
        set(std::slice::from_ref(&near)).await.unwrap();
        let length = audit_length(db).await;
        set(std::slice::from_ref(&near)).await.unwrap();
        let twice = set(&[near.clone(), far.clone(), near.clone()]).await.unwrap_err();
        assert_eq!(twice.to_string(), "duplicate workspace 'debusine/System' in inheritance chain");
        assert!(matches!(twice, ChainError::Invalid(_)));
        let itself = set(&[far, (child.clone(), scope.clone())]).await.unwrap_err();
        assert_eq!(itself.to_string(), "inheritance chain contains the workspace itself");
        assert_eq!(workspaces.inheritance(&child).await.unwrap(), [near]);
        assert_eq!(audit_length(db).await, length);
    }

    async fn the_longest_names_fit(db: &Database) {
        let (farm, groups) = (Farm::new(db), GroupManager(db));
        let long = "x".repeat(usine_model::names::MAX_NAME);
        let scope = ScopeManager(db).create(&long, Some("long"), Some(&long), None, farm.now()).await.unwrap();
        let new = NewWorkspace { name: &long, public: true, default_expiration_delay: 0 };
        let owners = group(db, &scope, &long).await;
        let workspace = WorkspaceManager(db).create(&scope, &new, &owners, None, farm.now()).await.unwrap();
        let made = groups.create(&scope, Some(&workspace), &long, false, None, farm.now()).await.unwrap();
        assert_eq!(audit(db, 1).await[0].1, made.full_name(&scope, Some(&workspace)));
    }
}
