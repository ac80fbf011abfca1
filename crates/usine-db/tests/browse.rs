//! What pages ask for, on both databases: pages of lists, names that have something in them, roles set as a whole, loops of
//! inheritance.

mod farm;
mod support;

use farm::{Farm, stories};
use usine_db::account::User;
use usine_db::paged::Wanted;
use usine_db::tenancy::{AuditLog, Group, GroupFilter, NewWorkspace, OWNERS, Roles, Scope, Workspace};
use usine_db::token::TokenSpec;
use usine_db::{Error, GroupManager, PermissionManager, ScopeManager, TokenManager, UserManager, WorkspaceManager};
use usine_model::permission::{MembershipRole, PermissionContext, ScopeRole, WorkspaceRole};

const ALL: Wanted = Wanted { page: 1, size: 100 };

async fn scope(farm: &Farm<'_>) -> Scope {
    ScopeManager(farm.db).get_scope_or_none("debusine").await.unwrap().unwrap()
}

async fn user(farm: &Farm<'_>, name: &str) -> User {
    let mail = format!("{name}@example.org");
    UserManager(farm.db).create(name, &mail, &farm.entropy, farm.now()).await.unwrap().0
}

async fn workspace(farm: &Farm<'_>, scope: &Scope, name: &str) -> Workspace {
    let owners = GroupManager(farm.db).get_group_or_none(scope, None, OWNERS).await.unwrap().unwrap();
    let new = NewWorkspace { name, public: false, default_expiration_delay: 0 };
    WorkspaceManager(farm.db).create(scope, &new, &owners, None, farm.now()).await.unwrap()
}

async fn group(farm: &Farm<'_>, scope: &Scope, workspace: Option<&Workspace>, name: &str) -> Group {
    GroupManager(farm.db).create(scope, workspace, name, false, None, farm.now()).await.unwrap()
}

async fn page(farm: &Farm<'_>, context: &PermissionContext, filter: GroupFilter<'_>, wanted: Wanted) -> Vec<String> {
    let scope = scope(farm).await;
    let found = GroupManager(farm.db).page(context, &scope, filter, wanted).await.unwrap();
    let name =
        |workspace: Option<&Workspace>| workspace.map_or(String::new(), |workspace| format!("{}/", workspace.name));
    found.rows.iter().map(|row| format!("{}{}:{}", name(row.workspace.as_ref()), row.group.name, row.members)).collect()
}

