//! `/{scope}/{workspace}/work-request/`: the work requests of a workspace, newest first. What restricts the list is in the address, so
//! that it can be kept and sent.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use usine_db::work_request::{Cursor, ListFilter};
use usine_db::{UserManager, WorkRequest, WorkRequestManager, WorkerManager};
use usine_model::work_request::{Results, Statuses, TaskType};

use super::super::frame::Frame;
use super::super::place::InWorkspace;
use super::rows::Rows;
use crate::api::status::architectures_of;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Rows of one page.
const PAGE: u64 = 50;

/// The list is counted up to here.
const COUNTED: u64 = 1000;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/work-request/", Access::Page, list)
}

#[derive(Template)]
#[template(path = "work_request/list.html")]
struct ListPage {
    frame: Frame,
    address: String,
    filters: Filters,
    tasks: Vec<&'static str>,
    architectures: Vec<String>,
    ignored: Vec<String>,
    rows: Rows,
    count: u64,
    newer: Option<String>,
    older: Option<String>,
    may_submit: bool,
}

/// The parameters of the address, as they are.
#[derive(Debug, Default)]
struct Filters {
    status: String,
    result: String,
    task: String,
    arch: String,
    package: String,
    worker: String,
    by: String,
}

/// The parameters, with what is said of each.
const NAMES: [(&str, &str); 7] = [
    ("status", "Status"),
    ("result", "Result"),
    ("task", "Task"),
    ("arch", "Architecture"),
    ("package", "Package"),
    ("worker", "Worker"),
    ("by", "By"),
];

/// A restriction in force, and the address without it.
struct Chip {
    text: String,
    without: String,
}

impl Filters {
    fn get(&self, name: &str) -> &str {
        match name {
            "status" => &self.status,
            "result" => &self.result,
            "task" => &self.task,
            "arch" => &self.arch,
            "package" => &self.package,
            "worker" => &self.worker,
            _ => &self.by,
        }
    }

