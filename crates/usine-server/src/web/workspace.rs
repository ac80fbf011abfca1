//! `/{scope}/{workspace}/`: what is open in a workspace, what failed of late, and what it is.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use usine_db::tenancy::Workspace;
use usine_db::work_request::{ListFilter, OpenCount};
use usine_db::{WorkRequestManager, WorkspaceManager};
use usine_model::permission::WORKSPACE_CAN_DISPLAY;
use usine_model::work_request::{Results, Statuses};

use super::frame::Frame;
use super::home::in_days;
use super::place::InWorkspace;
use super::tenancy::markdown;
use super::tenancy::options::{Link, of_workspace};
use super::work_request::may_submit;
use super::work_request::rows::Rows;
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Rows of each list.
const ROWS: u64 = 10;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/", Access::Page, show)
}

#[derive(Template)]
#[template(path = "workspace.html")]
struct WorkspacePage {
    frame: Frame,
    address: String,
    options: Vec<Link>,
    workspace: Workspace,
    /// Safe HTML.
    description: String,
    expires: String,
    artifacts_expire: String,
    parents: Vec<Place>,
    open: OpenCount,
    bad: i64,
    live: Rows,
    failed: Rows,
    ended: Rows,
    may_submit: bool,
}

async fn show(State(state): State<AppState>, InWorkspace { guest, place }: InWorkspace) -> ApiResult<Response> {
    let manager = WorkRequestManager(&state.database);
    let id = place.workspace.id;
    let of = |statuses: &[Statuses], results: &[Results]| ListFilter {
        workspace_ids: vec![id],
        statuses: statuses.to_vec(),
        results: results.to_vec(),
        ..ListFilter::default()
    };
    let running = manager.list(&of(&[Statuses::Running], &[]), ROWS).await?;
    let bad = [Results::Failure, Results::TemporaryFailure, Results::Error];
    let failed = manager.list(&of(&[], &bad), ROWS).await?;
    let all = manager.list(&of(&[], &[]), ROWS).await?;
    let open = manager.open_in(&[id]).await?.remove(&id).unwrap_or_default();
    let count = manager.bad_since(&[id], state.now() - TimeDelta::days(1)).await?.remove(&id).unwrap_or_default();
    let parents = WorkspaceManager(&state.database).inheritance(&place.workspace).await?;
    let parents = parents
        .into_iter()
        .filter(|(workspace, scope)| guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope)))
        .map(|(workspace, scope)| Place { workspace, scope })
        .collect();
    let table = async |caption: &str, rows, empty: &str| -> ApiResult<Rows> {
        Ok(Rows { empty: empty.to_owned(), ..Rows::of(&state, caption, rows).await? })
    };
    let frame = guest.frame(&place.workspace.name).live(&format!("/-/live/workspace/{id}/"));
    let address = place.address();
    guest.show(&WorkspacePage {
        frame: frame.of(&place),
        expires: place.workspace.expiration_delay.map_or_else(|| "never".to_owned(), in_days),
        artifacts_expire: in_days(place.workspace.default_expiration_delay),
        options: of_workspace(&guest, &place),
        description: markdown(&place.workspace.description),
        workspace: place.workspace.clone(),
        parents,
        open,
        bad: count,
        live: table("Running", running, "Nothing runs at the moment.").await?,
        failed: table("Failed", failed, "Nothing has failed.").await?,
        ended: table("Newest", all, "There are no work requests here yet: upload a package to begin.").await?,
        may_submit: may_submit(&guest, &place),
        address,
    })
}
