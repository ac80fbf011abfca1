//! `…/groups/{group}/`: who is in a group and what it may do; somebody new in it; the end of it.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use usine_db::GroupManager;
use usine_db::paged::{Paged, Wanted};
use usine_db::tenancy::{AuditLog, Member};
use usine_model::permission::{GROUP_CAN_DELETE, GROUP_CAN_DISPLAY_AUDIT_LOG, GROUP_CAN_MANAGE, MembershipRole};

use super::super::pieces::{Asked, Confirm, Field, Pager, count};
use super::super::{Link, find_user, of_group};
use super::audit::{Line, lines};
use super::{InGroup, both};
use crate::paths::in_address;
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;
use crate::web::account::user_address;
use crate::web::frame::{Filled, Frame};
use crate::web::login::Nothing;
use crate::web::redirect;

/// How many members a page has.
const ROWS: u64 = 50;

/// How many entries of the audit log the page shows.
const ENTRIES: u64 = 5;

pub(super) fn routes() -> Routes {
    let routes = both!(Routes::new(), get, "groups/{group}/", show);
    let routes = both!(routes, post, "groups/{group}/", add);
    let routes = both!(routes, get, "groups/{group}/delete/", ask_to_delete);
    both!(routes, post, "groups/{group}/delete/", delete)
}

#[derive(Template)]
#[template(path = "tenancy/group.html")]
struct GroupPage {
    frame: Frame,
    options: Vec<Link>,
    address: String,
    ephemeral: bool,
    mine: Option<MembershipRole>,
    members: Paged<Member>,
    pager: Pager,
    /// Of who may add members.
    username: Option<Field>,
    /// What it holds: on what, and which.
    roles: Vec<(Link, String)>,
    /// On how many workspaces that one may not see it holds others.
    hidden: usize,
    /// The newest entries, and of how many.
    log: Option<(Vec<Line>, u64)>,
}

impl GroupPage {
    fn user_address(&self, member: &Member) -> String {
        user_address(&member.user.username)
    }

    fn action(&self, what: &str, member: &Member) -> String {
        format!("{}{what}/{}/", self.address, in_address(&member.user.username))
    }
}

async fn show(State(state): State<AppState>, asked: InGroup, Query(query): Query<Asked>) -> ApiResult<Response> {
    if asked.group.system {
        // That is the page of the scope's members.
        return Ok(redirect(&asked.address()));
    }
    page(&state, &asked, &query, ("", None)).await
}

async fn page(
    state: &AppState,
    asked: &InGroup,
    query: &Asked,
    (written, wrong): (&str, Option<String>),
) -> ApiResult<Response> {
    let InGroup { tenant, group } = asked;
    let groups = GroupManager(&state.database);
    let members = groups.members_page(group, query.page(ROWS)).await?;
    let mine = tenant.guest.context.grants.groups.get(&group.id).copied();
    let (roles, hidden) = held(state, asked).await?;
    let log = if asked.may(&GROUP_CAN_DISPLAY_AUDIT_LOG) {
        let newest = Wanted { page: 1, size: ENTRIES };
        let found = AuditLog(&state.database).page_of_group(group.id, newest).await?;
        Some((lines(state, tenant, found.rows).await?, found.total))
    } else {
        None
    };
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let username = asked.may(&GROUP_CAN_MANAGE).then(|| {
        let hint = "A member of the scope.";
        Field::line("username", "User name", written).hint(hint).at_most(150).wrong(wrong)
    });
    let page = GroupPage {
        frame: asked.frame(&group.name),
        options: of_group(&tenant.guest, &tenant.scope, tenant.workspace.as_ref(), group),
        address: asked.address(),
        ephemeral: group.ephemeral,
        mine,
        pager: Pager::of(&members),
        members,
        username,
        roles,
        hidden,
        log,
    };
    tenant.guest.show_as(status, &page)
}

/// The roles that the group holds on what one may see, and the number of the others.
async fn held(state: &AppState, asked: &InGroup) -> ApiResult<(Vec<(Link, String)>, usize)> {
    let InGroup { tenant, group } = asked;
    let scope = &tenant.scope;
    let (on_scope, on_workspaces) = GroupManager(&state.database).roles_of(group).await?;
    let all = on_workspaces.len();
    let to_scope = || Link { name: scope.name.clone(), address: Some(format!("/{}/", scope.name)) };
    let mut roles: Vec<(Link, String)> = on_scope.into_iter().map(|role| (to_scope(), role.to_string())).collect();
    let before = roles.len();
    roles.extend(on_workspaces.into_iter().filter(|(workspace, _)| tenant.sees(workspace)).map(|(workspace, role)| {
        let address = Some(format!("/{}/{}/", scope.name, workspace.name));
        (Link { name: workspace.full_name(scope), address }, role.to_string())
    }));
    let hidden = all - (roles.len() - before);
    Ok((roles, hidden))
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    username: String,
}

async fn add(
    State(state): State<AppState>,
    asked: InGroup,
    Query(query): Query<Asked>,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    asked.check(&GROUP_CAN_MANAGE, "change the members of this group")?;
    let name = written.username.trim();
    let InGroup { tenant, group } = &asked;
    let wrong = |why: String| async { page(&state, &asked, &query, (name, Some(why))).await };
    let groups = GroupManager(&state.database);
    let not_in_scope = || format!("{} has no member of this name.", tenant.scope.name);
    let Some(user) = find_user(&state, name).await? else { return wrong(not_in_scope()).await };
    if groups.role_of(group, user.id).await?.is_some() {
        return wrong(format!("{name} is in the group already.")).await;
    }
    let by = Some(tenant.user.id);
    match groups.add_users(group, &[user], MembershipRole::Member, false, by, state.now()).await {
        Ok(()) => Ok(tenant.guest.go(&asked.address(), &format!("{name} is in the group now."))),
        // Admins of groups do not say who is a member of the scope, nor who has an account.
        Err(usine_db::Error::Invalid(_)) => wrong(not_in_scope()).await,
        Err(error) => Err(error.into()),
    }
}

async fn ask_to_delete(State(state): State<AppState>, asked: InGroup) -> ApiResult<Response> {
    asked.check(&GROUP_CAN_DELETE, "delete this group")?;
    let members = GroupManager(&state.database).count_members(&asked.group).await?;
    let (roles, hidden) = held(&state, &asked).await?;
    let mut list: Vec<String> = roles.into_iter().map(|(on, role)| format!("{role} of {}", on.name)).collect();
    if hidden > 0 {
        list.push(format!("{} on workspaces that you may not see", count(hidden as u64, "role")));
    }
    let text = vec![format!(
        "The group goes away with its {}. What its members may do only through it, they may not do any more.",
        count(members, "membership")
    )];
    asked.tenant.guest.show(&Confirm {
        frame: asked.frame_below(format!("Delete the group {}?", asked.group.name)),
        text,
        heading: "Roles that vanish",
        list,
        button: "Delete",
        back: asked.address(),
    })
}

async fn delete(
    State(state): State<AppState>,
    asked: InGroup,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    asked.check(&GROUP_CAN_DELETE, "delete this group")?;
    let by = Some(asked.tenant.user.id);
    GroupManager(&state.database).delete(&asked.group, by, state.now()).await?;
    Ok(asked.tenant.guest.go(&asked.groups_address(), &format!("The group {} is deleted.", asked.group.name)))
}