    fn of(query: &[(String, String)]) -> Self {
        let value = |name: &str| {
            let last = query.iter().rfind(|(key, _)| key == name);
            last.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        Self {
            status: value("status"),
            result: value("result"),
            task: value("task"),
            arch: value("arch"),
            package: value("package"),
            worker: value("worker"),
            by: value("by"),
        }
    }

    /// As the query of an address, without one of them.
    fn query(&self, without: &str) -> String {
        let kept = NAMES.iter().map(|(name, _)| (*name, self.get(name)));
        let kept = kept.filter(|(name, value)| *name != without && !value.is_empty());
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }

    fn chips(&self) -> Vec<Chip> {
        let set = NAMES.iter().filter(|(name, _)| !self.get(name).is_empty());
        set.map(|(name, label)| Chip { text: format!("{label}: {}", self.get(name)), without: self.query(name) })
            .collect()
    }

    /// The choices of the filters whose words are few: value and text.
    fn statuses(&self) -> [(&'static str, &'static str); 7] {
        [
            ("", "any"),
            ("open", "open"),
            ("running", "running"),
            ("pending", "pending"),
            ("blocked", "blocked"),
            ("completed", "completed"),
            ("aborted", "aborted"),
        ]
    }

    fn results(&self) -> [(&'static str, &'static str); 7] {
        [
            ("", "any"),
            ("bad", "bad"),
            ("success", "success"),
            ("failure", "failure"),
            ("error", "error"),
            ("temporary failure", "temporary failure"),
            ("skipped", "skipped"),
        ]
    }
}

/// What the parameters mean; what cannot be understood restricts nothing, and is named.
async fn understood(state: &AppState, filters: &Filters, ignored: &mut Vec<String>) -> ApiResult<ListFilter> {
    let statuses = match filters.status.as_str() {
        "" => Vec::new(),
        "open" => vec![Statuses::Blocked, Statuses::Pending, Statuses::Running],
        word => word.parse().map(|status| vec![status]).unwrap_or_else(|_| {
            ignored.push(format!("status {word:?}"));
            Vec::new()
        }),
    };
    let results = match filters.result.as_str() {
        "" => Vec::new(),
        "bad" => vec![Results::Failure, Results::TemporaryFailure, Results::Error],
        word => word.parse().map(|result| vec![result]).unwrap_or_else(|_| {
            ignored.push(format!("result {word:?}"));
            Vec::new()
        }),
    };
    let given = |value: &String| Some(value.clone()).filter(|value| !value.is_empty() && !value.contains('\0'));
    let (task_name, subject) = (given(&filters.task), given(&filters.package));
    let mut filter = ListFilter { statuses, results, task_name, subject, ..ListFilter::default() };
    if let Some(architecture) = given(&filters.arch) {
        let sets = architectures_of(&state.database).await?;
        let wanted = |(id, has): (i64, Option<String>)| (has.as_ref() == Some(&architecture)).then_some(id);
        filter.requirement_sets = Some(sets.into_iter().filter_map(wanted).collect());
    }
    // Who is not there has nothing.
    if let Some(name) = given(&filters.worker) {
        let worker = WorkerManager(&state.database).get_worker_or_none(&name).await?;
        filter.worker_id = Some(worker.map_or(0, |worker| worker.id));
    }
    if let Some(name) = given(&filters.by) {
        let user = UserManager(&state.database).get_user_or_none(&name).await?;
        filter.created_by_id = Some(user.map_or(0, |user| user.id));
    }
    Ok(filter)
}

async fn list(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Query(query): Query<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let filters = Filters::of(&query);
    let mut ignored = Vec::new();
    let mut filter = understood(&state, &filters, &mut ignored).await?;
    filter.workspace_ids = vec![place.workspace.id];
    let manager = WorkRequestManager(&state.database);
    let count = manager.count(&filter, COUNTED + 1).await?;

    let cursor = |name: &str| query.iter().find(|(key, _)| key == name).and_then(|(_, value)| parse_cursor(value));
    filter.before = cursor("before");
    filter.after = cursor("after").filter(|_| filter.before.is_none());
    let mut rows = manager.list(&filter, PAGE + 1).await?;
    let more = rows.len() as u64 > PAGE;
    if filter.after.is_some() && more {
        rows.remove(0);
    }
    rows.truncate(PAGE as usize);
    let page = |name: &str, row: Option<&WorkRequest>| {
        let query = filters.query("");
        let and = if query.is_empty() { "" } else { "&" };
        row.map(|row| format!("?{query}{and}{name}={}", cursor_of(row)))
    };
    let has_newer = filter.before.is_some() || (filter.after.is_some() && more);
    let has_older = filter.after.is_some() || more;
    let newer = page("after", rows.first().filter(|_| has_newer));
    let older = page("before", rows.last().filter(|_| has_older));

    let mut architectures: Vec<String> = architectures_of(&state.database).await?.into_values().flatten().collect();
    architectures.sort_unstable();
    architectures.dedup();
    let mut rows = Rows::of(&state, "Work requests, newest first", rows).await?;
    rows.empty = if filters.query("").is_empty() {
        "There are no work requests here yet.".to_owned()
    } else {
        "No work request is like that: take a filter away.".to_owned()
    };
    let frame = guest.frame("Work requests").inside(&place);
    let frame = frame.live(&format!("/-/live/workspace/{}/", place.workspace.id));
    let may_submit = super::may_submit(&guest, &place);
    let tasks = usine_tasks::registered(TaskType::Worker);
    let address = format!("{}work-request/", place.address());
    guest.show(&ListPage {
        frame,
        address,
        filters,
        tasks,
        architectures,
        ignored,
        rows,
        count,
        newer,
        older,
        may_submit,
    })
}

/// A place in the list: microseconds and id.
fn cursor_of(row: &WorkRequest) -> String {
    format!("{}-{}", row.created_at.timestamp_micros(), row.id)
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (micros, id) = text.split_once('-')?;
    Some((DateTime::<Utc>::from_timestamp_micros(micros.parse().ok()?)?, id.parse().ok()?))
}
