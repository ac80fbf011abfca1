//! Task data of lintian.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::artifact::LintianSeverity;
use usine_model::lookup::LookupSingle;

use crate::executor::InstanceBackend;
use crate::task_data::{Multiple, SingleSchema, TaskDataError, boolean, default_task_configuration};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LintianData {
    pub input: LintianInput,
    /// Where lintian runs. Clients may leave it out, as the reference lets them; the run then fails and says so.
    #[serde(default)]
    #[schemars(with = "Option<SingleSchema>")]
    pub environment: Option<LookupSingle>,
    #[serde(default)]
    pub backend: InstanceBackend,
    #[serde(default)]
    pub build_architecture: Option<String>,
    #[serde(default)]
    pub output: Output,
    /// What the packages are meant for; only noted in the report.
    #[serde(default = "debian_unstable")]
    pub target_distribution: String,
    /// The only tags to look for; all, if empty.
    #[serde(default)]
    pub include_tags: Vec<String>,
    /// Tags not to look for; lintian(1) ignores them beside `include_tags`.
    #[serde(default)]
    pub exclude_tags: Vec<String>,
    #[serde(default)]
    pub fail_on_severity: FailOn,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LintianInput {
    #[serde(default)]
    #[schemars(with = "Option<SingleSchema>")]
    pub source_artifact: Option<LookupSingle>,
    #[serde(default = "Multiple::none")]
    pub binary_artifacts: Multiple,
}

/// Which packages are reported, and count for the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Output {
    #[serde(deserialize_with = "boolean")]
    source_analysis: bool,
    /// Architecture-independent ones.
    #[serde(deserialize_with = "boolean")]
    binary_all_analysis: bool,
    /// Architecture-dependent ones.
    #[serde(deserialize_with = "boolean")]
    binary_any_analysis: bool,
}

/// The least severity that makes a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailOn {
    #[default]
    Error,
    Warning,
    Info,
    Pedantic,
    Experimental,
    Overridden,
    /// Nothing makes a failure.
    None,
}

/// Dynamic data as the worker accepts them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LintianDynamicData {
    #[serde(default)]
    pub environment_id: Option<i64>,
    #[serde(default)]
    pub input_source_artifact_id: Option<i64>,
    #[serde(default)]
    pub input_binary_artifacts_ids: Vec<i64>,
}

fn debian_unstable() -> String {
    "debian:unstable".to_owned()
}

impl LintianData {
    /// Adds to `error` the rules between fields that are broken.
    pub fn check(&self, error: &mut TaskDataError) {
        if self.input.source_artifact.is_none() && self.input.binary_artifacts.is_empty() {
            error.add("input", "Value error, One of source_artifact or binary_artifacts must be set");
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self { source_analysis: true, binary_all_analysis: true, binary_any_analysis: true }
    }
}

impl Output {
    /// Whether packages of an architecture, or source packages (`source`), are reported.
    pub fn wants(self, architecture: &str) -> bool {
        match architecture {
            "source" => self.source_analysis,
            "all" => self.binary_all_analysis,
            _ => self.binary_any_analysis,
        }
    }

    /// What is reported, sorted.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            ("binary-all", self.binary_all_analysis),
            ("binary-any", self.binary_any_analysis),
            ("source", self.source_analysis),
        ];
        all.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }
}

