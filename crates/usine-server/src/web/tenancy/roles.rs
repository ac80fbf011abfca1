//! `…/roles/…`: which groups hold which roles on a scope or a workspace.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use strum::IntoEnumIterator;
use usine_db::paged::Paged;
use usine_db::tenancy::{Group, GroupFilter, GroupRow, Roles};
use usine_db::{GroupManager, ScopeManager, WorkspaceManager};
use usine_model::permission::{SCOPE_CAN_ASSIGN_ROLES, ScopeRole, WORKSPACE_CAN_ASSIGN_ROLES, WorkspaceRole};

use super::pieces::{Asked, Confirm, Pager, count};
use super::{Link, Tenant, both, of_scope, of_workspace};
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;
use crate::web::frame::{Filled, Frame};
use crate::web::login::Nothing;
use crate::web::place::missing;

/// How many groups without a role a page has.
const ROWS: u64 = 10;

/// Longest part of a name that is looked for, in bytes.
const MAX_NAME: usize = 255;

pub(super) fn routes() -> Routes {
    let routes = both!(Routes::new(), get, "roles/", list);
    let routes = both!(routes, get, "roles/add/", candidates);
    let routes = both!(routes, get, "roles/set/{id}/", ask);
    let routes = both!(routes, post, "roles/set/{id}/", set);
    let routes = both!(routes, get, "roles/delete/{id}/", ask_to_delete);
    both!(routes, post, "roles/delete/{id}/", delete)
}

#[derive(Template)]
#[template(path = "tenancy/roles.html")]
struct RolesPage<'a> {
    frame: Frame,
    options: Vec<Link>,
    kind: &'a str,
    address: String,
    holders: Vec<Holder>,
    may_assign: bool,
}

/// A group with its roles, lowest first.
struct Holder {
    group: Group,
    link: Link,
    roles: Vec<String>,
}

#[derive(Template)]
#[template(path = "tenancy/role_candidates.html")]
struct CandidatesPage<'a> {
    frame: Frame,
    address: String,
    name: &'a str,
    groups: Paged<(Link, GroupRow)>,
    pager: Pager,
}

#[derive(Template)]
#[template(path = "tenancy/role_form.html")]
struct RolePage {
    frame: Frame,
    choices: Vec<Choice>,
    error: Option<String>,
    back: String,
}

/// A role that may be given.
struct Choice {
    word: String,
    description: &'static str,
    held: bool,
}

#[derive(Deserialize)]
struct OfGroup {
    id: String,
}

impl Tenant {
    fn roles_address(&self) -> String {
        format!("{}roles/", self.address())
    }

    fn check_roles(&self) -> ApiResult<()> {
        let what = format!("give or take roles on {}", self.name());
        self.check(&SCOPE_CAN_ASSIGN_ROLES, &WORKSPACE_CAN_ASSIGN_ROLES, &what)
    }

    /// The groups with the roles that each has here, in one query, by the name of the group.
    async fn held(&self, state: &AppState) -> ApiResult<Vec<(Group, Vec<String>)>> {
        let rows: Vec<(Group, u8, String)> = match &self.workspace {
            None => {
                let rows = ScopeManager(&state.database).list_roles(&self.scope).await?;
                rows.into_iter().map(|row| (row.group, row.role as u8, row.role.to_string())).collect()
            }
            Some(workspace) => {
                let rows = WorkspaceManager(&state.database).list_roles(workspace).await?;
                rows.into_iter().map(|row| (row.group, row.role as u8, row.role.to_string())).collect()
            }
        };
        let mut rows = rows;
        // Groups of different workspaces may have the same name.
        rows.sort_by(|(one, role, _), (other, its, _)| (&one.name, one.id, role).cmp(&(&other.name, other.id, its)));
        let mut held: Vec<(Group, Vec<String>)> = Vec::new();
        for (group, _, role) in rows {
            match held.last_mut().filter(|(last, _)| last.id == group.id) {
                Some((_, roles)) => roles.push(role),
                None => held.push((group, vec![role])),
            }
        }
        Ok(held)
    }

