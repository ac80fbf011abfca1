//! Workers: their kinds, and the merging of what they and their administrators say of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::tags::{self, Provenance, Tags};
use crate::work_request::TaskType;

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

/// The tags that a worker provides, each from a source that may.
///
/// Workers before 0.15 send no tags: theirs are derived from the keys they do send.
pub fn provided_tags(worker_type: WorkerType, dynamic: &Metadata, fixed: &Metadata) -> Tags {
    let mut provided = match dynamic.get("provided_tags") {
        Some(_) => tags::accepted(Provenance::Worker, strings(dynamic, "provided_tags")),
        None => {
            let derived = tags_from_old_keys(dynamic);
            tags::accepted(Provenance::Worker, derived.iter().map(String::as_str))
        }
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

/// Tags that say the same as the metadata of workers before 0.15 (`sbuild:version`, `executor:unshare:available`, …).
fn tags_from_old_keys(metadata: &Metadata) -> Tags {
    let mut derived = Tags::new();
    let mut architectures: Vec<&str> = strings(metadata, "system:architectures").collect();
    for key in ["system:native_architecture", "system:host_architecture"] {
        architectures.extend(metadata.get(key).and_then(Value::as_str));
    }
    derived.extend(architectures.into_iter().map(tags::build_arch));
    for (key, value) in metadata {
        let parts: Vec<&str> = key.split(':').collect();
        match (parts.as_slice(), value) {
            ([task, "version"], Value::Number(version)) if *task != "system" => {
                if let Some(version) = version.as_u64().and_then(|v| u32::try_from(v).ok()) {
                    derived.insert(tags::task_version(TaskType::Worker, task, version));
                }
            }
            (["signing", task, "version"], Value::Number(version)) => {
                if let Some(version) = version.as_u64().and_then(|v| u32::try_from(v).ok()) {
                    derived.insert(tags::task_version(TaskType::Signing, task, version));
                }
            }
            (["executor", backend, "available"], Value::Bool(true)) => {
                derived.insert(tags::executor(backend));
            }
            ([tool, "available"], Value::Bool(true)) => {
                derived.insert(tags::capability(tool));
            }
            _ => {}
        }
    }
    derived
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
    fn old_workers_are_understood() {
        let dynamic = object(json!({
            "system:architectures": ["amd64", "i386"], "sbuild:version": 1, "sbuild:available": true,
            "executor:unshare:available": true, "executor:qemu:available": false, "signing:sign:version": 1,
        }));
        let tags: Vec<_> = provided_tags(WorkerType::External, &dynamic, &Metadata::new()).into_iter().collect();
        assert_eq!(
            tags,
            [
                "worker:build-arch:amd64",
                "worker:build-arch:i386",
                "worker:cap:sbuild",
                "worker:executor:unshare",
                "worker:task:signing:sign:version:1",
                "worker:task:worker:sbuild:version:1",
                "worker:type:external",
            ]
        );
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
