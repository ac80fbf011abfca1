//! Who may do what in a house.

use usine_db::tenancy::NewWorkspace;
use usine_db::{Database, GroupManager, ScopeManager, UserManager, WorkspaceManager};
use usine_model::permission::{MembershipRole, WorkspaceRole};

use crate::house::House;

/// Gives a user a role on a workspace of the scope `debusine`, through a group of theirs; makes the workspace, a public one,
/// if it is not there.
pub fn give_role(house: &House, username: &str, role: WorkspaceRole, workspace: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = house.path().join("server/usine.db");
        let database = Database::connect(&format!("sqlite:{}", file.display())).await.unwrap();
        let (groups, workspaces) = (GroupManager(&database), WorkspaceManager(&database));
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let scope = ScopeManager(&database).get_scope_or_none("debusine").await.unwrap().unwrap();
        let group = format!("{username}-{workspace}-{role}");
        let group = groups.create(&scope, None, &group, false, None, now).await.unwrap();
        let user = UserManager(&database).get_user_or_none(username).await.unwrap().unwrap();
        groups.add_users(&group, &[user], MembershipRole::Member, true, None, now).await.unwrap();
        match workspaces.get_workspace_or_none(&scope, workspace).await.unwrap() {
            Some(workspace) => workspaces.grant_role(&workspace, &scope, &group, role, None, now).await.unwrap(),
            None => {
                let new = NewWorkspace { name: workspace, public: true, default_expiration_delay: 0 };
                workspaces.create(&scope, &new, &group, None, now).await.unwrap();
            }
        }
    });
}

/// A house whose user contributes to `System`, with a server.
pub fn house() -> House {
    let mut house = House::new(None);
    give_role(&house, "alice", WorkspaceRole::Contributor, "System");
    house.start_server();
    house
}
