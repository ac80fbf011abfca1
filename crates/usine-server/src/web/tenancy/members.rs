//! `/SCOPE/-/members/…`: who is a member of a scope.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use usine_db::GroupManager;
use usine_db::paged::Paged;
use usine_db::tenancy::{Group, Member};
use usine_model::permission::{GROUP_CAN_DISPLAY, MembershipRole, SCOPE_CAN_MANAGE_MEMBERS};

use super::pieces::{Asked, Confirm, Field, Pager};
use super::{Link, Tenant, find_user, of_scope};
use crate::paths::in_address;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;
use crate::web::account::user_address;
use crate::web::frame::{Filled, Frame};
use crate::web::login::Nothing;
use crate::web::place::missing;

/// How many members a page has.
const ROWS: u64 = 50;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/{scope}/-/members/", Access::Login, list)
        .post("/{scope}/-/members/", Access::Login, add)
        .get("/{scope}/-/members/{user}/remove/", Access::Login, ask_to_remove)
        .post("/{scope}/-/members/{user}/remove/", Access::Login, remove)
}

#[derive(Template)]
#[template(path = "tenancy/members.html")]
struct MembersPage {
    frame: Frame,
    options: Vec<Link>,
    address: String,
    members: Paged<Member>,
    pager: Pager,
    /// Of who may add members.
    username: Option<Field>,
}

impl MembersPage {
    fn user_address(&self, member: &Member) -> String {
        user_address(&member.user.username)
    }

    fn removal(&self, member: &Member) -> String {
        format!("{}{}/remove/", self.address, in_address(&member.user.username))
    }
}

impl Tenant {
    /// `/SCOPE/-/members/`.
    fn members_address(&self) -> String {
        format!("/{}/-/members/", self.scope.name)
    }

    fn check_members(&self) -> ApiResult<()> {
        let what = format!("change the members of {}", self.scope.name);
        self.guest.check(&SCOPE_CAN_MANAGE_MEMBERS, &self.scope.facts(), &what)
    }
}

async fn everybody(state: &AppState, tenant: &Tenant) -> ApiResult<Group> {
    let group = GroupManager(&state.database).everybody_in(&tenant.scope).await?;
    let seen = tenant.guest.may(&GROUP_CAN_DISPLAY, &group.facts(&tenant.scope, None));
    if seen { Ok(group) } else { Err(missing()) }
}

async fn list(State(state): State<AppState>, tenant: Tenant, Query(asked): Query<Asked>) -> ApiResult<Response> {
    page(&state, &tenant, &asked, ("", None)).await
}

async fn page(
    state: &AppState,
    tenant: &Tenant,
    asked: &Asked,
    (written, wrong): (&str, Option<String>),
) -> ApiResult<Response> {
    let group = everybody(state, tenant).await?;
    let members = GroupManager(&state.database).members_page(&group, asked.page(ROWS)).await?;
    let guest = &tenant.guest;
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let may_add = guest.may(&SCOPE_CAN_MANAGE_MEMBERS, &tenant.scope.facts());
    let username = may_add.then(|| {
        let hint = "Somebody who has an account here.";
        Field::line("username", "User name", written).hint(hint).at_most(150).wrong(wrong)
    });
    let page = MembersPage {
        frame: tenant.frame("Members"),
        options: of_scope(guest, &tenant.scope),
        address: tenant.members_address(),
        pager: Pager::of(&members),
        members,
        username,
    };
    guest.show_as(status, &page)
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    username: String,
}

async fn add(
    State(state): State<AppState>,
    tenant: Tenant,
    Query(asked): Query<Asked>,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    let group = everybody(&state, &tenant).await?;
    tenant.check_members()?;
    let name = written.username.trim();
    let wrong = |text: String| async { page(&state, &tenant, &asked, (name, Some(text))).await };
    let Some(user) = find_user(&state, name).await? else {
        return wrong("There is no user of this name.".to_owned()).await;
    };
    let groups = GroupManager(&state.database);
    if groups.role_of(&group, user.id).await?.is_some() {
        return wrong(format!("{name} is a member already.")).await;
    }
    let by = Some(tenant.user.id);
    groups.add_users(&group, &[user], MembershipRole::Member, true, by, state.now()).await?;
    Ok(tenant.guest.go(&tenant.members_address(), &format!("{name} is a member of {} now.", tenant.scope.name)))
}

async fn ask_to_remove(
    State(state): State<AppState>,
    tenant: Tenant,
    Path(OfUser { user: name }): Path<OfUser>,
) -> ApiResult<Response> {
    let group = everybody(&state, &tenant).await?;
    tenant.check_members()?;
    let user = find_user(&state, &name).await?.ok_or_else(missing)?;
    let memberships = GroupManager(&state.database).memberships_of(user.id, Some(&tenant.scope)).await?;
    if memberships.iter().all(|membership| membership.group.id != group.id) {
        return Err(missing());
    }
    let others = memberships.iter().filter(|membership| membership.group.id != group.id);
    let list: Vec<String> = others
        .map(|membership| {
            let link = tenant.link_to(&membership.group, membership.workspace.as_ref());
            format!("{} ({})", link.name, membership.role)
        })
        .collect();
    let mut text = vec![format!(
        "{name} leaves the scope {} and every group in it, and loses what these groups may do.",
        tenant.scope.name
    )];
    if user.id == tenant.user.id {
        text.push("That is you: others must let you in again.".to_owned());
    }
    tenant.guest.show(&Confirm {
        frame: tenant
            .frame(format!("Remove {name} from {}?", tenant.scope.name))
            .below("Members", tenant.members_address()),
        text,
        heading: "Groups that the user leaves",
        list,
        button: "Remove",
        back: tenant.members_address(),
    })
}

#[derive(Deserialize)]
struct OfUser {
    user: String,
}

async fn remove(
    State(state): State<AppState>,
    tenant: Tenant,
    Path(OfUser { user: name }): Path<OfUser>,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    let group = everybody(&state, &tenant).await?;
    tenant.check_members()?;
    let user = find_user(&state, &name).await?.ok_or_else(missing)?;
    let groups = GroupManager(&state.database);
    if groups.role_of(&group, user.id).await?.is_none() {
        return Err(missing());
    }
    groups.remove_users(&group, &[user], Some(tenant.user.id), state.now()).await?;
    let notice = format!("{name} is no member of {} any more.", tenant.scope.name);
    Ok(tenant.guest.go(&tenant.members_address(), &notice))
}
