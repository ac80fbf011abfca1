//! Who may do what in a house, said with the administrator's commands.

use crate::house::House;

/// Gives a user a role on a workspace of the scope `debusine`, through a group of theirs; makes the workspace, a public one of that
/// group, if it is not `System`.
pub fn give_role(house: &House, username: &str, role: &str, workspace: &str) {
    let name = format!("{username}-{workspace}-{role}");
    let (group, workspace) = (format!("debusine/{name}"), format!("debusine/{workspace}"));
    house.admin(&["group", "create", &group]);
    house.admin(&["group", "members", &group, "--add", username]);
    if workspace != "debusine/System" {
        house.admin(&["workspace", "define", &workspace, &name, "--public"]);
    }
    house.admin(&["workspace", "grant-role", &workspace, role, &name]);
}

/// A house whose user contributes to `System`, and is no more than that, with a server.
pub fn house() -> House {
    let mut house = House::new(None);
    house.admin(&["group", "members", "debusine/Owners", "--remove", "alice"]);
    give_role(&house, "alice", "contributor", "System");
    house.start_server();
    house
}
