//! What one may do with a scope, a workspace, a group or a user: the links of `templates/tenancy/options.html`, which wants a
//! `options: Vec<Link>`. Only what is permitted is among them.

use usine_db::account::User;
use usine_db::tenancy::{Group, Scope, Workspace};
use usine_model::permission::{
    GROUP_CAN_DELETE, GROUP_CAN_DISPLAY_AUDIT_LOG, SCOPE_CAN_DISPLAY, USER_CAN_MANAGE, UserFacts,
    WORKSPACE_CAN_CONFIGURE, WORKSPACE_CAN_DISPLAY,
};

use super::group_address;
use crate::permissions::Place;
use crate::web::account::user_address;
use crate::web::frame::Guest;

/// A name, and where it leads, if one may go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub name: String,
    pub address: Option<String>,
}

impl Link {
    fn to(name: &str, address: impl Into<String>) -> Self {
        Self { name: name.to_owned(), address: Some(address.into()) }
    }

    /// Where it leads; nowhere is this page.
    pub fn href(&self) -> &str {
        self.address.as_deref().unwrap_or_default()
    }
}

/// Of a scope.
pub(in crate::web) fn of_scope(guest: &Guest, scope: &Scope) -> Vec<Link> {
    // Groups, roles and members are for users.
    if guest.user.is_none() || !guest.may(&SCOPE_CAN_DISPLAY, &scope.facts()) {
        return Vec::new();
    }
    let at = |page: &str| format!("/{}/-/{page}/", scope.name);
    vec![Link::to("Members", at("members")), Link::to("Groups", at("groups")), Link::to("Roles", at("roles"))]
}

/// Of a workspace.
pub(in crate::web) fn of_workspace(guest: &Guest, place: &Place) -> Vec<Link> {
    let facts = place.workspace.facts(&place.scope);
    let mut options = Vec::new();
    let at = |page: &str| format!("{}{page}/", place.address());
    if guest.may(&WORKSPACE_CAN_CONFIGURE, &facts) {
        options.push(Link::to("Settings", at("configure")));
        options.push(Link::to("Inheritance", at("inheritance")));
    }
    if guest.user.is_some() && guest.may(&WORKSPACE_CAN_DISPLAY, &facts) {
        options.push(Link::to("Groups", at("groups")));
        options.push(Link::to("Roles", at("roles")));
    }
    options
}

/// Of a group.
pub(in crate::web) fn of_group(
    guest: &Guest,
    scope: &Scope,
    workspace: Option<&Workspace>,
    group: &Group,
) -> Vec<Link> {
    let facts = group.facts(scope, workspace);
    let address = group_address(scope, workspace, group);
    let mut options = Vec::new();
    if !group.system && guest.may(&GROUP_CAN_DISPLAY_AUDIT_LOG, &facts) {
        options.push(Link::to("Audit log", format!("{address}audit-log/")));
    }
    if guest.may(&GROUP_CAN_DELETE, &facts) {
        options.push(Link::to("Delete", format!("{address}delete/")));
    }
    options
}

/// Of a user.
pub(in crate::web) fn of_user(guest: &Guest, user: &User) -> Vec<Link> {
    if !guest.may(&USER_CAN_MANAGE, &UserFacts { id: user.id }) {
        return Vec::new();
    }
    let address = user_address(&user.username);
    vec![Link::to("Tokens", format!("{address}token/")), Link::to("Groups", format!("{address}groups/"))]
}
