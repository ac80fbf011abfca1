//! What the old generation of Debian's client printed: fewer keys, whole seconds, times in YAML's own type.

use serde_json::{Value, json};
use usine_protocol::artifact::{Artifact, Relation};
use usine_protocol::work_request::WorkRequest;

use crate::command::work_request::view::Shown;
use crate::output::{native_time, yaml_with_times};

/// The keys of a work request that are times.
const TIMES: [&str; 3] = ["created_at", "started_at", "completed_at"];

/// A work request with its artifacts, as YAML.
pub fn work_request(shown: &Shown) -> serde_json::Result<String> {
    let artifacts = shown.artifacts.iter().map(artifact).collect::<serde_json::Result<_>>()?;
    Ok(yaml_with_times(&mapping(&shown.work_request, artifacts), &TIMES))
}

/// A work request in a list, where artifacts are numbers.
pub fn listed_work_request(work_request: &WorkRequest) -> serde_json::Result<String> {
    Ok(yaml_with_times(&mapping(work_request, json!(work_request.artifacts)), &TIMES))
}

fn mapping(work_request: &WorkRequest, artifacts: Value) -> Value {
    json!({
        "id": work_request.id,
        "url": work_request.url,
        "created_at": native_time(Some(work_request.created_at)),
        "started_at": native_time(work_request.started_at),
        "completed_at": native_time(work_request.completed_at),
        // It was a whole number, cut, not rounded.
        "duration": work_request.duration.map(|seconds| seconds as i64),
        "status": work_request.status,
        "result": work_request.result,
        "worker": work_request.worker,
        "task_type": work_request.task_type,
        "task_name": work_request.task_name,
        "task_data": work_request.task_data,
        "dynamic_task_data": work_request.dynamic_task_data,
        "priority_base": work_request.priority_base,
        "priority_adjustment": work_request.priority_adjustment,
        "artifacts": artifacts,
        "workspace": work_request.workspace,
    })
}

/// An artifact: as today, but without links.
pub fn artifact(artifact: &Artifact) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(artifact)?;
    without_links(&mut value);
    let files = value.get_mut("files").and_then(Value::as_object_mut);
    files.into_iter().flat_map(|files| files.values_mut()).for_each(without_links);
    Ok(value)
}

fn without_links(value: &mut Value) {
    if let Value::Object(map) = value {
        map.shift_remove("links");
    }
}

/// A relation.
pub fn relation(relation: &Relation) -> Value {
    let Relation { id, artifact, target, relation_type } = relation;
    json!({"artifact": artifact, "target": target, "type": relation_type, "id": id})
}
