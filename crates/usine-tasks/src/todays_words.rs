//! Task data of older clients in the words of today: Debian's worker 0.16 refuses the old ones. People see what was sent.

use serde_json::{Map, Value, json};

/// Task data as a worker of today takes them.
pub fn in_todays_words(task_name: &str, data: &Value) -> Value {
    let Value::Object(fields) = data else { return data.clone() };
    let said = fields.iter().map(|(key, value)| match (task_name, key.as_str(), value) {
        ("noop", "result", Value::Bool(success)) => (key.clone(), json!(if *success { "success" } else { "failure" })),
        (_, "host_architecture", _) => ("build_architecture".to_owned(), value.clone()),
        _ => (key.clone(), value.clone()),
    });
    Value::Object(said.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_words_are_replaced() {
        for (task_name, old, today) in [
            ("noop", json!({"result": true}), json!({"result": "success"})),
            ("noop", json!({"result": false}), json!({"result": "failure"})),
            ("noop", json!({"result": "skipped"}), json!({"result": "skipped"})),
            (
                "sbuild",
                json!({"host_architecture": "amd64", "environment": 3, "input": {"source_artifact": 12}}),
                json!({"build_architecture": "amd64", "environment": 3, "input": {"source_artifact": 12}}),
            ),
        ] {
            assert_eq!(in_todays_words(task_name, &old), today);
        }
    }
}