    /// The group with this id and the roles that it holds here, for who may give it some: a group that they may see, or one that holds
    /// some already.
    async fn holder(&self, state: &AppState, id: &str) -> ApiResult<Holder> {
        let id = id.parse().map_err(|_| missing())?;
        let group = GroupManager(&state.database).get_or_none(id).await?;
        let group = group.filter(|group| group.scope_id == self.scope.id).ok_or_else(missing)?;
        let workspaces = WorkspaceManager(&state.database).by_ids(group.workspace_id.into_iter()).await?;
        let link = self.link_to(&group, workspaces.values().next());
        let held = self.held(state).await?;
        let roles = held.into_iter().find(|(holder, _)| holder.id == group.id).map(|(_, roles)| roles);
        if roles.is_none() && link.address.is_none() {
            return Err(missing());
        }
        Ok(Holder { group, link, roles: roles.unwrap_or_default() })
    }

    fn choices(&self, held: &[String]) -> Vec<Choice> {
        let choice = |word: String, description| Choice { held: held.contains(&word), word, description };
        match &self.workspace {
            None => ScopeRole::iter()
                .map(|role| {
                    choice(
                        role.to_string(),
                        match role {
                            ScopeRole::Aware => "knows that the scope exists, also if it is not public",
                            ScopeRole::Observer => "reads every workspace of the scope",
                            ScopeRole::Owner => "administers the scope and everything in it",
                        },
                    )
                })
                .collect(),
            Some(_) => WorkspaceRole::iter()
                .map(|role| {
                    choice(
                        role.to_string(),
                        match role {
                            WorkspaceRole::Viewer => "reads, also if the workspace is not public",
                            WorkspaceRole::Contributor => "makes artifacts and work requests",
                            WorkspaceRole::Owner => "configures everything, gives roles, approves",
                        },
                    )
                })
                .collect(),
        }
    }

    /// Makes these the roles of the group here. Words that are no roles are an error in words.
    async fn set_roles(
        &self,
        state: &AppState,
        group: &Group,
        words: &[String],
        now: DateTime<Utc>,
    ) -> ApiResult<Result<(), String>> {
        let by = Some(self.user.id);
        match &self.workspace {
            None => {
                let Some(roles) = parsed::<ScopeRole>(words) else { return Ok(Err(UNKNOWN.to_owned())) };
                ScopeManager(&state.database).set_roles(&self.scope, group, &roles, by, now).await?;
            }
            Some(workspace) => {
                let Some(roles) = parsed::<WorkspaceRole>(words) else { return Ok(Err(UNKNOWN.to_owned())) };
                WorkspaceManager(&state.database).set_roles(workspace, &self.scope, group, &roles, by, now).await?;
            }
        }
        Ok(Ok(()))
    }
}

const UNKNOWN: &str = "There is no such role.";

fn parsed<R: std::str::FromStr>(words: &[String]) -> Option<Vec<R>> {
    words.iter().map(|word| word.parse().ok()).collect()
}

async fn list(State(state): State<AppState>, tenant: Tenant) -> ApiResult<Response> {
    let held = tenant.held(&state).await?;
    let ids = held.iter().filter_map(|(group, _)| group.workspace_id);
    let workspaces = WorkspaceManager(&state.database).by_ids(ids).await?;
    let holders = held
        .into_iter()
        .map(|(group, roles)| {
            let link = tenant.link_to(&group, group.workspace_id.and_then(|id| workspaces.get(&id)));
            Holder { group, link, roles }
        })
        .collect();
    let options = match tenant.place() {
        None => of_scope(&tenant.guest, &tenant.scope),
        Some(place) => of_workspace(&tenant.guest, &place),
    };
    let may_assign = tenant.may(&SCOPE_CAN_ASSIGN_ROLES, &WORKSPACE_CAN_ASSIGN_ROLES);
    let (frame, address) = (tenant.frame("Roles"), tenant.roles_address());
    tenant.guest.show(&RolesPage { frame, options, kind: tenant.kind(), address, holders, may_assign })
}

