//! Task data of autopkgtest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;
use usine_model::lookup::LookupSingle;

use crate::Backend;
use crate::extra_repositories::{self, ExternalRepository, ExtraRepository};
use crate::task_data::{
    Multiple, SingleSchema, TaskDataError, boolean, default_task_configuration, natural, optional_natural,
};

/// `-ddd` is the most that autopkgtest knows.
const MAX_DEBUG_LEVEL: u64 = 3;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutopkgtestData {
    pub input: AutopkgtestInput,
    pub build_architecture: String,
    /// Where to test.
    #[schemars(with = "SingleSchema")]
    pub environment: LookupSingle,
    #[serde(default)]
    pub backend: Backend,
    /// Run only these; all without.
    #[serde(default)]
    pub include_tests: Vec<String>,
    #[serde(default)]
    pub exclude_tests: Vec<String>,
    /// How much autopkgtest tells of itself.
    #[serde(default, deserialize_with = "natural")]
    #[schemars(range(max = 3))]
    pub debug_level: u64,
    #[serde(default)]
    pub extra_repositories: Option<Vec<ExtraRepository>>,
    /// Prefer packages of the environment's release to those of the extra repositories.
    #[serde(default, deserialize_with = "boolean")]
    pub use_packages_from_base_repository: bool,
    /// Packages to take from a release, by release.
    #[serde(default)]
    pub pin_packages: BTreeMap<String, Vec<String>>,
    /// Variables for the tests.
    #[serde(default)]
    pub extra_environment: BTreeMap<String, String>,
    #[serde(default)]
    pub needs_internet: NeedsInternet,
    #[serde(default)]
    pub fail_on: FailOn,
    #[serde(default)]
    pub timeout: Option<Timeout>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutopkgtestInput {
    /// The source package whose tests are run.
    #[schemars(with = "SingleSchema")]
    pub source_artifact: LookupSingle,
    /// The binary packages that are tested.
    pub binary_artifacts: Multiple,
    /// Other packages to test with.
    #[serde(default = "Multiple::none")]
    pub context_artifacts: Multiple,
}

/// What to do with tests that have the restriction `needs-internet`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum NeedsInternet {
    /// Like other tests.
    #[default]
    Run,
    /// Run them, and take failures for those of flaky tests.
    Try,
    /// Do not run them.
    Skip,
}

/// Which results of single tests make a failure of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FailOn {
    #[serde(deserialize_with = "boolean")]
    pub failed_test: bool,
    #[serde(deserialize_with = "boolean")]
    pub flaky_test: bool,
    #[serde(deserialize_with = "boolean")]
    pub skipped_test: bool,
}

impl Default for FailOn {
    fn default() -> Self {
        Self { failed_test: true, flaky_test: false, skipped_test: false }
    }
}

/// Limits in seconds, each autopkgtest's own `--timeout-KEY`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Timeout {
    /// For the whole run.
    #[serde(deserialize_with = "optional_natural")]
    pub global: Option<u64>,
    /// Not seconds: what the defaults of the others are multiplied by.
    #[serde(deserialize_with = "optional_natural")]
    pub factor: Option<u64>,
    /// For short commands, such as the set-up of the test bed.
    #[serde(deserialize_with = "optional_natural")]
    pub short: Option<u64>,
    /// For the installation of packages.
    #[serde(deserialize_with = "optional_natural")]
    pub install: Option<u64>,
    /// For each test.
    #[serde(deserialize_with = "optional_natural")]
    pub test: Option<u64>,
    /// For files into and out of the test bed.
    #[serde(deserialize_with = "optional_natural")]
    pub copy: Option<u64>,
    /// For builds of the source package.
    #[serde(deserialize_with = "optional_natural")]
    pub build: Option<u64>,
}

/// Dynamic data as the worker accepts them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutopkgtestDynamicData {
    pub environment_id: i64,
    pub input_source_artifact_id: i64,
    #[serde(default)]
    pub input_binary_artifacts_ids: Vec<i64>,
    #[serde(default)]
    pub input_context_artifacts_ids: Vec<i64>,
    #[serde(default)]
    pub extra_repositories: Option<Vec<ExternalRepository>>,
}

