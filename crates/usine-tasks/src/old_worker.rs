//! Tasks in the words of workers before 0.13. These refuse every key that they do not know, so what is newer is left out
//! where it says nothing; where it says something, the task cannot be said to them. Seen with Debian's 0.11.3.

use serde_json::{Map, Value, json};

/// A task as an old worker understands it.
#[derive(Debug, Clone, PartialEq)]
pub struct OldWords {
    /// The `task_data`.
    pub task_data: Value,
    /// The `dynamic_task_data`, if there are any.
    pub dynamic_task_data: Option<Value>,
}

/// What is peculiar to the data of one task.
struct Manner {
    /// Whether it has a `host_architecture`, as `build_architecture` was called.
    has_architecture: bool,
    /// The keys that it did not have.
    newer: &'static [&'static str],
}

/// Keys of dynamic data that old workers do not have; they know from the task data and the artifacts what these say.
const NEWER_DYNAMIC: [&str; 3] = ["extra_repositories", "input_artifact_data", "task_input_fields"];

fn manner(task_name: &str) -> Option<Manner> {
    let (has_architecture, newer): (bool, &[&str]) = match task_name {
        "sbuild" => (true, &["aspcud_criteria", "build_dep_resolver", "resolve_alternatives"]),
        "autopkgtest" => (true, &["pin_packages"]),
        "debdiff" | "piuparts" => (true, &[]),
        "blhc" | "lintian" | "makesourcepackageupload" | "mergeuploads" | "mmdebstrap" => (false, &[]),
        _ => return None,
    };
    Some(Manner { has_architecture, newer })
}

/// Says a task to a worker before 0.13; none if it has no words for it. Its names of tasks are those in
/// [`usine_model::old_worker::TASKS`].
pub fn translate(task_name: &str, data: &Value, dynamic: Option<&Value>) -> Option<OldWords> {
    let fields = data.as_object()?;
    let task_data = match task_name {
        "noop" => noop(fields)?,
        other => on_executor(&manner(other)?, fields, dynamic)?,
    };
    let dynamic_task_data = dynamic.and_then(Value::as_object).map(|dynamic| {
        let known = dynamic.iter().filter(|(key, _)| !NEWER_DYNAMIC.contains(&key.as_str()));
        known.map(|(key, value)| (key.clone(), value.clone())).collect()
    });
    Some(OldWords { task_data: Value::Object(task_data), dynamic_task_data })
}

/// Whether a worker before 0.13 can be told of a task.
pub fn can_be_told(task_name: &str, data: &Value, dynamic: Option<&Value>) -> bool {
    translate(task_name, data, dynamic).is_some()
}

/// Its result was a boolean, and it had nothing else.
fn noop(fields: &Map<String, Value>) -> Option<Map<String, Value>> {
    let success = match fields.get("result") {
        None => true,
        Some(Value::Bool(success)) => *success,
        Some(Value::String(result)) if result == "success" => true,
        Some(Value::String(result)) if result == "failure" => false,
        Some(_) => return None,
    };
    Some(Map::from_iter([("result".to_owned(), json!(success))]))
}

fn on_executor(manner: &Manner, fields: &Map<String, Value>, dynamic: Option<&Value>) -> Option<Map<String, Value>> {
    let mut said = Map::new();
    for (key, value) in fields {
        match key.as_str() {
            _ if value.is_null() => {}
            "build_architecture" | "host_architecture" => {}
            newer if manner.newer.contains(&newer) && is_unset(value) => {}
            newer if manner.newer.contains(&newer) => return None,
            "bootstrap_options" if !value["gpgv_command"].is_null() => return None,
            "bootstrap_options" => {
                let options = value.as_object()?.iter().filter(|(key, _)| *key != "gpgv_command");
                let options = options.map(|(key, value)| (key.clone(), value.clone())).collect();
                said.insert(key.clone(), options);
            }
            "extra_repositories" if !value.as_array()?.iter().all(is_old_repository) => return None,
            _ => {
                said.insert(key.clone(), value.clone());
            }
        }
    }
    if manner.has_architecture {
        let told = fields.get("build_architecture").or_else(|| fields.get("host_architecture"));
        let decided = dynamic.and_then(|dynamic| dynamic["task_input_fields"].get("build_architecture"));
        said.insert("host_architecture".to_owned(), told.filter(|value| !value.is_null()).or(decided)?.clone());
    }
    Some(said)
}

/// As good as left out.
fn is_unset(value: &Value) -> bool {
    *value == json!(false) || *value == json!([])
}

/// A repository with an address, for all architectures.
fn is_old_repository(repository: &Value) -> bool {
    repository["url"].is_string() && repository["architectures"].is_null()
}

#[cfg(test)]
mod tests {
    use usine_model::old_worker::TASKS;

