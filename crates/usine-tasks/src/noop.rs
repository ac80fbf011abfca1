//! `noop`: does nothing and ends as it is told.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use usine_model::lookup::LookupSingle;
use usine_model::work_request::Results;

use crate::Backend;
use crate::run::{Bench, BoxFuture, Run, TaskError};
use crate::task::{Resolved, ServerFacts};
use crate::task_data::{SingleSchema, TaskDataError, default_task_configuration};
use crate::worker_task::{Description, NoDynamicData, WorkerTask};

/// The task.
pub(crate) struct Noop;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoopData {
    /// How to end.
    #[serde(default = "success", deserialize_with = "result")]
    #[schemars(with = "String")]
    result: Results,
    /// Accepted and ignored, as are the next two.
    #[serde(default)]
    backend: Backend,
    #[serde(default)]
    #[schemars(with = "Option<SingleSchema>")]
    environment: Option<LookupSingle>,
    #[serde(default)]
    build_architecture: Option<String>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

fn success() -> Results {
    Results::Success
}

/// A result, or a boolean as before 0.16: success or failure.
fn result<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Results, D::Error> {
    struct ResultVisitor;

    impl Visitor<'_> for ResultVisitor {
        type Value = Results;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("'success', 'failure', 'temporary failure', 'error' or 'skipped'")
        }

        fn visit_bool<E>(self, value: bool) -> Result<Results, E> {
            Ok(if value { Results::Success } else { Results::Failure })
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Results, E> {
            // The empty result means "not ended": a task cannot end with it.
            let result = text.parse().ok().filter(|result| *result != Results::None);
            result.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(ResultVisitor)
}

impl WorkerTask for Noop {
    const NAME: &'static str = "noop";

    type Data = NoopData;
    type Dynamic = NoDynamicData;

    fn describe(_: &NoopData, _: &Resolved, _: &ServerFacts) -> Result<Description<NoDynamicData>, TaskDataError> {
        Ok(Description {
            subject: None,
            parameter_summary: None,
            runtime_context: None,
            configuration_context: None,
            dynamic: NoDynamicData {},
        })
    }

    fn start(data: NoopData, _: NoDynamicData) -> Box<dyn Run> {
        Box::new(NoopRun(data.result))
    }
}

struct NoopRun(Results);

impl Run for NoopRun {
    fn run<'a>(&'a mut self, _bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(async { Ok(self.0) })
    }
}

/// The example of CONTRIBUTING.md.
#[cfg(test)]
mod example;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::Task;

    #[test]
    fn data() {
        for good in [
            json!({}),
            json!({"result": "temporary failure"}),
            json!({"result": true}),
            json!({"backend": "qemu", "environment": 3, "host_architecture": "amd64", "task_configuration": null}),
        ] {
            assert_eq!(Noop.check(&good), Ok(()), "{good}");
        }
        for (bad, path) in [
            (json!({"result": ""}), "result"),
            (json!({"result": "fine"}), "result"),
            (json!({"result": null}), "result"),
            (json!({"surprise": 1}), "surprise"),
            (json!({"backend": "xen"}), "backend"),
        ] {
            let error = Noop.check(&bad).unwrap_err();
            assert_eq!(error.errors.keys().collect::<Vec<_>>(), [path], "{bad}");
        }
        assert_eq!(
            Noop.check(&json!({"result": "fine"})).unwrap_err().to_string(),
            "1 validation error: result: Input should be 'success', 'failure', 'temporary failure', 'error' or 'skipped'"
        );
    }

    #[test]
    fn requirements() {
        let tags = Noop.required_tags(&json!({}), "amd64").unwrap();
        assert_eq!(tags.into_iter().collect::<Vec<_>>(), ["worker:task:worker:noop:version:1", "worker:type:external"]);
        let server = ServerFacts { fqdn: "d.example".into(), fallback_architecture: "amd64".into() };
        let dynamic = Noop.dynamic_data(&json!({}), &Resolved::new(), &server).unwrap();
        assert_eq!(Value::Object(dynamic), json!({"task_input_fields": {"task_configuration": null}}));
    }

    #[test]
    fn the_worker_refuses_unknown_dynamic_keys() {
        assert!(Noop.prepare(&json!({}), Some(&json!({"subject": null}))).is_ok());
        assert!(Noop.prepare(&json!({}), None).is_ok());
        assert!(Noop.prepare(&json!({}), Some(&json!({"environment_id": 3}))).is_err());
    }

    #[test]
    fn the_example_of_the_guide_is_a_task() {
        use crate::test_support::{artifact, server};
        use usine_model::artifact::ArtifactCategory::SourcePackage;

        let code = format!("```rust\n{}```\n", include_str!("noop/example.rs"));
        assert!(
            include_str!("../../../CONTRIBUTING.md").contains(&code),
            "the example in CONTRIBUTING.md is not crates/usine-tasks/src/noop/example.rs: copy it"
        );
        let data = json!({"source_artifact": 12});
        let source = artifact(12, SourcePackage, json!({"name": "hello", "version": "2.10-3"}));
        let resolved = Resolved::new().with("source_artifact", vec![source]);
        let dynamic = example::Unpack.dynamic_data(&data, &resolved, &server()).unwrap();
        assert_eq!(dynamic["parameter_summary"], "hello_2.10-3");
        assert!(example::Unpack.prepare(&data, Some(&Value::Object(dynamic))).is_ok());
        assert!(example::Unpack.check(&json!({})).is_err());
    }
}
