//! Groups and their roles.

use usine_db::tenancy::{AuditLog, NewWorkspace};
use usine_db::{GroupManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::permission::{MembershipRole, WorkspaceRole};

use crate::app::{App, stories};
use crate::browser::Browser;
use crate::html;
use crate::world::{group, person, put, scope_owner};

stories! {
    /// Alice is let into a private workspace by a group, and loses it again.
    async fn a_group_gives_and_takes(app: App) {
        scope_owner(&app, "olga").await;
        let (scope, _) = app.system().await;
        let owners = group(&app, &scope, None, "Owners").await;
        let new = NewWorkspace { name: "Private", public: false, default_expiration_delay: 0 };
        WorkspaceManager(&app.state.database).create(&scope, &new, &owners, None, app.clock.now()).await.unwrap();
        person(&app, "alice").await;
        person(&app, "adam").await;
        let mut olga = Browser::of(&app, "olga").await;
        let mut alice = Browser::of(&app, "alice").await;
        let mut adam = Browser::of(&app, "adam").await;
        for name in ["alice", "adam"] {
            olga.done("/debusine/-/members/", &[("username", name)]).await;
        }
        assert_eq!(alice.get("/debusine/Private/roles/").await.status, 404);

        let list = olga.shown("/debusine/Private/groups/").await;
        assert!(list.contains("has no groups") && list.contains("/debusine/Private/groups/-/create/"), "{list}");
        let page = olga.done("/debusine/Private/groups/-/create/", &[("name", "qa")]).await;
        assert!(page.contains("The group qa is made.") && page.contains("<dt>Your role</dt><dd>admin</dd>"), "{page}");
        assert!(page.contains("The group holds no role"), "{page}");

        let at = "/debusine/Private/groups/qa/";
        let page = olga.done(at, &[("username", "alice")]).await;
        assert!(html::main(&page).contains("/-/user/alice/"), "{page}");
        assert!(olga.wrong(at, &[("username", "alice")]).await.contains("in the group already"));
        assert!(olga.wrong(at, &[("username", "<b>")]).await.contains("has no member of this name"));
        person(&app, "stranger").await;
        let html = olga.wrong(at, &[("username", "stranger")]).await;
        assert!(html.contains("debusine has no member of this name"), "{html}");

        let candidates = olga.shown("/debusine/Private/roles/add/?name=QA").await;
        assert!(candidates.contains("Private/qa") && !candidates.contains("Members"), "{candidates}");
        let id = group_id(&app, "Private", "qa").await;
        let set = format!("/debusine/Private/roles/set/{id}/");
        assert!(olga.shown(&set).await.contains("makes artifacts and work requests"));
        let list = olga.done(&set, &[("role", "viewer"), ("role", "contributor")]).await;
        assert!(list.contains("<td>viewer, contributor</td>"), "{list}");
        let roles = alice.shown("/debusine/Private/roles/").await;
        assert!(roles.contains("Private/qa") && !html::main(&roles).contains("set/"), "{roles}");
        assert!(!olga.shown("/debusine/Private/roles/add/").await.contains("Private/qa"));
        assert!(olga.wrong(&set, &[("role", "emperor")]).await.contains("no such role"));
        let list = olga.done(&set, &[("role", "viewer")]).await;
        assert!(list.contains("<td>viewer</td>"), "{list}");

        let edit = format!("{at}edit/alice/");
        assert!(olga.wrong(&edit, &[("role", "king")]).await.contains("no such role"));
        assert_eq!(alice.post(at, &[("username", "adam")]).await.status, 403);
        olga.done(&edit, &[("role", "admin")]).await;
        alice.done(at, &[("username", "adam")]).await;
        assert!(adam.shown(at).await.contains("<dt>Your role</dt><dd>member</dd>"));
        alice.done(&format!("{at}remove/adam/"), &[]).await;
        assert_eq!(adam.get(at).await.status, 404);
        alice.done(at, &[("username", "adam")]).await;
        alice.done(&format!("{at}remove/adam/"), &[]).await;

        let page = alice.shown(at).await;
        assert!(page.contains("removed adam") && page.contains("debusine/Private</a></th><td>viewer</td>"), "{page}");
        let log = alice.shown(&format!("{at}audit-log/")).await;
        for message in ["gave it the role viewer on debusine/Private", "made alice admin", "added adam as member"] {
            assert!(log.contains(message), "{message}: {log}");
        }
        let first = alice.shown(&format!("{at}audit-log/?page=99")).await;
        assert!(first.contains("made the group qa") && first.contains("Page 2 of 2"), "{first}");

        let delete = format!("/debusine/Private/roles/delete/{id}/");
        assert!(olga.shown(&delete).await.contains("<li>viewer</li>"));
        olga.done(&delete, &[]).await;
        assert_eq!(alice.get("/debusine/Private/roles/").await.status, 404, "it is over");
        assert_eq!(olga.get(&delete).await.status, 404);

        olga.done(&set, &[("role", "owner")]).await;
        let question = olga.shown(&format!("{at}delete/")).await;
        assert!(question.contains("<li>owner of debusine/Private</li>") && question.contains("2 memberships"), "{question}");
        let list = olga.done(&format!("{at}delete/"), &[]).await;
        assert!(list.contains("The group qa is deleted."), "{list}");
        assert_eq!(olga.get(at).await.status, 404);
        let all = AuditLog(&app.state.database).newest(5).await.unwrap();
        assert!(all.iter().any(|entry| entry.actor == "olga" && entry.changes["type"] == "delete"), "{all:?}");
        app.end().await;
    }

    async fn names_of_groups_are_looked_at(app: App) {
        scope_owner(&app, "olga").await;
        let mut olga = Browser::of(&app, "olga").await;
        let create = "/debusine/-/groups/-/create/";
        for bad in ["", "1a", "a b", "<script>", "-", &"a".repeat(256), "a\0"] {
            let html = olga.wrong(create, &[("name", bad)]).await;
            assert!(html.contains("name-error") && !html.contains("<script>"), "{bad}: {html}");
        }
        assert!(olga.wrong(create, &[("name", "Owners")]).await.contains("of this name already"));
        assert!(olga.wrong(create, &[("name", "Members")]).await.contains("of this name already"));
        olga.done(create, &[("name", "a+b.c_d-e")]).await;
        assert!(olga.shown("/debusine/-/groups/").await.contains("/debusine/-/groups/a+b.c_d-e/"));
        app.end().await;
    }

    /// The group of all members is its own page, and nobody's to change.
    async fn the_systems_group_stays(app: App) {
        scope_owner(&app, "olga").await;
        let mut olga = Browser::of(&app, "olga").await;
        assert_eq!(olga.get("/debusine/-/groups/Members/").await.location, "/debusine/-/members/");
        assert!(!html::main(&olga.shown("/debusine/-/groups/").await).contains(">Members</a></th>"));
        for path in ["delete/", "remove/olga/", "edit/olga/", ""] {
            let path = format!("/debusine/-/groups/Members/{path}");
            assert_eq!(olga.post(&path, &[("username", "olga"), ("role", "admin")]).await.status, 403, "{path}");
        }
        let id = group_id_of_scope(&app, "Members").await;
        let list = olga.done(&format!("/debusine/-/roles/set/{id}/"), &[("role", "aware")]).await;
        assert!(list.contains("/debusine/-/members/"), "{list}");
        app.end().await;
    }

    /// Names of workspaces do not come out by way of the groups that hold roles.
    async fn what_is_hidden_is_not_named(app: App) {
        let (scope, system) = app.system().await;
        let owners = group(&app, &scope, None, "Owners").await;
        let new = NewWorkspace { name: "Dark", public: false, default_expiration_delay: 0 };
        let manager = WorkspaceManager(&app.state.database);
        let now = app.clock.now();
        let dark = manager.create(&scope, &new, &owners, None, now).await.unwrap();
        let theirs = group(&app, &scope, Some(&dark), "obscure").await;
        let both = group(&app, &scope, None, "both").await;
        for workspace in [&system, &dark] {
            manager.grant_role(workspace, &scope, &both, WorkspaceRole::Viewer, None, now).await.unwrap();
        }
        manager.grant_role(&system, &scope, &theirs, WorkspaceRole::Contributor, None, now).await.unwrap();
        let wanda = person(&app, "wanda").await;
        app.has_role("wanda", &system, &scope, WorkspaceRole::Owner).await;
        put(&app, &both, &person(&app, "member").await, MembershipRole::Member).await;
        let mut browser = Browser::of(&app, "wanda").await;
        for path in [
            "/debusine/-/groups/",
            "/debusine/-/groups/both/",
            "/debusine/-/groups/both/audit-log/",
            "/debusine/System/roles/",
            "/debusine/System/roles/add/",
            "/debusine/System/inheritance/",
            "/debusine/-/roles/",
        ] {
            let page = browser.shown(path).await;
            assert!(!page.contains("Dark") && !page.contains("obscure"), "{path}: {page}");
        }
        let page = browser.shown("/debusine/-/groups/both/").await;
        assert!(page.contains("And 1 on workspaces that you may not see"), "{page}");
        assert!(page.contains("on a workspace that you may not see") && page.contains("viewer on debusine/System"), "{page}");
        // The owner of a workspace may take the role from a group that they cannot see.
        let list = browser.shown("/debusine/System/roles/").await;
        assert!(list.contains(&format!("group {} of a workspace that you may not see", theirs.id)), "{list}");
        let list = browser.done(&format!("/debusine/System/roles/delete/{}/", theirs.id), &[]).await;
        assert!(!list.contains("contributor"), "{list}");
        assert_eq!(browser.get(&format!("/debusine/System/roles/set/{}/", theirs.id)).await.status, 404);
        let _ = wanda;
        app.end().await;
    }
}

async fn group_id(app: &App, workspace: &str, name: &str) -> i64 {
    let (scope, _) = app.system().await;
    let workspace = WorkspaceManager(&app.state.database).get_workspace_or_none(&scope, workspace).await.unwrap();
    let groups = GroupManager(&app.state.database);
    groups.get_group_or_none(&scope, workspace.as_ref(), name).await.unwrap().unwrap().id
}

async fn group_id_of_scope(app: &App, name: &str) -> i64 {
    let (scope, _) = app.system().await;
    GroupManager(&app.state.database).get_group_or_none(&scope, None, name).await.unwrap().unwrap().id
}
