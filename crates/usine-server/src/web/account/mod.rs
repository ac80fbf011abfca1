//! What belongs to one user: the page of a user, their tokens, their groups. `/-/my/…` are the same pages of whoever looks.

mod groups;
mod token;
mod user;

use axum::http::Uri;
use axum::response::Response;
use usine_db::account::User;
use usine_model::permission::{USER_CAN_MANAGE, UserFacts};

use super::frame::LoggedIn;
use super::place::missing;
use super::{redirect, tenancy};
use crate::paths::in_address;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/-/my/", Access::Login, mine)
        .get("/-/my/{*rest}", Access::Login, mine)
        .merge(user::routes())
        .merge(token::routes())
        .merge(groups::routes())
}

/// `/-/user/NAME/`.
pub(super) fn user_address(username: &str) -> String {
    match username {
        // `/-/user/id/N/` is the user with that number; written so, the same letters are a name.
        "id" => "/-/user/%69d/".to_owned(),
        name => format!("/-/user/{}/", in_address(name)),
    }
}

async fn mine(LoggedIn { user, .. }: LoggedIn, uri: Uri) -> Response {
    let rest = uri.path_and_query().and_then(|path| path.as_str().strip_prefix("/-/my/"));
    redirect(&format!("{}{}", user_address(&user.username), rest.unwrap_or_default()))
}

/// The user whose own pages these are: whoever looks, and nobody else.
async fn oneself(state: &AppState, logged_in: &LoggedIn, name: &str) -> ApiResult<User> {
    let user = tenancy::find_user(state, name).await?.ok_or_else(missing)?;
    if logged_in.guest.may(&USER_CAN_MANAGE, &UserFacts { id: user.id }) { Ok(user) } else { Err(missing()) }
}
