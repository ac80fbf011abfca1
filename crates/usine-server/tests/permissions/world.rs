//! Three workspaces of different privacy, each with everything that a route may be about, and somebody of every role.

use reqwest::Method;
use serde_json::{Value, json};
use usine_db::artifact::{NewArtifact, NewFile};
use usine_db::tenancy::{NewWorkspace, Scope, Workspace};
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{
    Artifact, ArtifactManager, GroupManager, ScopeManager, UserManager, WorkRequest, WorkRequestManager, WorkerManager,
    WorkspaceManager,
};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::clock::Clock;
use usine_model::output_data::OutputData;
use usine_model::permission::{MembershipRole, ScopeRole, WorkspaceRole};
use usine_model::token::TokenKey;
use usine_model::work_request::{Results, TaskType};
use usine_model::worker::WorkerType;
use usine_protocol::channel::{LogMessage, LogStream};

use crate::app::App;

/// Everybody, in the order of the table's columns.
pub const REQUESTERS: [&str; 14] = [
    "nobody",
    "stranger",
    "viewer",
    "contributor",
    "owner",
    "observer",
    "scope-owner",
    "creator",
    "disabled",
    "expired",
    "grants-only",
    "activation",
    "worker",
    "work-request",
];

/// The workspaces, in the order of the table's rows.
pub const PLACES: [(&str, &str); 3] = [("debusine", "System"), ("debusine", "Private"), ("hidden", "Secret")];

/// One workspace and what is in it.
pub struct Place {
    pub scope: Scope,
    pub workspace: Workspace,
    /// Ended with a failure; submitted by `creator`.
    pub ended: WorkRequest,
    /// Running on a worker; submitted by `creator`.
    pub running: WorkRequest,
    /// Given to the running one.
    pub input: Artifact,
    /// Made by the running one.
    pub made: Artifact,
    /// Of somebody else.
    pub other: Artifact,
    keys: Vec<Option<String>>,
}

impl Place {
    /// Makes the workspace and fills it.
    pub async fn make(app: &App, scope: &str, workspace: &str) -> Self {
        let (scope, workspace) = tenancy(app, scope, workspace).await;
        let mut keys = keys(app, &scope, &workspace).await;
        let creator = app.user_row(&name("creator", &workspace)).await;
        let other = artifact(app, &workspace, None).await;
        let input = artifact(app, &workspace, None).await;
        let ended = ended(app, &workspace, creator.id).await;
        let (running, key) = running(app, &workspace, creator.id, input.id).await;
        keys[13] = Some(key);
        let data = "It runs.\n".to_owned();
        let line = LogMessage::LogData { data, stream: LogStream::Stdout, timestamp: app.clock.now() };
        app.state.live_logs.append(running.id, &line).await.unwrap();
        let made = artifact(app, &workspace, Some(running.id)).await;
        let artifacts = ArtifactManager(&app.state.database);
        artifacts.relate(made.id, input.id, RelationType::RelatesTo).await.unwrap();
        Self { scope, workspace, ended, running, input, made, other, keys }
    }

    /// The key that a requester sends.
    pub fn key(&self, requester: usize) -> Option<&str> {
        self.keys[requester].as_deref()
    }

    /// A relation that may be deleted.
    pub async fn relation(&self, app: &App) -> i64 {
        let artifacts = ArtifactManager(&app.state.database);
        artifacts.relate(self.other.id, self.input.id, RelationType::Extends).await.unwrap().0.id
    }

