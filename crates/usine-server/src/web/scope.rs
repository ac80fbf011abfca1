//! `/{scope}/`: a tenant and its workspaces.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use usine_db::WorkspaceManager;

use super::frame::Frame;
use super::home::Workspaces;
use super::place::InScope;
use super::tenancy::options::{Link, of_scope};
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/", Access::Page, show)
}

#[derive(Template)]
#[template(path = "scope.html")]
struct ScopePage {
    frame: Frame,
    options: Vec<Link>,
    workspaces: Workspaces,
}

async fn show(State(state): State<AppState>, InScope { guest, scope }: InScope) -> ApiResult<Response> {
    let mut places = WorkspaceManager(&state.database).displayable(&guest.context, Some(&scope)).await?;
    places.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let workspaces = Workspaces::of(&state, places, false).await?;
    let title = if scope.label.is_empty() { &scope.name } else { &scope.label };
    let frame = guest.frame(title).live("/-/live/");
    let options = of_scope(&guest, &scope);
    guest.show(&ScopePage { frame, options, workspaces })
}
