//! `/-/status/queue/`: what waits for how long, by architecture and task, and who there is to do it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use usine_db::WorkRequestManager;
use usine_model::work_request::{Statuses, TaskType};
use usine_protocol::status::{Queue, Workers};

use super::frame::{Frame, Guest};
use super::show::{Span, When};
use crate::api::status::{architectures_of, gather};
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// So many of the last that ended tell how long one waits and runs.
const LAST: u64 = 1000;

pub(super) fn routes() -> Routes {
    Routes::new().get("/-/status/queue/", Access::Page, show)
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    frame: Frame,
    pending: i64,
    running: i64,
    oldest: Option<When>,
    kinds: Vec<Kind>,
    types: Vec<(&'static str, Workers, Queue)>,
    architectures: Vec<(String, Workers, Queue)>,
}

/// All of one task for one architecture.
#[derive(Default)]
struct Kind {
    architecture: String,
    task: String,
    pending: i64,
    running: i64,
    oldest: Option<When>,
    /// How long half of the last ones waited, and nine of ten.
    waited: Option<(Span, Span)>,
    ran: Option<Span>,
}

async fn show(State(state): State<AppState>, guest: Guest) -> ApiResult<Response> {
    let manager = WorkRequestManager(&state.database);
    let now = state.now();
    let status = gather(&state).await?;
    let architectures = architectures_of(&state.database).await?;
    let sets = usine_db::QueueManager(&state.database).requirement_sets(0).await?;
    let tasks: BTreeMap<i64, String> = sets.into_iter().map(|(id, set)| (id, set.task_name)).collect();
    let kind_of = |set: Option<i64>, task: Option<String>| {
        let architecture = set.and_then(|id| architectures.get(&id).cloned().flatten());
        let task = task.or_else(|| set.and_then(|id| tasks.get(&id).cloned()));
        (architecture.unwrap_or_default(), task.unwrap_or_default())
    };
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for count in manager.count_open().await? {
        if *count.task_type != TaskType::Worker {
            continue;
        }
        let key = kind_of(count.requirement_set_id, None);
        let kind = kinds.entry(key).or_default();
        if *count.status == Statuses::Running {
            kind.running += count.count;
        } else {
            kind.pending += count.count;
            kind.oldest = [kind.oldest, When::maybe(count.oldest, now)].into_iter().flatten().max_by_key(When::age);
        }
    }
    let mut spans: BTreeMap<(String, String), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ended in manager.last_ended(LAST).await? {
        let (waits, runs) = spans.entry(kind_of(ended.requirement_set_id, Some(ended.task_name))).or_default();
        waits.extend(ended.pending_at.zip(ended.started_at).map(|(from, to)| Span::between(from, to).0));
        runs.extend(ended.started_at.zip(ended.completed_at).map(|(from, to)| Span::between(from, to).0));
    }
    for (key, (mut waits, mut runs)) in spans {
        let kind = kinds.entry(key).or_default();
        kind.waited = quantile(&mut waits, 0.5).zip(quantile(&mut waits, 0.9));
        kind.ran = quantile(&mut runs, 0.5);
    }
    let kinds: Vec<Kind> =
        kinds.into_iter().map(|((architecture, task), kind)| Kind { architecture, task, ..kind }).collect();
    let types = [("External", "external"), ("Server-side", "celery"), ("Signing", "signing")].map(|(name, key)| {
        let find = |map: &BTreeMap<String, Workers>| map.get(key).copied().unwrap_or_default();
        (name, find(&status.workers), status.worker_tasks.get(key).copied().unwrap_or_default())
    });
    let mut names: Vec<&String> = status.external_workers_arch.keys().chain(status.worker_tasks_arch.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let by_architecture = names.into_iter().map(|name| {
        let workers = status.external_workers_arch.get(name).copied().unwrap_or_default();
        let queue = status.worker_tasks_arch.get(name).copied().unwrap_or_default();
        (if name == "None" { "Not specified".to_owned() } else { name.clone() }, workers, queue)
    });
    guest.show(&QueuePage {
        frame: guest.frame("Queue").live("/-/live/"),
        pending: kinds.iter().map(|kind| kind.pending).sum(),
        running: kinds.iter().map(|kind| kind.running).sum(),
        oldest: kinds.iter().filter_map(|kind| kind.oldest).max_by_key(When::age),
        architectures: by_architecture.collect(),
        types: types.into(),
        kinds,
    })
}

/// The span that this part of all does not exceed.
fn quantile(spans: &mut [f64], part: f64) -> Option<Span> {
    spans.sort_by(f64::total_cmp);
    let last = spans.len().checked_sub(1)?;
    spans.get((last as f64 * part).round() as usize).copied().map(Span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let mut spans = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(quantile(&mut spans, 0.5), Some(Span(3.0)));
        assert_eq!(quantile(&mut spans, 0.9), Some(Span(5.0)));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
