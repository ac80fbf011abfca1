//! `/-/user/{name}/`: a user, and the groups of theirs that one may see.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use usine_db::account::User;
use usine_db::tenancy::Membership;
use usine_db::{GroupManager, TokenManager, UserManager};
use usine_model::permission::{
    GROUP_CAN_DISPLAY, SCOPE_CAN_DISPLAY, SCOPE_CAN_MANAGE_MEMBERS, USER_CAN_DISPLAY, USER_CAN_MANAGE, UserFacts,
    WORKSPACE_CAN_DISPLAY,
};

use super::user_address;
use crate::paths::in_address;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;
use crate::web::frame::{Frame, Guest, LoggedIn};
use crate::web::place::missing;
use crate::web::redirect;
use crate::web::show::When;
use crate::web::tenancy::{Link, find_user, group_address, of_user};

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/user/id/{id}/", Access::Login, by_id).get("/-/user/{name}/", Access::Login, show)
}

#[derive(Template)]
#[template(path = "account/user.html")]
struct UserPage<'a> {
    frame: Frame,
    options: Vec<Link>,
    user: &'a User,
    joined: When,
    /// How many tokens they have, for themselves.
    tokens: Option<u64>,
    address: String,
    scopes: Vec<InScope>,
}

/// What somebody is in a scope.
struct InScope {
    name: String,
    groups: Vec<Member>,
    /// Where they are removed from it, by who may.
    remove: Option<String>,
}

struct Member {
    link: Link,
    role: String,
}

async fn by_id(State(state): State<AppState>, logged_in: LoggedIn, Path(id): Path<String>) -> ApiResult<Response> {
    to_name(&state, &logged_in, &id).await
}

async fn to_name(state: &AppState, logged_in: &LoggedIn, id: &str) -> ApiResult<Response> {
    let id = id.parse().map_err(|_| missing())?;
    let user = UserManager(&state.database).get_or_none(id).await?.ok_or_else(missing)?;
    if !logged_in.guest.may(&USER_CAN_DISPLAY, &UserFacts { id }) {
        return Err(missing());
    }
    Ok(redirect(&user_address(&user.username)))
}

async fn show(State(state): State<AppState>, logged_in: LoggedIn, Path(name): Path<String>) -> ApiResult<Response> {
    // No name has only digits.
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return to_name(&state, &logged_in, &name).await;
    }
    let guest = &logged_in.guest;
    let user = find_user(&state, &name).await?.ok_or_else(missing)?;
    let facts = UserFacts { id: user.id };
    if !guest.may(&USER_CAN_DISPLAY, &facts) {
        return Err(missing());
    }
    let tokens = if guest.may(&USER_CAN_MANAGE, &facts) {
        Some(TokenManager(&state.database).count_of_user(user.id).await?)
    } else {
        None
    };
    let memberships = GroupManager(&state.database).memberships_of(user.id, None).await?;
    guest.show(&UserPage {
        frame: guest.frame(&user.username),
        options: of_user(guest, &user),
        joined: When::new(user.date_joined, state.now()),
        tokens,
        address: user_address(&user.username),
        scopes: by_scope(guest, &user, &memberships),
        user: &user,
    })
}

/// The groups that one may see, by scope.
fn by_scope(guest: &Guest, user: &User, memberships: &[Membership]) -> Vec<InScope> {
    let mut scopes: Vec<InScope> = Vec::new();
    for membership in memberships {
        let Membership { group, scope, role, .. } = membership;
        if !guest.may(&SCOPE_CAN_DISPLAY, &scope.facts()) {
            continue;
        }
        if scopes.last().is_none_or(|last| last.name != scope.name) {
            let may_remove = guest.may(&SCOPE_CAN_MANAGE_MEMBERS, &scope.facts());
            let removal = || format!("/{}/-/members/{}/remove/", scope.name, in_address(&user.username));
            let remove = may_remove.then(removal);
            scopes.push(InScope { name: scope.name.clone(), groups: Vec::new(), remove });
        }
        if let Some(link) = visible(guest, membership)
            && let Some(last) = scopes.last_mut()
            && !group.system
        {
            last.groups.push(Member { link, role: role.to_string() });
        }
    }
    scopes
}

/// The group as a link, if one may see it, and its workspace.
fn visible(guest: &Guest, membership: &Membership) -> Option<Link> {
    let Membership { group, scope, workspace, .. } = membership;
    let workspace = workspace.as_ref();
    let seen = guest.may(&GROUP_CAN_DISPLAY, &group.facts(scope, workspace))
        && workspace.is_none_or(|workspace| guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope)));
    let name = workspace.map_or_else(|| group.name.clone(), |workspace| format!("{}/{}", workspace.name, group.name));
    seen.then(|| Link { name, address: Some(group_address(scope, workspace, group)) })
}