stories! {
    async fn groups_are_listed_page_by_page(db: &Database) {
        let farm = Farm::new(db);
        let scope = scope(&farm).await;
        let (seen, hidden) = (workspace(&farm, &scope, "seen").await, workspace(&farm, &scope, "hidden").await);
        let readers = group(&farm, &scope, None, "Read_ers").await;
        group(&farm, &scope, None, "Readiers").await;
        group(&farm, &scope, Some(&seen), "a").await;
        group(&farm, &scope, Some(&hidden), "b").await;
        let alice = user(&farm, "alice").await;
        let groups = GroupManager(farm.db);
        let users = std::slice::from_ref(&alice);
        groups.add_users(&readers, users, MembershipRole::Member, true, None, farm.now()).await.unwrap();
        let workspaces = WorkspaceManager(farm.db);
        workspaces.grant_role(&seen, &scope, &readers, WorkspaceRole::Viewer, None, farm.now()).await.unwrap();
        let context = PermissionManager(farm.db).context_of(&alice).await.unwrap();

        let all = page(&farm, &context, GroupFilter::default(), ALL).await;
        assert_eq!(all, ["Owners:0", "Read_ers:1", "Readiers:0", "seen/a:0"]);
        let second = page(&farm, &context, GroupFilter::default(), Wanted { page: 2, size: 3 }).await;
        assert_eq!(second, ["seen/a:0"]);
        let everything = page(&farm, &PermissionContext::system(), GroupFilter::default(), ALL).await;
        assert!(everything.contains(&"hidden/b:0".to_owned()), "{everything:?}");
        let of = GroupFilter { of: Some(&seen), ..GroupFilter::default() };
        assert_eq!(page(&farm, &context, of, ALL).await, ["seen/a:0"]);
        for (name, found) in [("READ_", vec!["Read_ers:1"]), ("%", vec![]), ("\\", vec![]), ("'", vec![])] {
            let filter = GroupFilter { name, ..GroupFilter::default() };
            assert_eq!(page(&farm, &context, filter, ALL).await, found, "{name}");
        }
        let bare = GroupFilter { without_role_on: Some(Roles::Workspace(seen.id)), system: true, ..GroupFilter::default() };
        assert_eq!(page(&farm, &context, bare, ALL).await, ["Members:1", "Readiers:0", "seen/a:0"]);
        let bare = GroupFilter { without_role_on: Some(Roles::Scope(scope.id)), ..GroupFilter::default() };
        assert_eq!(page(&farm, &context, bare, ALL).await, ["Read_ers:1", "Readiers:0", "seen/a:0"]);
        assert_eq!(page(&farm, &PermissionContext::default(), GroupFilter::default(), ALL).await, [""; 0]);
    }

    async fn members_and_memberships_are_in_order(db: &Database) {
        let farm = Farm::new(db);
        let scope = scope(&farm).await;
        let place = workspace(&farm, &scope, "place").await;
        let (one, other) = (group(&farm, &scope, Some(&place), "one").await, group(&farm, &scope, None, "other").await);
        let (bob, alice) = (user(&farm, "bob").await, user(&farm, "alice").await);
        let groups = GroupManager(farm.db);
        for group in [&one, &other] {
            groups.add_users(group, &[bob.clone(), alice.clone()], MembershipRole::Member, true, None, farm.now()).await.unwrap();
        }
        let members = groups.members_page(&one, Wanted { page: 2, size: 1 }).await.unwrap();
        assert_eq!((members.rows[0].user.username.as_str(), members.page, members.last, members.total), ("bob", 2, 2, 2));
        let of_bob = groups.memberships_of(bob.id, Some(&scope)).await.unwrap();
        let names: Vec<_> = of_bob.iter().map(|membership| membership.group.name.as_str()).collect();
        assert_eq!(names, ["Members", "other", "one"]);
        assert!(of_bob[2].workspace.as_ref().is_some_and(|workspace| workspace.id == place.id));
        assert!(groups.set_role(&one, &bob, MembershipRole::Admin, None, farm.now()).await.unwrap());
        assert_eq!(groups.role_of(&one, bob.id).await.unwrap(), Some(MembershipRole::Admin));
        groups.remove_users(&one, std::slice::from_ref(&bob), None, farm.now()).await.unwrap();
        let is_there = groups.set_role(&one, &bob, MembershipRole::Admin, None, farm.now()).await.unwrap();
        assert!(!is_there && groups.role_of(&one, bob.id).await.unwrap().is_none(), "who has left does not come back so");
    }

    /// Whoever makes a group is its admin, or there is no group.
    async fn a_group_has_an_admin_from_the_beginning(db: &Database) {
        let farm = Farm::new(db);
        let scope = scope(&farm).await;
        let alice = user(&farm, "alice").await;
        let groups = GroupManager(farm.db);
        let made = groups.create_with_admin(&scope, None, "qa", &alice, farm.now()).await.unwrap();
        assert_eq!(groups.role_of(&made, alice.id).await.unwrap(), Some(MembershipRole::Admin));
        let again = groups.create_with_admin(&scope, None, "qa", &alice, farm.now()).await;
        assert!(matches!(again, Err(Error::Invalid(_))), "{again:?}");
        let log = AuditLog(farm.db).page_of_group(made.id, Wanted { page: 1, size: 1 }).await.unwrap();
        assert_eq!((log.total, log.rows[0].actor.as_str()), (2, "alice"));
    }

    async fn roles_are_set_as_a_whole(db: &Database) {
        let farm = Farm::new(db);
        let scope = scope(&farm).await;
        let place = workspace(&farm, &scope, "place").await;
        let group = group(&farm, &scope, None, "qa").await;
        let (groups, workspaces, scopes) = (GroupManager(farm.db), WorkspaceManager(farm.db), ScopeManager(farm.db));
        let now = farm.now();
        let entries = async || AuditLog(farm.db).page_of_group(group.id, ALL).await.unwrap().total;
        let before = entries().await;
        use WorkspaceRole::{Contributor, Owner, Viewer};
        for (wanted, written) in [(vec![Owner, Viewer], 2), (vec![Viewer, Contributor], 4), (vec![Contributor, Viewer], 4)] {
            workspaces.set_roles(&place, &scope, &group, &wanted, None, now).await.unwrap();
            let (_, held) = groups.roles_of(&group).await.unwrap();
            assert_eq!(held.len(), wanted.len());
            assert!(held.iter().all(|(_, role)| wanted.contains(role)), "{held:?}");
            assert_eq!(entries().await, before + written, "what stays is not written down");
        }
        scopes.set_roles(&scope, &group, &[ScopeRole::Aware], None, now).await.unwrap();
        assert_eq!(groups.roles_of(&group).await.unwrap().0, [ScopeRole::Aware]);
        scopes.set_roles(&scope, &group, &[], None, now).await.unwrap();
        workspaces.set_roles(&place, &scope, &group, &[], None, now).await.unwrap();
        assert_eq!(groups.roles_of(&group).await.unwrap(), (vec![], vec![]));
    }

    async fn a_way_back_is_found_through_others(db: &Database) {
        let farm = Farm::new(db);
        let scope = scope(&farm).await;
        let mut places = Vec::new();
        for name in ["a", "b", "c", "d"] {
            places.push(workspace(&farm, &scope, name).await);
        }
        let workspaces = WorkspaceManager(farm.db);
        for (from, to) in [(0, 1), (1, 2), (2, 1)] {
            let parents = [(places[to].clone(), scope.clone())];
            workspaces.set_inheritance(&places[from], &scope, &parents, None, farm.now()).await.unwrap();
        }
        for (from, to, found) in [(0, 1, true), (0, 2, true), (2, 2, true), (1, 0, false), (0, 3, false), (3, 0, false)] {
            assert_eq!(workspaces.looks_into(&places[from], &places[to]).await.unwrap(), found, "{from} {to}");
        }
    }

    async fn tokens_of_a_user_are_theirs(db: &Database) {
        let farm = Farm::new(db);
        let (alice, bob) = (user(&farm, "alice").await, user(&farm, "bob").await);
        let tokens = TokenManager(farm.db);
        let made = tokens.create(TokenSpec::of_user(alice.id), &farm.entropy, farm.now()).await.unwrap().token;
        assert_eq!(tokens.of_user(alice.id, ALL).await.unwrap().rows, std::slice::from_ref(&made));
        assert_eq!((tokens.count_of_user(alice.id).await.unwrap(), tokens.count_of_user(bob.id).await.unwrap()), (1, 0));
        assert_eq!(tokens.of_user_or_none(bob.id, made.id).await.unwrap(), None);
        tokens.update(&made, "new", true, farm.now()).await.unwrap();
        let row = tokens.of_user_or_none(alice.id, made.id).await.unwrap().unwrap();
        assert_eq!((row.comment.as_str(), row.enabled), ("new", true));
        for bad in ["x".repeat(101), "a\0b".to_owned()] {
            assert!(matches!(tokens.update(&made, &bad, true, farm.now()).await, Err(Error::Invalid(_))));
        }
    }
}
