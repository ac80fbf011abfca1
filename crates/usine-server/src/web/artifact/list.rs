//! `/{scope}/{workspace}/artifact/`: the artifacts of a workspace, newest first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use strum::IntoEnumIterator;
use usine_db::ArtifactManager;
use usine_db::artifact::ArtifactFilter;
use usine_model::artifact::ArtifactCategory;
use usine_model::permission::WORKSPACE_CAN_CREATE_ARTIFACTS;

use super::super::frame::Frame;
use super::super::place::InWorkspace;
use super::rows::ArtifactRows;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Rows of one page.
const PAGE: u64 = 50;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/artifact/", Access::Page, list)
}

#[derive(Template)]
#[template(path = "artifact/list.html")]
struct ListPage {
    frame: Frame,
    address: String,
    category: String,
    categories: Vec<String>,
    ignored: bool,
    rows: ArtifactRows,
    older: Option<i64>,
    may_upload: bool,
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    category: String,
    #[serde(default)]
    before: String,
}

async fn list(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Query(filter): Query<Filter>,
) -> ApiResult<Response> {
    let category: Option<ArtifactCategory> = filter.category.parse().ok();
    let wanted = ArtifactFilter {
        workspace_ids: Some(vec![place.workspace.id]),
        category,
        before_id: filter.before.parse().ok(),
        limit: Some(PAGE + 1),
        ..ArtifactFilter::default()
    };
    let mut artifacts = ArtifactManager(&state.database).list(&wanted).await?;
    let more = artifacts.len() as u64 > PAGE;
    artifacts.truncate(PAGE as usize);
    let older = artifacts.last().filter(|_| more).map(|artifact| artifact.id);
    let empty = "There are no artifacts here: upload a package, or submit a work request that makes some.";
    let rows = ArtifactRows::of(&state, &place, "Artifacts, newest first", artifacts, empty).await?;
    let mut categories: Vec<String> = ArtifactCategory::iter().map(|category| category.to_string()).collect();
    categories.sort_unstable();
    let may_upload =
        guest.user.is_some() && guest.may(&WORKSPACE_CAN_CREATE_ARTIFACTS, &place.workspace.facts(&place.scope));
    let frame = guest.frame("Artifacts").inside(&place);
    guest.show(&ListPage {
        frame: frame.live(&format!("/-/live/workspace/{}/", place.workspace.id)),
        address: format!("{}artifact/", place.address()),
        ignored: !filter.category.is_empty() && category.is_none(),
        category: filter.category,
        categories,
        rows,
        older,
        may_upload,
    })
}