    use super::*;

    fn said(task_name: &str, data: Value) -> Option<Value> {
        translate(task_name, &data, None).map(|words| words.task_data)
    }

    #[test]
    fn noop_had_a_boolean() {
        for (data, result) in [
            (json!({}), true),
            (json!({"result": "success", "backend": "auto", "environment": 3}), true),
            (json!({"result": "failure"}), false),
            (json!({"result": true}), true),
            (json!({"result": false}), false),
        ] {
            assert_eq!(said("noop", data.clone()), Some(json!({"result": result})), "{data}");
        }
        for other in ["temporary failure", "error", "skipped"] {
            assert_eq!(said("noop", json!({"result": other})), None);
        }
    }

    #[test]
    fn a_build_keeps_its_data_under_their_old_names() {
        let data = json!({
            "input": {"source_artifact": 12, "extra_binary_artifacts": [20]}, "build_architecture": "amd64", "environment": 3,
            "backend": "unshare", "build_components": ["any", "all"], "build_profiles": ["nocheck"], "binnmu": null,
            "resolve_alternatives": false, "build_dep_resolver": null,
            "extra_repositories": [{"url": "http://archive.example.org/", "suite": "./"}],
        });
        let dynamic = json!({
            "environment_id": 3, "input_source_artifact_id": 12, "input_extra_binary_artifacts_ids": [20],
            "binnmu_maintainer": "Debusine <noreply@d.example>", "subject": "hello", "parameter_summary": "hello_1 (amd64)",
            "runtime_context": "any+all:amd64:amd64", "configuration_context": "bookworm", "extra_repositories": null,
            "task_input_fields": {"build_architecture": "amd64"},
        });
        let words = translate("sbuild", &data, Some(&dynamic)).unwrap();
        assert_eq!(
            words.task_data,
            json!({
                "input": {"source_artifact": 12, "extra_binary_artifacts": [20]}, "host_architecture": "amd64",
                "environment": 3, "backend": "unshare", "build_components": ["any", "all"], "build_profiles": ["nocheck"],
                "extra_repositories": [{"url": "http://archive.example.org/", "suite": "./"}],
            })
        );
        assert_eq!(
            words.dynamic_task_data.unwrap(),
            json!({
                "environment_id": 3, "input_source_artifact_id": 12, "input_extra_binary_artifacts_ids": [20],
                "binnmu_maintainer": "Debusine <noreply@d.example>", "subject": "hello",
                "parameter_summary": "hello_1 (amd64)", "runtime_context": "any+all:amd64:amd64",
                "configuration_context": "bookworm",
            })
        );
        for (key, value) in [
            ("build_dep_resolver", json!("aptitude")),
            ("resolve_alternatives", json!(true)),
            ("extra_repositories", json!([{"suite": "sid@debian:suite"}])),
            ("extra_repositories", json!([{"url": "http://x.example/", "suite": "./", "architectures": ["amd64"]}])),
        ] {
            let mut newer = data.clone();
            newer[key] = value;
            assert_eq!(translate("sbuild", &newer, Some(&dynamic)), None, "{newer}");
        }
    }

    #[test]
    fn the_architecture_is_told_where_there_was_a_key_for_it() {
        let data = json!({"input": {"source_artifact": 12}, "build_architecture": "amd64", "environment": 3});
        let without = json!({"input": {"source_artifact": 12}, "environment": 3});
        assert_eq!(said("lintian", data.clone()), Some(without.clone()));
        assert_eq!(said("autopkgtest", data).unwrap()["host_architecture"], "amd64");
        assert_eq!(said("piuparts", without.clone()), None, "it is mandatory");
        let dynamic = json!({"base_tgz_id": 4, "task_input_fields": {"build_architecture": "arm64"}});
        let words = translate("piuparts", &without, Some(&dynamic)).unwrap();
        assert_eq!(words.task_data["host_architecture"], "arm64", "the one that the server chose");
    }

    #[test]
    fn bootstraps_had_no_gpgv_command() {
        let data = |command: Value| json!({"bootstrap_options": {"architecture": "amd64", "gpgv_command": command}});
        assert_eq!(
            said("mmdebstrap", data(Value::Null)),
            Some(json!({"bootstrap_options": {"architecture": "amd64"}}))
        );
        assert_eq!(said("mmdebstrap", data(json!("gpgv-sq"))), None);
    }

    #[test]
    fn there_are_words_for_what_old_workers_are_believed_to_have() {
        for task in crate::registered(usine_model::work_request::TaskType::Worker) {
            let words = said(task, json!({"build_architecture": "amd64"}));
            assert_eq!(words.is_some(), TASKS.contains(&task), "{task}");
        }
        assert!(TASKS.iter().all(|task| manner(task).is_some() || *task == "noop"));
    }
}