async fn candidates(State(state): State<AppState>, tenant: Tenant, Query(asked): Query<Asked>) -> ApiResult<Response> {
    tenant.check_roles()?;
    let name = asked.name.trim();
    let filter = GroupFilter {
        // What cannot be part of a name is not looked for.
        name: if name.len() > MAX_NAME || name.contains(char::is_control) { "" } else { name },
        without_role_on: Some(
            tenant.workspace.as_ref().map_or(Roles::Scope(tenant.scope.id), |workspace| Roles::Workspace(workspace.id)),
        ),
        system: true,
        of: None,
    };
    let groups = GroupManager(&state.database);
    let found = groups.page(&tenant.guest.context, &tenant.scope, filter, asked.page(ROWS)).await?;
    let pager = Pager::of(&found).with("name", filter.name);
    let groups = found.map(|row| (tenant.link_to(&row.group, row.workspace.as_ref()), row));
    let address = tenant.roles_address();
    let frame = tenant.frame("Give a group roles").below("Roles", &address);
    tenant.guest.show(&CandidatesPage { frame, address, name: filter.name, groups, pager })
}

async fn ask(
    State(state): State<AppState>,
    tenant: Tenant,
    Path(OfGroup { id }): Path<OfGroup>,
) -> ApiResult<Response> {
    tenant.check_roles()?;
    let holder = tenant.holder(&state, &id).await?;
    form(&tenant, &holder, &holder.roles, None)
}

fn form(tenant: &Tenant, holder: &Holder, chosen: &[String], error: Option<String>) -> ApiResult<Response> {
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let back = tenant.roles_address();
    let title = format!("Roles of {} on {}", holder.link.name, tenant.name());
    let frame = tenant.frame(title).below("Roles", &back);
    tenant.guest.show_as(status, &RolePage { frame, choices: tenant.choices(chosen), error, back })
}

async fn set(
    State(state): State<AppState>,
    tenant: Tenant,
    Path(OfGroup { id }): Path<OfGroup>,
    Filled(fields): Filled<Vec<(String, String)>>,
) -> ApiResult<Response> {
    tenant.check_roles()?;
    let holder = tenant.holder(&state, &id).await?;
    let words: Vec<String> = fields.into_iter().filter(|(name, _)| name == "role").map(|(_, word)| word).collect();
    if let Err(why) = tenant.set_roles(&state, &holder.group, &words, state.now()).await? {
        return form(&tenant, &holder, &words, Some(why));
    }
    let notice = if words.is_empty() {
        format!("{} holds no role on {}.", holder.link.name, tenant.name())
    } else {
        format!("{} is {} of {}.", holder.link.name, words.join(", "), tenant.name())
    };
    Ok(tenant.guest.go(&tenant.roles_address(), &notice))
}

async fn ask_to_delete(
    State(state): State<AppState>,
    tenant: Tenant,
    Path(OfGroup { id }): Path<OfGroup>,
) -> ApiResult<Response> {
    tenant.check_roles()?;
    let holder = tenant.holder(&state, &id).await?;
    if holder.roles.is_empty() {
        return Err(missing());
    }
    let back = tenant.roles_address();
    let members = GroupManager(&state.database).count_members(&holder.group).await?;
    let mut text = vec![format!(
        "The group, and so its {}, will not hold these roles on {} any more.",
        count(members, "member"),
        tenant.name()
    )];
    if holder.group.ephemeral {
        text.push("The group is ephemeral: with its last role it goes away itself.".to_owned());
    }
    let title = format!("Take all roles on {} from {}?", tenant.name(), holder.link.name);
    let frame = tenant.frame(title).below("Roles", &back);
    tenant.guest.show(&Confirm { frame, text, heading: "Roles", list: holder.roles, button: "Take the roles", back })
}

async fn delete(
    State(state): State<AppState>,
    tenant: Tenant,
    Path(OfGroup { id }): Path<OfGroup>,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    tenant.check_roles()?;
    let holder = tenant.holder(&state, &id).await?;
    if holder.roles.is_empty() {
        return Err(missing());
    }
    // No words are no wrong words.
    let _ = tenant.set_roles(&state, &holder.group, &[], state.now()).await?;
    let notice = format!("{} holds no role on {} any more.", holder.link.name, tenant.name());
    Ok(tenant.guest.go(&tenant.roles_address(), &notice))
}
