//! Where a workspace looks further: who may see it, who may change it, and what is refused.

use serde_json::{Value, json};
use usine_db::tenancy::{NewWorkspace, Scope, Workspace};
use usine_db::{GroupManager, ScopeManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::permission::WorkspaceRole;

use crate::app::{App, Words as _};

async fn workspace(app: &App, scope: &Scope, name: &str, public: bool) -> Workspace {
    let now = app.clock.now();
    let owners = GroupManager(&app.state.database).get_group_or_none(scope, None, "Owners").await.unwrap().unwrap();
    let new = NewWorkspace { name, public, default_expiration_delay: 0 };
    WorkspaceManager(&app.state.database).create(scope, &new, &owners, None, now).await.unwrap()
}

fn names(chain: &Value) -> Vec<String> {
    let name =
        |element: &Value| format!("{}/{}", element["scope"].as_str().unwrap(), element["workspace"].as_str().unwrap());
    chain["chain"].as_array().unwrap().iter().map(name).collect()
}

crate::app::stories! {
    async fn chains_are_kept_in_order_and_checked(app: App) {
        let (scope, system) = app.system().await;
        let other = ScopeManager(&app.state.database)
            .create("other", None, Some("Owners"), None, app.clock.now()).await.unwrap();
        let base = workspace(&app, &scope, "Base", true).await;
        workspace(&app, &scope, "Hidden", false).await;
        workspace(&app, &other, "Public", true).await;
        let private = workspace(&app, &other, "Private", false).await;
        let key = app.stranger_key("alice").await;
        app.has_role("alice", &system, &scope, WorkspaceRole::Owner).await;
        app.has_role("alice", &private, &other, WorkspaceRole::Viewer).await;
        let path = "/api/1.0/workspace/System/inheritance/";
        let set = |chain: Value| app.post(path, json!({"chain": chain})).key(&key);

        assert_eq!(app.get(path).key(&key).answers(200).await, json!({"chain": []}));
        let chain = json!([{"scope": "other", "workspace": "Public"}, {"id": base.id}]);
        assert_eq!(names(&set(chain).answers(200).await), ["other/Public", "debusine/Base"]);
        assert_eq!(names(&app.get(path).key(&key).answers(200).await), ["other/Public", "debusine/Base"]);

        for (chain, status, words) in [
            (json!([{"workspace": "System"}]), 400, "inheritance chain contains the workspace itself"),
            (json!([{"workspace": "Base"}, {"id": base.id}]), 400, "duplicate workspace 'debusine/Base' in inheritance chain"),
            (json!([{"workspace": "Hidden"}]), 404, "Workspace debusine/Hidden not found"),
            (json!([{"workspace": "Nowhere"}]), 404, "Workspace debusine/Nowhere not found"),
            (json!([{"scope": "other", "workspace": "Private"}]), 403, "Workspace cannot be inherited"),
            (json!([{}]), 400, "each element needs an id or a workspace"),
            (json!(vec![json!({"workspace": "Base"}); 101]), 400, "at most 100 parents"),
        ] {
            let refusal = set(chain.clone()).refused(status).await;
            assert!(refusal.contains(words), "{chain}: {refusal}");
        }
        assert_eq!(names(&app.get(path).key(&key).answers(200).await), ["other/Public", "debusine/Base"], "nothing changed");
        app.end().await;
    }

    /// A parent that somebody cannot see is not shown to them, and survives their changes.
    async fn hidden_parents_stay(app: App) {
        let (scope, system) = app.system().await;
        let hidden = workspace(&app, &scope, "Hidden", false).await;
        workspace(&app, &scope, "Base", true).await;
        let workspaces = WorkspaceManager(&app.state.database);
        let parents = [(hidden.clone(), scope.clone())];
        workspaces.set_inheritance(&system, &scope, &parents, None, app.clock.now()).await.unwrap();
        let key = app.stranger_key("alice").await;
        app.has_role("alice", &system, &scope, WorkspaceRole::Owner).await;
        let path = "/api/1.0/workspace/System/inheritance/";
        let answer = app.post(path, json!({"chain": [{"workspace": "Base"}]})).key(&key).answers(200).await;
        assert_eq!(names(&answer), ["debusine/Base"]);
        let all = workspaces.inheritance(&system).await.unwrap();
        assert_eq!(all.iter().map(|(parent, _)| parent.name.as_str()).collect::<Vec<_>>(), ["Base", "Hidden"]);
        app.end().await;
    }

    /// An artifact is found from a workspace that inherits its own, and from no other.
    async fn artifacts_are_found_through_inheritance(app: App) {
        let (scope, system) = app.system().await;
        let base = workspace(&app, &scope, "Base", true).await;
        let middle = workspace(&app, &scope, "Middle", true).await;
        let key = app.user_key("alice").await;
        app.has_role("alice", &base, &scope, WorkspaceRole::Contributor).await;
        let new = json!({"category": "debusine:test", "workspace": "Base", "files": {}, "data": {}});
        let id = app.post("/api/1.0/artifact/", new).key(&key).answers(201).await["id"].as_i64().unwrap();
        let path = format!("/api/1.0/artifact/System/{id}/");
        app.get(&path).key(&key).refused(404).await;
        let workspaces = WorkspaceManager(&app.state.database);
        for (child, parent) in [(&system, &middle), (&middle, &base)] {
            let parents = [(parent.clone(), scope.clone())];
            workspaces.set_inheritance(child, &scope, &parents, None, app.clock.now()).await.unwrap();
        }
        assert_eq!(app.get(&path).key(&key).answers(200).await["workspace"], "Base");
        let public = usine_db::tenancy::WorkspaceChanges { public: Some(false), ..Default::default() };
        workspaces.update(&middle, &scope, public, None, app.clock.now()).await.unwrap();
        app.get(&path).key(&key).refused(404).await;
        app.end().await;
    }
}
