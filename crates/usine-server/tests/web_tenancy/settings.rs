//! Settings of workspaces, and inheritance.

use usine_db::WorkspaceManager;
use usine_db::tenancy::{NewWorkspace, Workspace, WorkspaceChanges};
use usine_model::clock::Clock;
use usine_model::permission::{MembershipRole, WorkspaceRole};

use crate::app::{App, stories};
use crate::browser::Browser;
use crate::html;
use crate::world::{group, person, scope_owner};

const CONFIGURE: &str = "/debusine/System/configure/";
const INHERITANCE: &str = "/debusine/System/inheritance/";

async fn workspace(app: &App, name: &str, public: bool) -> Workspace {
    let (scope, _) = app.system().await;
    let owners = group(app, &scope, None, "Owners").await;
    let new = NewWorkspace { name, public, default_expiration_delay: 0 };
    WorkspaceManager(&app.state.database).create(&scope, &new, &owners, None, app.clock.now()).await.unwrap()
}

async fn parents(app: &App, of: &str) -> Vec<String> {
    let (scope, _) = app.system().await;
    let manager = WorkspaceManager(&app.state.database);
    let workspace = manager.get_workspace_or_none(&scope, of).await.unwrap().unwrap();
    manager.inheritance(&workspace).await.unwrap().into_iter().map(|(parent, _)| parent.name).collect()
}