impl AutopkgtestData {
    /// Adds to `error` the rules that the types do not know.
    pub fn check(&self, error: &mut TaskDataError) {
        if self.debug_level > MAX_DEBUG_LEVEL {
            error.add("debug_level", format!("Input should be less than or equal to {MAX_DEBUG_LEVEL}"));
        }
        extra_repositories::check(self.extra_repositories.as_deref(), error);
    }

    /// The limit of the whole run in seconds, if there is one.
    pub fn global_timeout(&self) -> Option<u64> {
        self.timeout.and_then(|timeout| timeout.global)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::autopkgtest::Autopkgtest;
    use crate::worker_task::read;

    fn minimal() -> Value {
        json!({"input": {"source_artifact": 12, "binary_artifacts": []}, "build_architecture": "amd64", "environment": 3})
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Result<AutopkgtestData, TaskDataError> {
        let mut data = minimal();
        change(&mut data);
        read::<Autopkgtest>(&data)
    }

    fn with(key: &str, value: Value) -> Result<AutopkgtestData, TaskDataError> {
        changed(|data| data[key] = value)
    }

    /// The only fault with a value for a key of the data, or of their `input`.
    fn fault(key: &str, value: Value) -> String {
        let error = with(key, value).unwrap_err().to_string();
        error.strip_prefix("1 validation error: ").unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    #[test]
    fn minimal_data_have_defaults() {
        let data = changed(|_| {}).unwrap();
        assert!(data.input.binary_artifacts.is_empty() && data.input.context_artifacts.is_empty());
        assert_eq!(data.backend, Backend::Auto);
        assert!(data.include_tests.is_empty() && data.exclude_tests.is_empty());
        assert_eq!(data.debug_level, 0);
        assert_eq!(data.extra_repositories, None);
        assert!(!data.use_packages_from_base_repository);
        assert!(data.pin_packages.is_empty() && data.extra_environment.is_empty());
        assert_eq!(data.needs_internet, NeedsInternet::Run);
        assert_eq!(data.fail_on, FailOn { failed_test: true, flaky_test: false, skipped_test: false });
        assert_eq!(data.timeout, None);
        assert_eq!(data.task_configuration, default_task_configuration());
    }

    #[test]
    fn all_there_is() {
        let data = read::<Autopkgtest>(&json!({
            "input": {"source_artifact": "12@artifacts", "binary_artifacts": {"collection": "x"}, "context_artifacts": [1, "2@artifacts"]},
            "host_architecture": "arm64", "environment": "debian/match:codename=sid", "backend": "qemu",
            "include_tests": ["a"], "exclude_tests": ["b"], "debug_level": "3", "use_packages_from_base_repository": "yes",
            "extra_repositories": [{"url": "https://deb.example.org/", "suite": "sid", "components": ["main"]}],
            "pin_packages": {"sid": ["a", "src:b"]}, "extra_environment": {"A": "b c"}, "needs_internet": "try",
            "fail_on": {"flaky_test": 1}, "task_configuration": null,
            "timeout": {"global": 1, "factor": "2", "short": 0, "install": 4, "test": null, "copy": 6, "build": 7},
        }))
        .unwrap();
        assert_eq!((data.build_architecture.as_str(), data.debug_level), ("arm64", 3));
        assert_eq!(data.fail_on, FailOn { failed_test: true, flaky_test: true, skipped_test: false });
        assert_eq!(
            data.timeout,
            Some(Timeout {
                global: Some(1),
                factor: Some(2),
                short: Some(0),
                install: Some(4),
                test: None,
                copy: Some(6),
                build: Some(7)
            })
        );
        assert_eq!(data.global_timeout(), Some(1));
        for key in ["extra_repositories", "timeout", "task_configuration"] {
            assert!(with(key, json!(null)).is_ok(), "{key}");
        }
    }

    #[test]
    fn required_keys() {
        for key in ["input", "build_architecture", "environment"] {
            let error = changed(|data| drop(data.as_object_mut().unwrap().remove(key))).unwrap_err();
            assert_eq!(error.to_string(), format!("1 validation error: {key}: Field required"));
        }
        assert_eq!(fault("input", json!({"source_artifact": 1})), "input.binary_artifacts: Field required");
        assert_eq!(fault("input", json!({"binary_artifacts": []})), "input.source_artifact: Field required");
    }

    #[test]
    fn unknown_keys_at_each_level() {
        let unknown = "Extra inputs are not permitted";
        let input = json!({"source_artifact": 1, "binary_artifacts": [], "x": 1});
        for (key, value, path) in [
            ("x", json!(1), "x"),
            ("input", input, "input.x"),
            ("fail_on", json!({"x": true}), "fail_on.x"),
            ("timeout", json!({"x": 1}), "timeout.x"),
            ("extra_repositories", json!([{"suite": "x", "y": 1}]), "extra_repositories[0].y"),
        ] {
            assert_eq!(fault(key, value), format!("{path}: {unknown}"));
        }
    }

    #[test]
    fn values_of_the_wrong_type() {
        let number = "Input should be a valid integer";
        let negative = "Input should be greater than or equal to 0";
        for (key, value, expected) in [
            ("build_architecture", json!(64), "build_architecture: Input should be a valid string"),
            ("environment", json!(null), "environment: Input should be a valid integer or string"),
            ("include_tests", json!([1]), "include_tests[0]: Input should be a valid string"),
            ("exclude_tests", json!([null]), "exclude_tests[0]: Input should be a valid string"),
            ("debug_level", json!("much"), &format!("debug_level: {number}")),
            ("debug_level", json!(1.5), &format!("debug_level: {number}")),
            ("debug_level", json!(-1), &format!("debug_level: {negative}")),
            (
                "use_packages_from_base_repository",
                json!(2),
                "use_packages_from_base_repository: Input should be a valid boolean",
            ),
            ("pin_packages", json!({"sid": [1]}), "pin_packages.sid[0]: Input should be a valid string"),
            ("pin_packages", json!(["sid"]), "pin_packages: Input should be a valid dictionary"),
            ("extra_environment", json!({"A": 1}), "extra_environment.A: Input should be a valid string"),
            ("fail_on", json!({"failed_test": "maybe"}), "fail_on.failed_test: Input should be a valid boolean"),
            ("fail_on", json!({"flaky_test": null}), "fail_on.flaky_test: Input should be a valid boolean"),
            ("fail_on", json!({"skipped_test": []}), "fail_on.skipped_test: Input should be a valid boolean"),
            ("timeout", json!({"global": -1}), &format!("timeout.global: {negative}")),
            ("timeout", json!({"factor": "-1"}), &format!("timeout.factor: {number}")),
            ("timeout", json!({"short": "x"}), &format!("timeout.short: {number}")),
            ("timeout", json!({"install": true}), &format!("timeout.install: {number}")),
            ("timeout", json!({"test": []}), &format!("timeout.test: {number}")),
            ("timeout", json!({"copy": 0.5}), &format!("timeout.copy: {number}")),
            ("timeout", json!({"build": -2}), &format!("timeout.build: {negative}")),
        ] {
            assert_eq!(fault(key, value), expected);
        }
    }

    #[test]
    fn values_outside_of_an_enumeration_or_range() {
        assert!(fault("backend", json!("xen")).starts_with("backend: Input should be 'auto', 'unshare'"));
        assert_eq!(fault("needs_internet", json!("never")), "needs_internet: Input should be 'run', 'try' or 'skip'");
        assert_eq!(fault("debug_level", json!(4)), "debug_level: Input should be less than or equal to 3");
        let flat = json!([{"url": "https://deb.example.org/", "suite": "sid"}]);
        assert_eq!(
            fault("extra_repositories", flat),
            "extra_repositories[0]: Value error, Components must be specified"
        );
    }

    #[test]
    fn lookups_of_several() {
        for key in ["binary_artifacts", "context_artifacts"] {
            let error = changed(|data| data["input"][key] = json!("x")).unwrap_err();
            let message = &error.errors[&format!("input.{key}")][0];
            assert!(
                message.contains("Lookup of multiple collection items must be a dictionary or a list"),
                "{message}"
            );
        }
    }
}
