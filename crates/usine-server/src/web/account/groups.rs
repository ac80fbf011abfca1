//! `/-/user/{name}/groups/`: what one belongs to.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use usine_db::GroupManager;
use usine_db::tenancy::{Membership, Workspace};
use usine_model::permission::WORKSPACE_CAN_DISPLAY;

use super::{oneself, user_address};
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;
use crate::web::frame::{Frame, Guest, LoggedIn};
use crate::web::tenancy::group_address;

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/user/{name}/groups/", Access::Login, show)
}

#[derive(Template)]
#[template(path = "account/groups.html")]
struct GroupsPage {
    frame: Frame,
    rows: Vec<Row>,
}

/// A group of one's own, and the workspace's name and the group's page, where one may see the workspace.
struct Row {
    membership: Membership,
    workspace: Option<String>,
    address: Option<String>,
}

impl Row {
    fn of(guest: &Guest, membership: Membership) -> Self {
        let Membership { group, scope, workspace, .. } = &membership;
        let seen = |workspace: &Workspace| guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope));
        let (name, address) = match workspace {
            Some(hidden) if !seen(hidden) => (Some("one that you may not see".to_owned()), None),
            workspace => {
                let address = group_address(scope, workspace.as_ref(), group);
                (workspace.as_ref().map(|workspace| workspace.name.clone()), Some(address))
            }
        };
        Self { workspace: name, address, membership }
    }
}

async fn show(State(state): State<AppState>, logged_in: LoggedIn, Path(name): Path<String>) -> ApiResult<Response> {
    let user = oneself(&state, &logged_in, &name).await?;
    let memberships = GroupManager(&state.database).memberships_of(user.id, None).await?;
    let guest = &logged_in.guest;
    let frame = guest.frame("Groups").below(&user.username, user_address(&user.username));
    let rows = memberships.into_iter().map(|membership| Row::of(guest, membership)).collect();
    guest.show(&GroupsPage { frame, rows })
}