impl FailOn {
    /// The least severity, if any, that makes a failure.
    pub fn severity(self) -> Option<LintianSeverity> {
        match self {
            Self::Error => Some(LintianSeverity::Error),
            Self::Warning => Some(LintianSeverity::Warning),
            Self::Info => Some(LintianSeverity::Info),
            Self::Pedantic => Some(LintianSeverity::Pedantic),
            Self::Experimental => Some(LintianSeverity::Experimental),
            Self::Overridden => Some(LintianSeverity::Overridden),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lintian::Lintian;
    use crate::test_support::fault;
    use crate::worker_task::read;

    fn minimal() -> Value {
        json!({"input": {"source_artifact": 12}})
    }

    fn good(data: &Value) -> LintianData {
        read::<Lintian>(data).unwrap_or_else(|error| panic!("{data}: {error}"))
    }

    #[test]
    fn minimal_data_have_defaults() {
        let data = good(&minimal());
        assert_eq!(data.environment, None);
        assert_eq!(data.build_architecture, None);
        assert_eq!(data.backend, InstanceBackend::Auto);
        assert_eq!(data.output, Output::default());
        assert_eq!(data.target_distribution, "debian:unstable");
        assert_eq!(data.fail_on_severity, FailOn::Error);
        assert_eq!(data.task_configuration, default_task_configuration());
        assert!(data.include_tags.is_empty() && data.exclude_tags.is_empty());
    }

    #[test]
    fn everything_that_may_be_said() {
        let data = good(&json!({
            "input": {"source_artifact": "12@artifacts", "binary_artifacts": {"collection": "sid", "name": "hello"}},
            "environment": "debian/match:codename=sid", "backend": "incus-vm", "host_architecture": "arm64",
            "output": {"source_analysis": "no", "binary_all_analysis": 0, "binary_any_analysis": true},
            "target_distribution": "kali:rolling", "include_tags": ["a"], "exclude_tags": ["b", "c"],
            "fail_on_severity": "none", "task_configuration": null,
        }));
        assert_eq!(data.build_architecture.as_deref(), Some("arm64"));
        assert_eq!(data.output.names(), ["binary-any"]);
        assert_eq!(data.fail_on_severity.severity(), None);
        for nulls in [
            json!({"input": {"source_artifact": null, "binary_artifacts": [20]}, "environment": null,
                "build_architecture": null}),
            json!({"input": {"binary_artifacts": [20, "21@artifacts"]}, "output": {}}),
        ] {
            assert_eq!(good(&nulls).output, Output::default());
        }
        for severity in ["error", "warning", "info", "pedantic", "experimental", "overridden"] {
            let read = good(&json!({"input": {"source_artifact": 1}, "fail_on_severity": severity}));
            assert_eq!(json!(read.fail_on_severity.severity()), severity);
        }
    }

    #[test]
    fn one_input_is_needed() {
        for input in [json!({}), json!({"source_artifact": null}), json!({"binary_artifacts": []})] {
            let text = fault(&Lintian, &minimal(), &json!({"input": input}));
            let expected = "input: Value error, One of source_artifact or binary_artifacts must be set";
            assert_eq!(text, format!("1 validation error: {expected}"));
        }
    }

    #[test]
    fn bad_values_are_named() {
        assert_eq!(read::<Lintian>(&json!({})).unwrap_err().to_string(), "1 validation error: input: Field required");
        let lookup = "Lookup of multiple collection items must be a dictionary or a list";
        for (bad, expected) in [
            (json!({"input": null}), "input: Input should be a valid dictionary"),
            (
                json!({"input": {"source_artifact": [1]}}),
                "input.source_artifact: Input should be a valid integer or string",
            ),
            (json!({"input": {"source_artifact": 1, "x": 2}}), "input.x: Extra inputs are not permitted"),
            (json!({"input": {"source_artifact": 1, "binary_artifacts": null}}), lookup),
            (json!({"input": {"source_artifact": 1, "binary_artifacts": 20}}), lookup),
            (json!({"environment": []}), "environment: Input should be a valid integer or string"),
            (json!({"backend": "qemu"}), "backend: Input should be 'auto', 'unshare', 'incus-lxc' or 'incus-vm'"),
            (json!({"build_architecture": 64}), "build_architecture: Input should be a valid string"),
            (json!({"output": null}), "output: Input should be a valid dictionary"),
            (
                json!({"output": {"source_analysis": "perhaps"}}),
                "output.source_analysis: Input should be a valid boolean",
            ),
            (json!({"output": {"udeb_analysis": true}}), "output.udeb_analysis: Extra inputs are not permitted"),
            (json!({"target_distribution": null}), "target_distribution: Input should be a valid string"),
            (json!({"include_tags": "a"}), "include_tags: Input should be a valid list"),
            (json!({"exclude_tags": [3]}), "exclude_tags[0]: Input should be a valid string"),
            (
                json!({"fail_on_severity": "classification"}),
                "fail_on_severity: Input should be 'error', 'warning', 'info', 'pedantic', 'experimental', 'overridden' or 'none'",
            ),
            (json!({"task_configuration": {}}), "task_configuration: Input should be a valid integer or string"),
            (json!({"surprise": 1}), "surprise: Extra inputs are not permitted"),
        ] {
            let text = fault(&Lintian, &minimal(), &bad);
            assert!(text.contains(expected), "{bad}: {text}");
        }
    }

    #[test]
    fn switches_by_architecture() {
        let data = good(&json!({"input": {"source_artifact": 1}, "output": {"binary_any_analysis": false}}));
        let wanted: Vec<_> =
            ["source", "all", "amd64", "any"].into_iter().filter(|name| data.output.wants(name)).collect();
        assert_eq!(wanted, ["source", "all"]);
        assert_eq!(data.output.names(), ["binary-all", "source"]);
    }
}