stories! {
    async fn settings_are_saved(app: App) {
        scope_owner(&app, "olga").await;
        let mut olga = Browser::of(&app, "olga").await;
        let form = olga.shown(CONFIGURE).await;
        assert!(form.contains("name=\"public\" value=\"on\" checked"), "{form}");
        let text = "# Welcome\r\n\r\n<script>alert(1)</script> [x](javascript:alert(2))\r\n\r\n</textarea>";
        let fields =
            [("expiration_delay", "90"), ("default_expiration_delay", "14"), ("description", text)];
        // The page of the workspace is another room's.
        let saved = olga.post(CONFIGURE, &fields).await;
        assert_eq!((saved.status, saved.location.as_str()), (303, "/debusine/System/"));
        let row = app.system().await.1;
        assert!(!row.public);
        assert_eq!((row.expiration_delay, row.default_expiration_delay), (Some(90 * 86_400), 14 * 86_400));
        assert_eq!(row.description, text.replace("\r\n", "\n"));
        let form = olga.shown(CONFIGURE).await;
        assert!(form.contains("value=\"90\"") && form.contains("value=\"14\"") && !form.contains("checked"), "{form}");
        assert!(form.contains("<h3>Welcome</h3>") && !form.contains("<script>alert") && !form.contains("javascript:alert(2)\""));
        assert_eq!(form.matches("</textarea>").count(), 1, "{form}");

        let fields = [("public", "on"), ("expiration_delay", ""), ("default_expiration_delay", "0"), ("description", "")];
        assert_eq!(olga.post(CONFIGURE, &fields).await.status, 303);
        let row = app.system().await.1;
        assert_eq!((row.public, row.expiration_delay, row.default_expiration_delay), (true, None, 0));
        let log = usine_db::tenancy::AuditLog(&app.state.database).newest(2).await.unwrap();
        assert!(log.iter().all(|entry| entry.actor == "olga" && entry.changes["description"] == "changed"), "{log:?}");
        app.end().await;
    }

    async fn wrong_settings_are_told_and_kept(app: App) {
        scope_owner(&app, "olga").await;
        let mut olga = Browser::of(&app, "olga").await;
        let before = app.system().await.1;
        let long = "é".repeat(25_001);
        for (field, value) in [
            ("expiration_delay", "0"),
            ("expiration_delay", "soon\"<b>"),
            ("expiration_delay", "36501"),
            ("default_expiration_delay", ""),
            ("default_expiration_delay", "-1"),
            ("default_expiration_delay", "9999999999999999999"),
            ("description", &long),
            ("description", "a\0b"),
        ] {
            let mut fields = vec![("default_expiration_delay", "3"), ("description", "kept & shown")];
            fields.retain(|(name, _)| *name != field);
            fields.push((field, value));
            let html = olga.wrong(CONFIGURE, &fields).await;
            assert!(html.contains(&format!("id=\"{field}-error\"")) && !html.contains("<b>"), "{field} {value}");
            assert!(field == "description" || html.contains("kept &#38; shown"), "{html}");
        }
        assert_eq!(app.system().await.1, before);
        // What is no whole number of days is kept, if nobody changes it.
        let (scope, row) = app.system().await;
        let odd = WorkspaceChanges { default_expiration_delay: Some(100_000), ..WorkspaceChanges::default() };
        WorkspaceManager(&app.state.database).update(&row, &scope, odd, None, app.clock.now()).await.unwrap();
        let form = olga.shown(CONFIGURE).await;
        assert!(form.contains("value=\"1 (100000 seconds)\""), "{form}");
        assert_eq!(olga.post(CONFIGURE, &[("default_expiration_delay", "1 (100000 seconds)")]).await.status, 303);
        assert_eq!(app.system().await.1.default_expiration_delay, 100_000);
        app.end().await;
    }

    async fn the_chain_is_ordered_without_a_script(app: App) {
        scope_owner(&app, "olga").await;
        let mut olga = Browser::of(&app, "olga").await;
        let mut ids = Vec::new();
        for name in ["A", "B", "C"] {
            ids.push(workspace(&app, name, true).await.id.to_string());
        }
        let mut order: Vec<&str> = Vec::new();
        for (index, name) in ["A", "debusine/B", "C"].iter().enumerate() {
            let mut fields: Vec<(&str, &str)> = order.iter().map(|id| ("parent", *id)).collect();
            fields.extend([("action", "add"), ("name", name)]);
            let page = olga.done(INHERITANCE, &fields).await;
            assert!(page.contains("debusine/System looks into debusine/"), "{page}");
            order.push(&ids[index]);
        }
        assert_eq!(parents(&app, "System").await, ["A", "B", "C"]);
        let send = |order: &[usize], action: String| {
            let mut fields: Vec<(String, String)> = order.iter().map(|at| ("parent".to_owned(), ids[*at].clone())).collect();
            fields.push(("action".to_owned(), action));
            fields
        };
        for (order, action, result) in [
            ([0, 1, 2], format!("up:{}", ids[2]), vec!["A", "C", "B"]),
            ([0, 2, 1], format!("down:{}", ids[0]), vec!["C", "A", "B"]),
            ([2, 0, 1], format!("up:{}", ids[2]), vec!["C", "A", "B"]),
            ([2, 0, 1], format!("remove:{}", ids[0]), vec!["C", "B"]),
        ] {
            let fields = send(&order, action);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            olga.done(INHERITANCE, &fields).await;
            assert_eq!(parents(&app, "System").await, result);
        }

        let present: Vec<(&str, &str)> = vec![("parent", &ids[2]), ("parent", &ids[1])];
        let with = |more: &[(&'static str, &'static str)]| {
            let mut fields = present.clone();
            fields.extend_from_slice(more);
            fields
        };
        let dark = workspace(&app, "Loop", true).await;
        let (scope, system) = app.system().await;
        let between = WorkspaceManager(&app.state.database).get_or_none(ids[0].parse().unwrap()).await.unwrap().unwrap();
        let manager = WorkspaceManager(&app.state.database);
        manager.set_inheritance(&between.0, &scope, &[(system.clone(), scope.clone())], None, app.clock.now()).await.unwrap();
        manager.set_inheritance(&dark, &scope, &[between], None, app.clock.now()).await.unwrap();
        for (fields, why) in [
            (with(&[("action", "add"), ("name", "System")]), "does not inherit from itself"),
            (with(&[("action", "add"), ("name", "B")]), "in the list already"),
            (with(&[("action", "add"), ("name", "Loop")]), "would be a loop"),
            (with(&[("action", "add"), ("name", "<b>no</b>")]), "no workspace of this name"),
            (with(&[("action", "add"), ("name", "a\0/b")]), "no workspace of this name"),
            (with(&[("action", "add")]), "no workspace of this name"),
            (with(&[("action", "down:999")]), "not in the list"),
            (with(&[("action", "turn:1")]), "no change of the list"),
            (present.clone(), "no change of the list"),
            (vec![("action", "add"), ("name", "Loop")], "has changed since"),
            (vec![("parent", "x"), ("action", "add")], "has changed since"),
        ] {
            let html = olga.wrong(INHERITANCE, &fields).await;
            assert!(html.contains(why) && !html.contains("<b>no"), "{why}: {html}");
        }
        assert_eq!(parents(&app, "System").await, ["C", "B"]);
        app.end().await;
    }

    /// What is private in another scope is not looked into, even by who may see it.
    async fn private_workspaces_of_other_scopes_are_refused(app: App) {
        scope_owner(&app, "olga").await;
        let now = app.clock.now();
        let scopes = usine_db::ScopeManager(&app.state.database);
        let other = scopes.create("other", None, Some("Owners"), None, now).await.unwrap();
        let owners = group(&app, &other, None, "Owners").await;
        crate::world::put(&app, &owners, &app.user_row("olga").await, MembershipRole::Member).await;
        let manager = WorkspaceManager(&app.state.database);
        let mut olga = Browser::of(&app, "olga").await;
        for (name, public, status) in [("Closed", false, 400), ("Open", true, 303)] {
            let new = NewWorkspace { name, public, default_expiration_delay: 0 };
            manager.create(&other, &new, &owners, None, now).await.unwrap();
            let name = format!("other/{name}");
            let answer = olga.post(INHERITANCE, &[("action", "add"), ("name", &name)]).await;
            assert_eq!(answer.status, status, "{}", answer.body);
            let why = format!("{name} is private and in another scope");
            assert_eq!(answer.body.contains(&why), !public, "{}", answer.body);
        }
        assert_eq!(parents(&app, "System").await, ["Open"]);
        app.end().await;
    }

    /// An owner of one workspace neither sees nor drops the parents that they may not look at.
    async fn hidden_parents_stay(app: App) {
        let (scope, system) = app.system().await;
        person(&app, "wanda").await;
        app.has_role("wanda", &system, &scope, WorkspaceRole::Owner).await;
        let dark = workspace(&app, "Dark", false).await;
        let light = workspace(&app, "Light", true).await;
        let manager = WorkspaceManager(&app.state.database);
        let both = [(dark.clone(), scope.clone()), (light.clone(), scope.clone())];
        manager.set_inheritance(&system, &scope, &both, None, app.clock.now()).await.unwrap();
        let mut wanda = Browser::of(&app, "wanda").await;
        let page = wanda.shown(INHERITANCE).await;
        assert!(!page.contains("Dark") && page.contains("come 1 that you may not see"), "{page}");
        let light = light.id.to_string();
        let remove = format!("remove:{light}");
        let page = wanda.done(INHERITANCE, &[("parent", &light), ("action", &remove)]).await;
        assert!(html::main(&page).contains("no other workspace that you may see"), "{page}");
        assert_eq!(parents(&app, "System").await, ["Dark"]);
        let html = wanda.wrong(INHERITANCE, &[("action", "add"), ("name", "Dark")]).await;
        assert!(html.contains("no workspace of this name that you may see"), "{html}");
        app.end().await;
    }
}
