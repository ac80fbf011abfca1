//! Workers before 0.13: they send no tags, but say task by task and tool by tool what they have. What these keys mean in
//! tags is decided here.

use serde_json::Value;

use crate::tags::{self, Tags};
use crate::work_request::TaskType;
use crate::worker::Metadata;

/// The tasks whose data can be told to an old worker (`usine-tasks` translates them).
pub const TASKS: [&str; 10] = [
    "autopkgtest",
    "blhc",
    "debdiff",
    "lintian",
    "makesourcepackageupload",
    "mergeuploads",
    "mmdebstrap",
    "noop",
    "piuparts",
    "sbuild",
];

/// The tools that tasks ask for by `worker:cap:…`, and that old workers tell as the availability of the task of this name.
const TOOLS: [&str; 3] = ["autopkgtest", "mmdebstrap", "sbuild"];

/// Whether metadata are those of an old worker: versions of tasks, and no tags.
pub fn is_old(metadata: &Metadata) -> bool {
    !metadata.contains_key("provided_tags") && metadata.keys().any(|key| key.ends_with(":version"))
}

/// The tags that stand for the metadata of an old worker.
pub fn provided_tags(metadata: &Metadata) -> Tags {
    let is = |value, key: String| metadata.get(&key) == Some(&Value::Bool(value));
    let is_true = |key| is(true, key);
    let mut provided = Tags::new();
    // A task that needs no tool says nothing about it.
    for task in TASKS.into_iter().filter(|task| !is(false, format!("{task}:available"))) {
        let version = metadata.get(&format!("{task}:version")).and_then(Value::as_u64);
        if let Some(version) = version.and_then(|version| u32::try_from(version).ok()) {
            provided.insert(tags::task_version(TaskType::Worker, task, version));
        }
    }
    provided.extend(TOOLS.into_iter().filter(|tool| is_true(format!("{tool}:available"))).map(tags::capability));
    let executors = metadata.keys().filter_map(|key| key.strip_prefix("executor:")?.strip_suffix(":available"));
    provided.extend(executors.filter(|name| is_true(format!("executor:{name}:available"))).map(tags::executor));
    let native = metadata.get("system:host_architecture");
    let all = metadata.get("system:architectures").and_then(Value::as_array).into_iter().flatten();
    provided.extend(all.chain(native).filter_map(Value::as_str).map(tags::build_arch));
    provided
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the worker 0.11.3 sends.
    fn old() -> Metadata {
        let metadata = json!({
            "system:cpu_count": 2, "system:total_physical_memory": 1, "system:worker_type": "external",
            "system:host_architecture": "amd64", "system:architectures": ["amd64", "i386"],
            "noop:version": 1, "sbuild:version": 1, "sbuild:available": true, "extractforsigning:version": 1,
            "mmdebstrap:version": 1, "mmdebstrap:available": true,
            "autopkgtest:version": 1, "autopkgtest:available": false,
            "executor:incus-lxc:available": false, "executor:unshare:available": true,
        });
        metadata.as_object().unwrap().clone()
    }

    #[test]
    fn tags_stand_for_what_an_old_worker_says() {
        assert!(is_old(&old()));
        assert_eq!(
            provided_tags(&old()).into_iter().collect::<Vec<_>>(),
            [
                "worker:build-arch:amd64",
                "worker:build-arch:i386",
                "worker:cap:mmdebstrap",
                "worker:cap:sbuild",
                "worker:executor:unshare",
                "worker:task:worker:mmdebstrap:version:1",
                "worker:task:worker:noop:version:1",
                "worker:task:worker:sbuild:version:1",
            ]
        );
    }

    #[test]
    fn a_task_that_is_not_there_or_of_another_version_is_not_claimed() {
        let mut metadata = old();
        metadata.insert("noop:available".to_owned(), json!(false));
        metadata.insert("sbuild:version".to_owned(), json!(7));
        let provided = provided_tags(&metadata);
        let tasks: Vec<_> = provided.iter().filter(|tag| tag.starts_with("worker:task:")).collect();
        assert_eq!(tasks, ["worker:task:worker:mmdebstrap:version:1", "worker:task:worker:sbuild:version:7"]);
        for wrong in [json!("1"), json!(-1), json!(u64::MAX), json!(null)] {
            metadata.insert("sbuild:version".to_owned(), wrong);
            assert!(provided_tags(&metadata).iter().all(|tag| !tag.contains(":sbuild:version")));
        }
    }

    #[test]
    fn a_worker_that_sends_tags_is_not_old() {
        let mut metadata = old();
        metadata.insert("provided_tags".to_owned(), json!([]));
        assert!(!is_old(&metadata));
        assert!(!is_old(&Metadata::new()));
    }
}
