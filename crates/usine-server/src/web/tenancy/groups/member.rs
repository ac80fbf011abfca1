//! `…/groups/{group}/edit/{user}/` and `…/remove/{user}/`: what somebody is in a group.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use strum::IntoEnumIterator;
use usine_db::GroupManager;
use usine_db::account::User;
use usine_model::permission::{GROUP_CAN_MANAGE, MembershipRole};

use super::super::find_user;
use super::super::pieces::Confirm;
use super::{InGroup, both};
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;
use crate::web::frame::{Filled, Frame};
use crate::web::login::Nothing;
use crate::web::place::missing;

pub(super) fn routes() -> Routes {
    let routes = both!(Routes::new(), get, "groups/{group}/edit/{user}/", edit);
    let routes = both!(routes, post, "groups/{group}/edit/{user}/", change);
    let routes = both!(routes, get, "groups/{group}/remove/{user}/", ask_to_remove);
    both!(routes, post, "groups/{group}/remove/{user}/", remove)
}

#[derive(Template)]
#[template(path = "tenancy/membership.html")]
struct MembershipPage {
    frame: Frame,
    choices: Vec<(MembershipRole, &'static str, bool)>,
    error: Option<String>,
    back: String,
}

#[derive(Deserialize)]
struct OfUser {
    user: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    role: String,
}

/// The member of this name and what they are, for who may change that.
async fn member(state: &AppState, asked: &InGroup, name: &str) -> ApiResult<(User, MembershipRole)> {
    asked.check(&GROUP_CAN_MANAGE, "change the members of this group")?;
    let user = find_user(state, name).await?.ok_or_else(missing)?;
    let role = GroupManager(&state.database).role_of(&asked.group, user.id).await?.ok_or_else(missing)?;
    Ok((user, role))
}

async fn edit(
    State(state): State<AppState>,
    asked: InGroup,
    Path(OfUser { user }): Path<OfUser>,
) -> ApiResult<Response> {
    let (user, role) = member(&state, &asked, &user).await?;
    form(&asked, &user, role, None)
}

fn form(asked: &InGroup, user: &User, present: MembershipRole, error: Option<String>) -> ApiResult<Response> {
    let status = if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let choice = |role| {
        let words = match role {
            MembershipRole::Member => "has what the group holds",
            MembershipRole::Admin => "adds and removes members, too",
        };
        (role, words, role == present)
    };
    let choices = MembershipRole::iter().map(choice).collect();
    let frame = asked.frame_below(format!("{} in the group {}", user.username, asked.group.name));
    asked.tenant.guest.show_as(status, &MembershipPage { frame, choices, error, back: asked.address() })
}

async fn change(
    State(state): State<AppState>,
    asked: InGroup,
    Path(OfUser { user }): Path<OfUser>,
    Filled(written): Filled<Written>,
) -> ApiResult<Response> {
    let (user, present) = member(&state, &asked, &user).await?;
    let Ok(role) = written.role.parse() else {
        return form(&asked, &user, present, Some("There is no such role.".to_owned()));
    };
    let by = Some(asked.tenant.user.id);
    if !GroupManager(&state.database).set_role(&asked.group, &user, role, by, state.now()).await? {
        return Err(missing());
    }
    Ok(asked.tenant.guest.go(&asked.address(), &format!("{} is {role} of the group.", user.username)))
}

async fn ask_to_remove(
    State(state): State<AppState>,
    asked: InGroup,
    Path(OfUser { user }): Path<OfUser>,
) -> ApiResult<Response> {
    let (user, role) = member(&state, &asked, &user).await?;
    let name = &user.username;
    let mut text =
        vec![format!("{name}, {role} of the group, loses what the group holds, but stays a member of the scope.")];
    if user.id == asked.tenant.user.id {
        text.push("That is you: others must let you in again.".to_owned());
    }
    asked.tenant.guest.show(&Confirm {
        frame: asked.frame_below(format!("Remove {name} from the group {}?", asked.group.name)),
        text,
        heading: "",
        list: Vec::new(),
        button: "Remove",
        back: asked.address(),
    })
}

async fn remove(
    State(state): State<AppState>,
    asked: InGroup,
    Path(OfUser { user }): Path<OfUser>,
    Filled(Nothing {}): Filled<Nothing>,
) -> ApiResult<Response> {
    let (user, _) = member(&state, &asked, &user).await?;
    let name = user.username.clone();
    let by = Some(asked.tenant.user.id);
    GroupManager(&state.database).remove_users(&asked.group, &[user], by, state.now()).await?;
    Ok(asked.tenant.guest.go(&asked.address(), &format!("{name} is not in the group any more.")))
}
