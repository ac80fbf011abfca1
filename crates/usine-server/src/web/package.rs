//! `/{scope}/{workspace}/package/{name}/`: all that was done about a package, with its durations and results as plots.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use usine_db::work_request::ListFilter;
use usine_db::{WorkRequest, WorkRequestManager};
use usine_model::work_request::{Results, Statuses};

use super::frame::Frame;
use super::place::InWorkspace;
use super::show::Span;
use super::work_request::rows::Rows;
use crate::api::status::architectures_of;
use crate::paths;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// So many work requests are looked at, the newest.
const HISTORY: u64 = 200;

/// So many are in the table.
const ROWS: usize = 50;

/// Bars of one plot, and its measures in the units of its view box.
const BARS: usize = 30;
const HEIGHT: f64 = 60.0;
const STEP: f64 = 12.0;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/package/{name}/", Access::Page, show)
}

#[derive(Template)]
#[template(path = "package.html")]
struct PackagePage {
    frame: Frame,
    address: String,
    list: String,
    plots: Vec<Plot>,
    rows: Rows,
    task: String,
}

/// The runs of one task on one architecture, oldest first.
struct Plot {
    title: String,
    task: String,
    successes: usize,
    runs: usize,
    longest: Span,
    last: Option<Span>,
    bars: Vec<Bar>,
    width: f64,
}

/// One run: as high as it was long.
struct Bar {
    address: String,
    class: &'static str,
    title: String,
    x: f64,
    y: f64,
    height: f64,
}

#[derive(Deserialize)]
struct Only {
    #[serde(default)]
    task: String,
}

async fn show(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Path((_, _, name)): Path<(String, String, String)>,
    Query(Only { task }): Query<Only>,
) -> ApiResult<Response> {
    if name.contains('\0') {
        return Err(super::place::missing());
    }
    let mut filter =
        ListFilter { workspace_ids: vec![place.workspace.id], subject: Some(name.clone()), ..ListFilter::default() };
    filter.task_name = Some(task.clone()).filter(|task| !task.is_empty() && !task.contains('\0'));
    let history = WorkRequestManager(&state.database).list(&filter, HISTORY).await?;
    let architectures = architectures_of(&state.database).await?;
    let mut kinds: BTreeMap<(String, String), Vec<&WorkRequest>> = BTreeMap::new();
    for row in history.iter().rev().filter(|row| row.duration().is_some()) {
        let architecture = row.requirement_set_id.and_then(|id| architectures.get(&id).cloned().flatten());
        kinds.entry((row.task_name.clone(), architecture.unwrap_or_default())).or_default().push(row);
    }
    let (scope, workspace) = (&place.scope.name, &place.workspace.name);
    let plots =
        kinds.into_iter().map(|((task, architecture), runs)| plot(scope, workspace, task, &architecture, &runs));
    let plots = plots.collect();
    let newest = history.iter().take(ROWS).cloned().collect();
    let rows = Rows::of(&state, "Work requests about this package, newest first", newest).await?;
    let empty = format!("Nothing was done about {name} here.");
    let frame = guest.frame(&name).inside(&place).live(&format!("/-/live/workspace/{}/", place.workspace.id));
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("package", &name).finish();
    guest.show(&PackagePage {
        frame,
        address: paths::package(scope, workspace, &name),
        list: format!("{}work-request/?{query}", place.address()),
        plots,
        rows: Rows { empty, ..rows },
        task,
    })
}

fn plot(scope: &str, workspace: &str, task: String, architecture: &str, runs: &[&WorkRequest]) -> Plot {
    let runs = &runs[runs.len().saturating_sub(BARS)..];
    let longest = runs.iter().filter_map(|row| row.duration()).fold(0.0, f64::max);
    let bars = runs.iter().enumerate().map(|(index, row)| {
        let duration = row.duration().unwrap_or_default();
        // The shortest can be seen and pressed, too.
        let height = if longest > 0.0 { (duration / longest * HEIGHT).max(4.0) } else { 4.0 };
        let class = match (*row.status, *row.result) {
            (Statuses::Aborted, _) | (_, Results::None | Results::Skipped) => "dim",
            (_, Results::Success) => "good",
            (_, Results::TemporaryFailure) => "warn",
            (_, Results::Failure | Results::Error) => "bad",
        };
        let outcome = if *row.status == Statuses::Aborted { "Aborted" } else { row.get_result_display() };
        Bar {
            address: paths::work_request(scope, workspace, row.id),
            class,
            title: format!("#{} {}: {outcome} after {}", row.id, row.summary, Span(duration).words()),
            x: index as f64 * STEP + 2.0,
            y: HEIGHT - height,
            height,
        }
    });
    Plot {
        title: [task.as_str(), architecture].join(" ").trim().to_owned(),
        successes: runs.iter().filter(|row| *row.result == Results::Success).count(),
        runs: runs.len(),
        longest: Span(longest),
        last: runs.last().and_then(|row| row.duration()).map(Span),
        bars: bars.collect(),
        width: BARS as f64 * STEP,
        task,
    }
}
