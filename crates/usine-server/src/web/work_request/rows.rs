//! Work requests as rows of a table: with a fixed number of queries for any number of rows.

use std::collections::HashMap;

use askama::Template;
use usine_db::tenancy::{Scope, Workspace};
use usine_db::{UserManager, WorkRequest, WorkerManager, WorkspaceManager};
use usine_model::work_request::Statuses;

use super::super::show::{Badge, Span, When};
use crate::api::status::architectures_of;
use crate::paths;
use crate::problem::ApiResult;
use crate::state::AppState;

/// A row.
pub struct Row {
    pub id: i64,
    pub address: String,
    pub label: String,
    pub workspace: String,
    pub badge: Badge,
    pub architecture: String,
    pub worker: Option<String>,
    pub user: String,
    pub created: When,
    pub waited: Option<Span>,
    pub duration: Option<Span>,
}

/// A table.
#[derive(Template, Default)]
#[template(path = "work_request/rows.html")]
pub struct Rows {
    /// What the table is about, for those who do not see it.
    pub caption: String,
    pub rows: Vec<Row>,
    /// Whether the rows are of several workspaces.
    pub shows_workspace: bool,
    /// What is said when there are none.
    pub empty: String,
}

impl askama::filters::HtmlSafe for Rows {}

/// A name for people: the task, and what it is about.
pub fn label(row: &WorkRequest) -> String {
    match (row.summary.as_str(), row.subject.as_str()) {
        ("", "") => row.task_name.clone(),
        ("", about) | (about, _) => format!("{} {about}", row.task_name),
    }
}

impl Rows {
    /// What its rows are called on the page, where another table may have the same work requests.
    fn name(&self) -> String {
        self.caption.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    }

    /// The rows of these work requests. All are in places that may be seen.
    pub async fn of(state: &AppState, caption: &str, rows: Vec<WorkRequest>) -> ApiResult<Self> {
        let now = state.now();
        let ids = |of: fn(&WorkRequest) -> Option<i64>| {
            let mut ids: Vec<i64> = rows.iter().filter_map(of).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let users = UserManager(&state.database).names(&ids(|row| Some(row.created_by_id))).await?;
        let workers = WorkerManager(&state.database).names(&ids(|row| row.worker_id)).await?;
        let architectures = architectures_of(&state.database).await?;
        let places: HashMap<i64, (Workspace, Scope)> = WorkspaceManager(&state.database)
            .list()
            .await?
            .into_iter()
            .map(|(workspace, scope)| (workspace.id, (workspace, scope)))
            .collect();
        let rows = rows
            .into_iter()
            .map(|row| {
                let place = places.get(&row.workspace_id);
                let (workspace, scope) =
                    place.ok_or_else(|| usine_db::Error::does_not_exist("Workspace", row.workspace_id))?;
                let waited = row.pending_at.map(|from| {
                    let until = row.started_at.or(row.completed_at);
                    let ended = matches!(*row.status, Statuses::Completed | Statuses::Aborted);
                    Span::between(from, until.unwrap_or(if ended { from } else { now }))
                });
                Ok(Row {
                    id: row.id,
                    address: paths::work_request(&scope.name, &workspace.name, row.id),
                    label: label(&row),
                    workspace: workspace.full_name(scope),
                    badge: Badge::of(&row),
                    architecture: row
                        .requirement_set_id
                        .and_then(|id| architectures.get(&id).cloned().flatten())
                        .unwrap_or_default(),
                    worker: row.worker_id.and_then(|id| workers.get(&id).cloned()),
                    user: users.get(&row.created_by_id).cloned().unwrap_or_default(),
                    created: When::new(row.created_at, now),
                    waited,
                    duration: Span::of(&row, now),
                })
            })
            .collect::<ApiResult<_>>()?;
        Ok(Self { caption: caption.to_owned(), rows, shows_workspace: false, empty: String::new() })
    }
}
