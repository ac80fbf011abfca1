//! `/{scope}/{workspace}/work-request/compare/?a=…&b=…`: two runs beside each other: what was asked, how it went, what it cost, what
//! came out.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use similar::{ChangeTag, TextDiff};
use std::collections::BTreeMap;
use std::time::Duration;
use usine_db::artifact::ArtifactFilter;
use usine_db::{ArtifactManager, WorkRequest, WorkerManager};

use super::super::frame::Frame;
use super::super::place::InWorkspace;
use super::super::show::{Badge, Size, Span, yaml};
use super::find;
use super::one::statistics;
use super::rows::label;
use crate::paths;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// A comparison of texts is given up after this time, and is coarser then.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/work-request/compare/", Access::Page, compare)
}

#[derive(Deserialize)]
struct Two {
    a: String,
    b: String,
}

#[derive(Template)]
#[template(path = "work_request/compare.html")]
struct ComparePage {
    frame: Frame,
    sides: [Side; 2],
    facts: Vec<Line>,
    files: Vec<Line>,
    data: Vec<Change>,
}

struct Side {
    id: i64,
    address: String,
    badge: Badge,
}

/// Something that both sides may have.
struct Line {
    name: String,
    values: [String; 2],
}

impl Line {
    fn differs(&self) -> bool {
        self.values[0] != self.values[1]
    }
}

/// A line of the difference of two texts.
struct Change {
    class: &'static str,
    sign: char,
    text: String,
}

async fn compare(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Query(two): Query<Two>,
) -> ApiResult<Response> {
    let rows = [find(&state, &guest, &place, &two.a).await?, find(&state, &guest, &place, &two.b).await?];
    let workers: Vec<i64> = rows.iter().filter_map(|row| row.worker_id).collect();
    let workers = WorkerManager(&state.database).names(&workers).await?;
    let of = |told: &dyn Fn(&WorkRequest) -> Option<String>| {
        [told(&rows[0]).unwrap_or_default(), told(&rows[1]).unwrap_or_default()]
    };
    let now = state.now();
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut facts: Vec<Line> = [
        ("Work request", of(&|row| Some(label(row)))),
        ("Submitted", of(&|row| Some(time(row.created_at)))),
        ("Worker", of(&|row| workers.get(&row.worker_id?).cloned())),
        ("Waited", of(&|row| Some(Span::between(row.pending_at?, row.started_at?).words()))),
        ("Ran", of(&|row| Some(Span::of(row, now)?.words()))),
    ]
    .into_iter()
    .map(|(name, values)| Line { name: name.to_owned(), values })
    .collect();
    let mut costs: BTreeMap<&str, [String; 2]> = BTreeMap::new();
    for (side, row) in rows.iter().enumerate() {
        for (name, value) in row.output()?.runtime_statistics.iter().flat_map(statistics) {
            costs.entry(name).or_default()[side] = value;
        }
    }
    facts.extend(costs.into_iter().map(|(name, values)| Line { name: name.to_owned(), values }));

    let mut files: BTreeMap<String, [String; 2]> = BTreeMap::new();
    let artifacts = ArtifactManager(&state.database);
    for (side, row) in rows.iter().enumerate() {
        let filter = ArtifactFilter { work_request_id: Some(row.id), ..ArtifactFilter::default() };
        let made: Vec<i64> = artifacts.list(&filter).await?.iter().map(|artifact| artifact.id).collect();
        for (entry, content) in artifacts.with_files(&made).await?.into_values().flatten() {
            // The same content has the same hash: its beginning tells what differs.
            let told =
                format!("{}, {}…", Size(content.size.unsigned_abs()).words(), &hex::encode(&content.sha256)[..12]);
            files.entry(entry.path).or_default()[side] = told;
        }
    }
    let files = files.into_iter().map(|(name, values)| Line { name, values }).collect();

    let texts = rows.each_ref().map(|row| yaml(&row.task_data));
    let difference = TextDiff::configure().timeout(PATIENCE).diff_lines(texts[0].as_str(), texts[1].as_str());
    let data = difference
        .iter_all_changes()
        .map(|change| {
            let (class, sign) = match change.tag() {
                ChangeTag::Delete => ("del", '−'),
                ChangeTag::Insert => ("ins", '+'),
                ChangeTag::Equal => ("", ' '),
            };
            Change { class, sign, text: change.value().trim_end_matches('\n').to_owned() }
        })
        .collect();
    let title = format!("Compare #{} and #{}", rows[0].id, rows[1].id);
    let frame = guest.frame(title).inside(&place).below("Work requests", format!("{}work-request/", place.address()));
    let sides = rows.each_ref().map(|row| Side {
        id: row.id,
        address: paths::work_request(&place.scope.name, &place.workspace.name, row.id),
        badge: Badge::of(row),
    });
    guest.show(&ComparePage { frame, sides, facts, files, data })
}