    /// The address and the body with which a route is asked: valid ones, so that only permissions refuse them, of things where
    /// an allowed call does no harm to the next one.
    pub async fn ask(&self, app: &App, method: &Method, path: &str, requester: &str) -> (String, Option<Value>) {
        let (scope, workspace) = (&self.scope.name, &self.workspace.name);
        let for_work_request = requester == "work-request";
        let at = |path: &str, id: i64| {
            path.replace("{scope}", scope).replace("{workspace}", workspace).replace("{id}", &id.to_string())
        };
        let body = |value| Some(value);
        if let Some(address) = self.page(path) {
            return (address, None);
        }
        match (method.as_str(), path) {
            ("POST", "/api/1.0/worker/register/") => (path.to_owned(), body(json!({}))),
            ("PUT", "/api/1.0/worker/dynamic-metadata/") => (path.to_owned(), body(json!([]))),
            ("POST", "/api/1.0/work-request/" | "/api/usine/1.0/work-request/") => {
                (path.to_owned(), body(json!({"task_name": "noop", "task_data": {}, "workspace": workspace})))
            }
            ("POST", "/api/1.0/artifact/") => {
                let work_request = for_work_request.then_some(self.running.id);
                let new = json!({"category": "debusine:test", "workspace": workspace, "files": {}, "data": {},
                    "work_request": work_request});
                (path.to_owned(), body(new))
            }
            ("POST", "/api/1.0/artifact-relation/") => {
                let new = json!({"artifact": self.made.id, "target": self.input.id, "type": "relates-to"});
                (path.to_owned(), body(new))
            }
            ("GET", "/api/1.0/artifact-relation/") => (format!("{path}?artifact={}", self.made.id), None),
            ("DELETE", "/api/1.0/artifact-relation/{id}/") => (at(path, self.relation(app).await), None),
            ("PUT", "/api/1.0/artifact/{id}/files/{*path}") => {
                (at(path, self.made.id).replace("{*path}", "empty/"), body(json!({})))
            }
            ("GET", "/api/1.0/artifact/{id}/" | "/api/1.0/artifact/{workspace}/{id}/") => {
                (at(path, self.input.id), None)
            }
            ("GET", path) if path.starts_with("/{scope}/{workspace}/artifact/{id}/") => {
                (at(path, self.input.id).replace("{*path}", "empty"), None)
            }
            ("PATCH", "/api/1.0/work-request/{id}/") => {
                (at(path, self.ended.id), body(json!({"priority_adjustment": 0})))
            }
            ("POST", "/api/1.0/work-request/{id}/unblock/") => (at(path, self.ended.id), body(json!({"notes": "x"}))),
            // What runs cannot be retried, what has ended cannot be aborted: 400, if it is allowed at all.
            ("POST", "/api/1.0/work-request/{id}/retry/") => (at(path, self.running.id), body(json!({}))),
            ("POST", path) if path.starts_with("/api/1.0/work-request/{id}/") => {
                (at(path, self.ended.id), body(json!({})))
            }
            ("PUT", "/api/1.0/work-request/{id}/completed/") => {
                // The one who may must not end it for those who come after.
                let result = if for_work_request { "" } else { "success" };
                (at(path, self.running.id), body(json!({"result": result})))
            }
            ("GET", "/-/live/workspace/{id}/") => (at(path, self.workspace.id), None),
            ("GET", "/-/status/workers/{name}/") => (path.replace("{name}", &name("busy", &self.workspace)), None),
            ("GET", path) if path.ends_with("/compare/") => {
                (format!("{}?a={}&b={}", at(path, 0), self.running.id, self.ended.id), None)
            }
            // Without the browser's secret no form is taken: 403, if one may come in at all.
            ("POST", path) if path.starts_with("/{scope}/") => (at(path, self.ended.id), None),
            ("GET", path) if path.ends_with("/log/search/") => (format!("{}?q=x", at(path, self.running.id)), None),
            ("GET", path) if path.contains("work-request/{id}") => (at(path, self.running.id), None),
            ("POST", "/api/1.0/work-request/get-next-for-worker/") => (path.to_owned(), body(json!({}))),
            ("POST", "/api/1.0/workspace/{workspace}/inheritance/") => (at(path, 0), body(json!({"chain": []}))),
            ("POST", "/api/enroll/") => (path.to_owned(), body(json!({}))),
            ("GET", path) => (
                at(path, 0).replace("{name}", "noop").replace("{nonce}", "no-such-nonce").replace("{file}", "none"),
                None,
            ),
            (_, path) if path.starts_with("/-/") => (path.replace("{nonce}", "no-such-nonce"), None),
            _ => panic!("{method} {path}: say how this route is asked for"),
        }
    }
}

impl Place {
    /// The address of a page of users, groups, roles or settings. These are for sessions, not for tokens: what everybody may do there is
    /// in the table of `web_tenancy`. So it does not matter that nobody and nothing is called so.
    fn page(&self, path: &str) -> Option<String> {
        const OF_TENANTS: [&str; 5] = ["/members/", "/groups/", "/roles/", "/configure/", "/inheritance/"];
        let is_of_tenants = path.starts_with("/{scope}/") && OF_TENANTS.iter().any(|part| path.contains(part));
        if !is_of_tenants && !path.starts_with("/-/user/") && !path.starts_with("/-/my/") {
            return None;
        }
        let (scope, workspace) = (&self.scope.name, &self.workspace.name);
        let address = path.replace("{scope}", scope).replace("{workspace}", workspace).replace("{id}", "1");
        let user = name("viewer", &self.workspace);
        let address = address.replace("{name}", &user).replace("{user}", &user).replace("{group}", "Owners");
        Some(address.replace("{*rest}", "token/"))
    }
}

/// Each place has users of its own.
fn name(role: &str, workspace: &Workspace) -> String {
    format!("{role}-{}", workspace.name)
}

async fn tenancy(app: &App, scope: &str, workspace: &str) -> (Scope, Workspace) {
    let (database, now) = (&app.state.database, app.clock.now());
    let scopes = ScopeManager(database);
    let scope = match scopes.get_scope_or_none(scope).await.unwrap() {
        Some(scope) => scope,
        None => {
            let scope = scopes.create(scope, None, Some("Owners"), None, now).await.unwrap();
            scopes.update(&scope, None, None, Some(false), None, now).await.unwrap()
        }
    };
    let workspaces = WorkspaceManager(database);
    if let Some(found) = workspaces.get_workspace_or_none(&scope, workspace).await.unwrap() {
        return (scope, found);
    }
    let owners = GroupManager(database).get_group_or_none(&scope, None, "Owners").await.unwrap().unwrap();
    let new = NewWorkspace { name: workspace, public: false, default_expiration_delay: 0 };
    let workspace = workspaces.create(&scope, &new, &owners, None, now).await.unwrap();
    (scope, workspace)
}

