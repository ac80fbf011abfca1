//! `/-/search/`: one field that finds work requests by number, packages, workers and workspaces by the beginning of their names.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use usine_db::{WorkRequestManager, WorkerManager, WorkspaceManager};

use super::frame::{Frame, Guest};
use super::redirect;
use crate::paths;
use crate::permissions::{Place, visible_work_request_anywhere};
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Longest text that is looked for, in characters.
const LONGEST: usize = 200;

/// So many of each kind are shown.
const MOST: usize = 20;

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/search/", Access::Page, search)
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    frame: Frame,
    groups: Vec<(&'static str, Vec<Found>)>,
}

struct Found {
    address: String,
    name: String,
    place: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    /// The workspace from where it is asked: what is there comes first.
    #[serde(default, rename = "in")]
    from: String,
}

async fn search(State(state): State<AppState>, guest: Guest, Query(asked): Query<Asked>) -> ApiResult<Response> {
    let text: String = asked.q.trim().chars().filter(|char| *char != '\0').take(LONGEST).collect();
    let number = text.strip_prefix('#').unwrap_or(&text).parse::<i64>().ok();
    if let Some(id) = number
        && let Some((row, place)) = visible_work_request_anywhere(&state, &guest.context, &id.to_string()).await?
    {
        return Ok(redirect(&paths::work_request(&place.scope.name, &place.workspace.name, row.id)));
    }
    let places: HashMap<i64, Place> = WorkspaceManager(&state.database)
        .displayable(&guest.context, None)
        .await?
        .into_iter()
        .map(|(workspace, scope)| (workspace.id, Place { workspace, scope }))
        .collect();
    let mut groups = Vec::new();
    if !text.is_empty() {
        let ids = Vec::from_iter(places.keys().copied());
        let subjects = WorkRequestManager(&state.database).subjects(&ids, &text, MOST as u64).await?;
        let packages = subjects.into_iter().filter_map(|(id, name)| {
            let place = places.get(&id)?;
            let address = paths::package(&place.scope.name, &place.workspace.name, &name);
            Some(Found { address, place: place.name(), name })
        });
        let mut packages: Vec<Found> = packages.collect();
        packages.sort_by_key(|found| !found.address.starts_with(&asked.from));
        // One that is meant exactly, and is here, is shown at once.
        if let [only] = packages.as_slice()
            && only.name == text
        {
            return Ok(redirect(&only.address));
        }
        groups.push(("Packages", packages));
        let lower = text.to_lowercase();
        let workers = WorkerManager(&state.database).list().await?.into_iter().filter_map(|(worker, _)| {
            let name = worker.name;
            let address = format!("/-/status/workers/{}/", paths::in_address(&name));
            name.to_lowercase().contains(&lower).then_some(Found { address, name, place: String::new() })
        });
        groups.push(("Workers", workers.take(MOST).collect()));
        let mut named: Vec<&Place> =
            places.values().filter(|place| place.name().to_lowercase().contains(&lower)).collect();
        named.sort_by_key(|place| place.name());
        let named = named.into_iter().take(MOST);
        let named = named.map(|place| Found { address: place.address(), name: place.name(), place: String::new() });
        groups.push(("Workspaces", named.collect()));
        groups.retain(|(_, found)| !found.is_empty());
    }
    let mut frame = guest.frame(if text.is_empty() { "Search".to_owned() } else { format!("Search for “{text}”") });
    frame.search = text;
    guest.show(&SearchPage { frame, groups })
}
