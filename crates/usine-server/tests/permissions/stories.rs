//! What follows from roles, beyond single requests.

use serde_json::json;
use usine_db::tenancy::{AuditLog, NewWorkspace};
use usine_db::{GroupManager, UserManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::permission::{GlobalPermission, WorkspaceRole};
use usine_model::work_request::{Results, Statuses};
use usine_protocol::work_request::CreateWorkRequest;

use crate::app::{App, Words as _};

crate::app::stories! {
    /// A role counts from the next request on, and no longer than it is held.
    async fn roles_change_at_once(app: App) {
        let key = app.stranger_key("alice").await;
        let submit = || app.post("/api/1.0/work-request/", json!({"task_name": "noop"})).key(&key);
        assert_eq!(submit().refused(403).await, "alice cannot create work requests in debusine/System");
        app.contributes("alice").await;
        submit().answers(200).await;
        let (scope, _) = app.system().await;
        let (groups, now) = (GroupManager(&app.state.database), app.clock.now());
        let group = groups.get_group_or_none(&scope, None, "System-contributor").await.unwrap().unwrap();
        groups.remove_users(&group, &[app.user_row("alice").await], None, now).await.unwrap();
        submit().refused(403).await;
        let kinds: Vec<_> = AuditLog(&app.state.database).of_group(group.id, 10).await.unwrap();
        let kinds: Vec<_> = kinds.iter().map(|entry| entry.changes["type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["del_user", "add_user", "grant_role", "create"]);
        app.end().await;
    }

    /// What was allowed to begin may end, whatever becomes of its creator's roles meanwhile.
    async fn a_build_survives_its_creators_roles(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        app.noop(&alice).await;
        let running = worker.take().await;
        let (scope, workspace) = app.system().await;
        let groups = GroupManager(&app.state.database);
        let members = groups.get_group_or_none(&scope, None, "Members").await.unwrap().unwrap();
        groups.remove_users(&members, &[app.user_row("alice").await], None, app.clock.now()).await.unwrap();
        let private = usine_db::tenancy::WorkspaceChanges { public: Some(false), ..Default::default() };
        let workspaces = WorkspaceManager(&app.state.database);
        workspaces.update(&workspace, &scope, private, None, app.clock.now()).await.unwrap();
        let log = json!({"category": "debusine:work-request-debug-logs", "workspace": "System", "files": {}, "data": {},
            "work_request": running.id});
        let key = running.token.clone().unwrap();
        app.post("/api/1.0/artifact/", log).key(&key).answers(201).await;
        worker.report(&running, Results::Success).await.unwrap();
        alice.work_request(running.id).await.unwrap_err();
        app.end().await;
    }

    /// Nobody is given the artifacts of a workspace that they may not see as inputs.
    async fn inputs_are_what_the_creator_may_see(app: App) {
        let (scope, _) = app.system().await;
        let key = app.user_key("alice").await;
        let groups = GroupManager(&app.state.database);
        let owners = groups.get_group_or_none(&scope, None, "Owners").await.unwrap().unwrap();
        let new = NewWorkspace { name: "Private", public: false, default_expiration_delay: 0 };
        let workspaces = WorkspaceManager(&app.state.database);
        let private = workspaces.create(&scope, &new, &owners, None, app.clock.now()).await.unwrap();
        app.stranger_key("bob").await;
        app.has_role("bob", &private, &scope, WorkspaceRole::Owner).await;
        let bob = app.token_of(&app.user_row("bob").await, |_| {}).await;
        let log = json!({"category": "debian:package-build-log", "workspace": "Private",
            "data": {"source": "hello", "version": "1", "filename": "hello.build"},
            "files": {"hello.build": {"size": 0, "type": "file", "checksums": {"sha256": usine_model::token::hash_of("").0}}}});
        let log = app.post("/api/1.0/artifact/", log).key(&bob).answers(201).await["id"].as_i64().unwrap();
        let blhc = json!({"task_name": "blhc", "task_data": {"input": {"artifact": log}, "environment": 1, "build_architecture": "amd64"}});
        let submit = || app.post("/api/1.0/work-request/", &blhc).key(&key);
        let refusal = submit().refused(400).await;
        assert!(refusal.contains(&format!("artifact {log} does not exist")), "{refusal}");
        app.has_role("alice", &private, &scope, WorkspaceRole::Viewer).await;
        let refusal = submit().refused(400).await;
        assert!(!refusal.contains(&format!("artifact {log} does not exist")), "now only the environment is missing: {refusal}");
        app.end().await;
    }

    /// Priorities above zero are for those whom an administrator allows it; below, for the creator, too.
    async fn priorities_are_raised_by_permission(app: App) {
        let alice = app.user("alice").await;
        let bob = app.user_key("bob").await;
        let id = app.noop(&alice).await.id;
        let path = format!("/api/1.0/work-request/{id}/");
        let set = |key: &str, value: i32| {
            app.request(reqwest::Method::PATCH, &path).json(&json!({"priority_adjustment": value})).key(key)
        };
        let key = app.token_of(&app.user_row("alice").await, |_| {}).await;
        set(&key, -5).answers(200).await;
        assert_eq!(set(&key, 5).refused(403).await, "You are not permitted to set priority adjustments");
        assert_eq!(set(&bob, -5).refused(403).await, "You are not permitted to set priority adjustments");
        let users = UserManager(&app.state.database);
        users.grant_permission(&app.user_row("bob").await, GlobalPermission::ManageWorkrequestPriorities).await.unwrap();
        assert_eq!(set(&bob, 5).answers(200).await["priority_adjustment"], 5);
        users.revoke_permission(&app.user_row("bob").await, GlobalPermission::ManageWorkrequestPriorities).await.unwrap();
        set(&bob, 5).refused(403).await;
        app.end().await;
    }

    /// Lists and followers show what may be seen, and nothing else.
    async fn private_work_requests_are_not_listed(app: App) {
        let (scope, _) = app.system().await;
        let groups = GroupManager(&app.state.database);
        let owners = groups.get_group_or_none(&scope, None, "Owners").await.unwrap().unwrap();
        let new = NewWorkspace { name: "Private", public: false, default_expiration_delay: 0 };
        let workspaces = WorkspaceManager(&app.state.database);
        let private = workspaces.create(&scope, &new, &owners, None, app.clock.now()).await.unwrap();
        let alice = app.user("alice").await;
        app.has_role("alice", &private, &scope, WorkspaceRole::Contributor).await;
        let bob = app.user("bob").await;
        let hidden = CreateWorkRequest {
            task_name: "noop".to_owned(), task_data: json!({}), workspace: Some("Private".to_owned()), ..Default::default()
        };
        let hidden = alice.create_work_request(&hidden).await.unwrap();
        let shown = app.noop(&alice).await;
        let listed = bob.work_requests(&Default::default(), 10).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.id).collect::<Vec<_>>(), [shown.id]);
        assert_eq!(alice.work_requests(&Default::default(), 10).await.unwrap().len(), 2);
        bob.work_request(hidden.id).await.unwrap_err();

        let mut follower = bob.on_completed(&[], chrono::DateTime::from_timestamp(0, 0)).await.unwrap();
        follower.receive().await.unwrap();
        let mut worker = app.worker("w", &[]).await;
        for _ in 0..2 {
            let taken = worker.take().await;
            worker.report(&taken, Results::Success).await.unwrap();
            app.until(&alice, taken.id, |row| row.status == Statuses::Completed).await;
        }
        let heard = format!("{:?}", follower.receive().await.unwrap());
        assert!(heard.contains(&format!("work_request_id: {}", shown.id)), "{heard}");
        app.end().await;
    }

    /// An inactive user's token is refused with a word that says why; a token and a session together are refused, too.
    async fn inactive_users_are_shut_out(app: App) {
        let key = app.user_key("alice").await;
        UserManager(&app.state.database).set_active(&app.user_row("alice").await, false).await.unwrap();
        let text = app.get("/api/1.0/whoami/").key(&key).sent(403).await.text().await.unwrap();
        assert_eq!(text, "user token has an inactive user");
        app.end().await;
    }
}
