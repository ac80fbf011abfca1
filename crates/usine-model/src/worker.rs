//! Workers: their kinds, and the merging of what they and their administrators say of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::old_worker;
use crate::tags::{self, Provenance, Tags};

/// The kind of a worker.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum WorkerType {
    /// In the server, for metrics.
    Scheduler,
    /// A machine of its own.
    #[default]
    External,
    /// In the server, for `Server` tasks (the original's name for it).
    Celery,
    /// A machine that holds signing keys.
    Signing,
}

/// A JSON object, as metadata are.
pub type Metadata = Map<String, Value>;

/// Static metadata laid over dynamic metadata, on top-level keys: a static value replaces the dynamic one wholly.
pub fn merge_metadata(dynamic: &Metadata, fixed: &Metadata) -> Metadata {
    let mut merged = dynamic.clone();
    merged.extend(fixed.clone());
    merged
}

/// All metadata of a worker, as shown: merged, with `provided_tags` set to the tags that count.
pub fn metadata(worker_type: WorkerType, dynamic: &Metadata, fixed: &Metadata) -> Metadata {
    let mut merged = merge_metadata(dynamic, fixed);
    let provided = provided_tags(worker_type, dynamic, fixed);
    merged.insert("provided_tags".to_owned(), provided.into_iter().collect());
    merged
}

/// The tags that a worker provides, each from a source that may. Old workers send none: theirs follow from what they do
/// send.
pub fn provided_tags(worker_type: WorkerType, dynamic: &Metadata, fixed: &Metadata) -> Tags {
    let mut provided = if old_worker::is_old(dynamic) {
        let told = old_worker::provided_tags(dynamic);
        tags::accepted(Provenance::Worker, told.iter().map(String::as_str))
    } else {
        tags::accepted(Provenance::Worker, strings(dynamic, "provided_tags"))
    };
    provided.extend(tags::accepted(Provenance::Admin, strings(fixed, "provided_tags")));
    provided.insert(tags::worker_type(worker_type));
    provided
}

/// The tags that a worker requires of work requests: only an administrator can ask for that.
pub fn required_tags(fixed: &Metadata) -> Tags {
    strings(fixed, "required_tags").map(str::to_owned).collect()
}

/// Which tasks a worker takes, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskFilter {
    /// Any.
    All,
    /// Only these (`tasks_allowlist`, even if empty).
    Only(Vec<String>),
    /// All but these (`tasks_denylist`, which an allow list makes meaningless).
    AllBut(Vec<String>),
}

impl TaskFilter {
    /// What the merged metadata say.
    pub fn from_metadata(merged: &Metadata) -> Self {
        let list = |key| strings(merged, key).map(str::to_owned).collect::<Vec<_>>();
        if merged.get("tasks_allowlist").is_some_and(Value::is_array) {
            Self::Only(list("tasks_allowlist"))
        } else {
            match list("tasks_denylist") {
                denied if denied.is_empty() => Self::All,
                denied => Self::AllBut(denied),
            }
        }
    }

    /// Whether a task of this name passes.
    pub fn allows(&self, task_name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name == task_name),
            Self::AllBut(names) => names.iter().all(|name| name != task_name),
        }
    }
}

fn strings<'a>(metadata: &'a Metadata, key: &str) -> impl Iterator<Item = &'a str> {
    metadata.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Metadata {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn static_metadata_win_on_top_level_keys() {
        let dynamic = object(json!({"a": {"x": 1}, "b": 2}));
        let fixed = object(json!({"a": {"y": 3}}));
        assert_eq!(Value::Object(merge_metadata(&dynamic, &fixed)), json!({"a": {"y": 3}, "b": 2}));
    }

    #[test]
    fn tags_have_provenance() {
        let dynamic =
            object(json!({"provided_tags": ["worker:cap:sbuild", "worker:class:fast", "worker:type:signing"]}));
        let fixed = object(json!({"provided_tags": ["worker:class:big"], "required_tags": ["task:scope:debusine"]}));
        let tags: Vec<_> = provided_tags(WorkerType::External, &dynamic, &fixed).into_iter().collect();
        assert_eq!(tags, ["worker:cap:sbuild", "worker:class:big", "worker:type:external"]);
        assert_eq!(required_tags(&fixed).len(), 1);
        assert!(required_tags(&object(json!({"required_tags": "not a list"}))).is_empty());
    }

    #[test]
    fn allow_lists_silence_deny_lists() {
        let filter = |value| TaskFilter::from_metadata(&object(value));
        assert!(filter(json!({})).allows("sbuild"));
        assert!(!filter(json!({"tasks_denylist": ["sbuild"]})).allows("sbuild"));
        assert!(filter(json!({"tasks_denylist": ["sbuild"], "tasks_allowlist": ["sbuild"]})).allows("sbuild"));
        assert!(!filter(json!({"tasks_allowlist": []})).allows("noop"));
    }
}
