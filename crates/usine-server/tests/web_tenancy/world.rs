//! Somebody of every role, in workspaces of different privacy; and lists that are long.

use usine_db::account::User;
use usine_db::tenancy::{Group, NewWorkspace, Scope, Workspace};
use usine_db::{GroupManager, ScopeManager, UserManager, WorkspaceManager};
use usine_model::clock::Clock;
use usine_model::permission::{MembershipRole, ScopeRole, WorkspaceRole};

use crate::app::App;

/// Everybody, in the order of the table's columns.
pub const PEOPLE: [&str; 9] =
    ["nobody", "stranger", "member", "viewer", "contributor", "owner", "group-admin", "observer", "scope-owner"];

/// The workspaces, in the order of the table's rows.
pub const PLACES: [(&str, &str); 3] = [("debusine", "System"), ("debusine", "Private"), ("hidden", "Secret")];

/// A workspace, and everybody in it.
pub struct Place {
    pub scope: Scope,
    pub workspace: Workspace,
    number: usize,
}

/// A user without a token, quickly.
pub async fn person(app: &App, name: &str) -> User {
    // Names may be addresses, and have what addresses do not.
    let mail = format!("{}@example.org", usine_model::token::hash_of(name).0);
    UserManager(&app.state.database).create(name, &mail, &*app.entropy, app.clock.now()).await.unwrap().0
}

/// A new owner of the scope `debusine`.
pub async fn scope_owner(app: &App, name: &str) -> User {
    let user = person(app, name).await;
    let (scope, _) = app.system().await;
    put(app, &group(app, &scope, None, "Owners").await, &user, MembershipRole::Member).await;
    user
}

/// A group, made if it is not there.
pub async fn group(app: &App, scope: &Scope, workspace: Option<&Workspace>, name: &str) -> Group {
    let groups = GroupManager(&app.state.database);
    match groups.get_group_or_none(scope, workspace, name).await.unwrap() {
        Some(group) => group,
        None => groups.create(scope, workspace, name, false, None, app.clock.now()).await.unwrap(),
    }
}

/// Puts somebody into a group, and into its scope.
pub async fn put(app: &App, group: &Group, user: &User, role: MembershipRole) {
    let groups = GroupManager(&app.state.database);
    let users = std::slice::from_ref(user);
    groups.add_users(group, users, role, true, None, app.clock.now()).await.unwrap();
}

impl Place {
    /// Makes the workspace, its groups `qa` and `spare`, and everybody.
    pub async fn make(app: &App, number: usize) -> Self {
        let (scope, name) = PLACES[number];
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
        let workspace = match workspaces.get_workspace_or_none(&scope, name).await.unwrap() {
            Some(workspace) => workspace,
            None => {
                let owners = group(app, &scope, None, "Owners").await;
                let new = NewWorkspace { name, public: false, default_expiration_delay: 0 };
                workspaces.create(&scope, &new, &owners, None, now).await.unwrap()
            }
        };
        let place = Self { scope, workspace, number };
        for role in &PEOPLE[1..] {
            person(app, &place.name(role)).await;
        }
        let everybody = GroupManager(database).everybody_in(&place.scope).await.unwrap();
        put(app, &everybody, &place.user(app, "member").await, MembershipRole::Member).await;
        for role in [WorkspaceRole::Viewer, WorkspaceRole::Contributor, WorkspaceRole::Owner] {
            let holders = group(app, &place.scope, None, &format!("{role}s{number}")).await;
            workspaces.grant_role(&place.workspace, &place.scope, &holders, role, None, now).await.unwrap();
            put(app, &holders, &place.user(app, &role.to_string()).await, MembershipRole::Member).await;
        }
        for role in [ScopeRole::Observer, ScopeRole::Owner] {
            let holders = group(app, &place.scope, None, &format!("scope-{role}s{number}")).await;
            scopes.grant_role(&place.scope, &holders, role, None, now).await.unwrap();
            let name = if role == ScopeRole::Owner { "scope-owner" } else { "observer" };
            put(app, &holders, &place.user(app, name).await, MembershipRole::Member).await;
        }
        place.refresh(app).await;
        place
    }

    /// Makes again what an allowed request has undone.
    pub async fn refresh(&self, app: &App) {
        let admin = self.user(app, "group-admin").await;
        let viewer = self.user(app, "viewer").await;
        let viewers = group(app, &self.scope, None, &self.group_name("viewers")).await;
        put(app, &viewers, &viewer, MembershipRole::Member).await;
        for workspace in [None, Some(&self.workspace)] {
            for name in ["qa", "spare"] {
                let name = self.group_name(name);
                let group = group(app, &self.scope, workspace, &name).await;
                put(app, &group, &admin, MembershipRole::Admin).await;
                put(app, &group, &viewer, MembershipRole::Member).await;
            }
        }
    }

    /// The name of somebody here.
    pub fn name(&self, role: &str) -> String {
        format!("{role}{}", self.number)
    }

    /// The name of a group here: those of a scope are shared by its workspaces.
    pub fn group_name(&self, name: &str) -> String {
        format!("{name}{}", self.number)
    }

    /// Somebody here.
    pub async fn user(&self, app: &App, role: &str) -> User {
        app.user_row(&self.name(role)).await
    }
}