/// The keys of all requesters but the work request.
async fn keys(app: &App, scope: &Scope, workspace: &Workspace) -> Vec<Option<String>> {
    let (database, now) = (&app.state.database, app.clock.now());
    let mut keys: Vec<Option<String>> = vec![None];
    for role in ["stranger", "viewer", "contributor", "owner", "observer", "scope-owner", "creator"] {
        keys.push(Some(app.stranger_key(&name(role, workspace)).await));
    }
    for role in [WorkspaceRole::Viewer, WorkspaceRole::Contributor, WorkspaceRole::Owner] {
        app.has_role(&name(&role.to_string(), workspace), workspace, scope, role).await;
    }
    let groups = GroupManager(database);
    for (user, role) in [("observer", ScopeRole::Observer), ("scope-owner", ScopeRole::Owner)] {
        let group = groups.create(scope, None, &name(user, workspace), false, None, now).await.unwrap();
        ScopeManager(database).grant_role(scope, &group, role, None, now).await.unwrap();
        let user = app.user_row(&name(user, workspace)).await;
        groups.add_users(&group, &[user], MembershipRole::Member, true, None, now).await.unwrap();
    }
    let owner = app.user_row(&name("owner", workspace)).await;
    keys.push(Some(app.token_of(&owner, |token| token.enabled = false).await));
    keys.push(Some(app.token_of(&owner, |token| token.expire_at = Some(now - chrono::TimeDelta::seconds(1))).await));
    keys.push(Some(app.token_of(&owner, |token| token.explicit_grants_only = true).await));
    keys.push(Some(app.activation(&name("new", workspace), WorkerType::External).await));
    keys.push(Some(worker(app, &name("idle", workspace)).await.1));
    keys.push(None);
    keys
}

/// A registered worker, and its key.
async fn worker(app: &App, name: &str) -> (usine_db::Worker, String) {
    let workers = WorkerManager(&app.state.database);
    let key: TokenKey = app.new_key().parse().unwrap();
    let worker = workers.register(name, &key, WorkerType::External, app.clock.now()).await.unwrap();
    let mut token = worker.token(&app.state.database).await.unwrap().unwrap();
    token.enable(&app.state.database, app.clock.now()).await.unwrap();
    (worker, key.reveal().to_owned())
}

async fn artifact(app: &App, workspace: &Workspace, work_request: Option<i64>) -> Artifact {
    // An empty file is complete at once.
    let sha256 = hex_of_nothing();
    let file = NewFile { path: "empty".parse().unwrap(), sha256, size: 0, content_type: None };
    let system = UserManager(&app.state.database).system().await.unwrap();
    let new = NewArtifact {
        category: ArtifactCategory::Test,
        workspace_id: workspace.id,
        data: json!({}),
        files: vec![file],
        created_by: work_request.is_none().then_some(system.id),
        created_by_work_request: work_request,
        expiration_delay: None,
    };
    ArtifactManager(&app.state.database).create(new, app.clock.now()).await.unwrap()
}

/// SHA-256 of no bytes.
fn hex_of_nothing() -> [u8; 32] {
    let hash = usine_model::token::hash_of("").0;
    std::array::from_fn(|index| u8::from_str_radix(&hash[2 * index..2 * index + 2], 16).unwrap())
}

fn noop(workspace: &Workspace, creator: i64) -> NewWorkRequest {
    // Nobody runs it: what the matrix submits must not be given to its workers.
    NewWorkRequest { task_type: TaskType::Signing, ..NewWorkRequest::of_worker_task(workspace.id, creator, "noop") }
}

async fn ended(app: &App, workspace: &Workspace, creator: i64) -> WorkRequest {
    let (database, now) = (&app.state.database, app.clock.now());
    let new = noop(workspace, creator);
    let mut row = WorkRequestManager(database).create(&new, &SchedulerTags::default(), now).await.unwrap();
    row.mark_completed(database, Results::Success, OutputData::default(), now).await.unwrap();
    row
}

/// A work request in the hands of a worker, and the key for it.
async fn running(app: &App, workspace: &Workspace, creator: i64, input: i64) -> (WorkRequest, String) {
    let (database, now) = (&app.state.database, app.clock.now());
    let manager = WorkRequestManager(database);
    let (worker, _) = worker(app, &name("busy", workspace)).await;
    let mut row = manager.create(&noop(workspace, creator), &SchedulerTags::default(), now).await.unwrap();
    assert!(row.assign_worker(database, &worker, Some(json!({"input_artifact_id": input})), now).await.unwrap());
    let handed_out = manager.get_next_for_worker(&worker, &*app.entropy, now).await.unwrap().unwrap();
    (manager.get(row.id).await.unwrap(), handed_out.key.reveal().to_owned())
}
