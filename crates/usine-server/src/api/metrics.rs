//! `open-metrics/`: what a monitoring system reads.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::status::gather;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// The address, for which there is a place even when the server has its hands full.
pub(crate) const PATH: &str = "/api/1.0/open-metrics/";

/// The routes.
pub fn routes() -> Routes {
    Routes::new().get(PATH, Access::Everybody, metrics)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task_type: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabels {
    worker_type: String,
    state: &'static str,
}

/// Text of the moment, computed when it is asked for: nothing is counted on the side that could go wrong.
async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> ApiResult<impl IntoResponse> {
    let status = gather(&state).await?;
    let mut registry = Registry::with_prefix("debusine");
    let tasks = Family::<TaskLabels, Gauge>::default();
    for (task_type, queue) in status.tasks {
        for (status, count) in [("pending", queue.pending), ("running", queue.running)] {
            let labels = TaskLabels { task_type: task_type.clone(), status };
            tasks.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    registry.register("work_requests", "Work requests that are not ended", tasks);
    let workers = Family::<WorkerLabels, Gauge>::default();
    for (worker_type, counts) in status.workers {
        for (state, count) in [
            ("registered", counts.registered),
            ("connected", counts.connected),
            ("idle", counts.idle),
            ("busy", counts.busy),
        ] {
            let labels = WorkerLabels { worker_type: worker_type.clone(), state };
            workers.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    registry.register("workers", "Enabled workers by what they do", workers);
    let retries = Gauge::<i64>::default();
    retries.set(i64::try_from(state.database.retries()).unwrap_or(i64::MAX));
    registry.register("database_transaction_retries", "Transactions tried again since the start", retries);
    let channels = Gauge::<i64>::default();
    channels.set(i64::try_from(state.hub.connections()).unwrap_or(i64::MAX));
    registry.register("worker_channels", "Open WebSockets of workers", channels);
    state.overload.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let wants_open_metrics = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let content_type = if wants_open_metrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}
