//! `/`: what one has submitted, and all workspaces that one may see, with what is open in each.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use usine_db::tenancy::{Scope, Workspace};
use usine_db::work_request::{ListFilter, OpenCount};
use usine_db::{WorkRequestManager, WorkspaceManager};

use super::frame::{Frame, Guest};
use super::work_request::rows::Rows;
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// How many of one's own work requests are shown.
const MINE: u64 = 10;

pub(super) fn routes() -> Routes {
    Routes::new().get("/", Access::Page, home)
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    mine: Option<Rows>,
    workspaces: Workspaces,
}

/// A table of workspaces.
#[derive(Template)]
#[template(path = "workspaces.html")]
pub(super) struct Workspaces {
    shows_scope: bool,
    rows: Vec<WorkspaceRow>,
}

impl askama::filters::HtmlSafe for Workspaces {}

struct WorkspaceRow {
    scope: String,
    name: String,
    address: String,
    public: bool,
    expires: String,
    open: OpenCount,
    bad: i64,
}

impl Workspaces {
    /// The table of these.
    pub async fn of(state: &AppState, places: Vec<(Workspace, Scope)>, shows_scope: bool) -> ApiResult<Self> {
        let ids: Vec<i64> = places.iter().map(|(workspace, _)| workspace.id).collect();
        let manager = WorkRequestManager(&state.database);
        let open = manager.open_in(&ids).await?;
        let bad = manager.bad_since(&ids, state.now() - TimeDelta::days(1)).await?;
        let rows = places
            .into_iter()
            .map(|(workspace, scope)| WorkspaceRow {
                open: open.get(&workspace.id).copied().unwrap_or_default(),
                bad: bad.get(&workspace.id).copied().unwrap_or_default(),
                public: workspace.public,
                expires: in_days(workspace.default_expiration_delay),
                address: Place { workspace: workspace.clone(), scope: scope.clone() }.address(),
                name: workspace.name,
                scope: scope.name,
            })
            .collect();
        Ok(Self { shows_scope, rows })
    }
}

/// How long something is kept, for people; 0 seconds is for ever.
pub(super) fn in_days(seconds: i64) -> String {
    match seconds {
        0 => "never".to_owned(),
        86_400 => "after 1 day".to_owned(),
        seconds => format!("after {} days", seconds / 86_400),
    }
}

async fn home(State(state): State<AppState>, guest: Guest) -> ApiResult<Response> {
    let mut places = WorkspaceManager(&state.database).displayable(&guest.context, None).await?;
    places.sort_by(|(a, s), (b, t)| (&s.name, &a.name).cmp(&(&t.name, &b.name)));
    let mine = match guest.user_id() {
        None => None,
        Some(id) => {
            let workspace_ids = places.iter().map(|(workspace, _)| workspace.id).collect();
            let filter = ListFilter { created_by_id: Some(id), workspace_ids, ..ListFilter::default() };
            let rows = WorkRequestManager(&state.database).list(&filter, MINE).await?;
            let rows = Rows::of(&state, "Your work requests, newest first", rows).await?;
            let empty = "You have submitted none yet: go to a workspace and upload a package.".to_owned();
            Some(Rows { shows_workspace: true, empty, ..rows })
        }
    };
    let workspaces = Workspaces::of(&state, places, true).await?;
    let frame = guest.frame("Builds and checks of Debian packages").live("/-/live/");
    guest.show(&HomePage { frame, mine, workspaces })
}
