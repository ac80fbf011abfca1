//! Task data of sbuild.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;
use usine_model::lookup::LookupSingle;

use crate::Backend;
use crate::extra_repositories::{self, ExternalRepository, ExtraRepository};
use crate::task_data::{Multiple, SingleSchema, TaskDataError, boolean, default_task_configuration, optional_time};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SbuildData {
    pub input: SbuildInput,
    pub build_architecture: String,
    /// Where to build.
    #[schemars(with = "SingleSchema")]
    pub environment: LookupSingle,
    #[serde(default)]
    pub backend: Backend,
    #[serde(default = "only_any")]
    pub build_components: Vec<BuildComponent>,
    #[serde(default)]
    pub build_profiles: Option<Vec<String>>,
    #[serde(default)]
    pub binnmu: Option<BinNmu>,
    #[serde(default)]
    pub build_dep_resolver: Option<Resolver>,
    #[serde(default)]
    pub aspcud_criteria: Option<String>,
    /// Whether alternatives of build dependencies count.
    #[serde(default, deserialize_with = "boolean")]
    pub resolve_alternatives: bool,
    #[serde(default)]
    pub extra_repositories: Option<Vec<ExtraRepository>>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SbuildInput {
    /// What to build.
    #[schemars(with = "SingleSchema")]
    pub source_artifact: LookupSingle,
    /// Binary packages that are offered to apt.
    #[serde(default = "Multiple::none")]
    pub extra_binary_artifacts: Multiple,
}

/// Which packages to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum BuildComponent {
    /// Architecture-dependent ones.
    Any,
    /// Architecture-independent ones.
    All,
    /// The source package.
    Source,
}

fn only_any() -> Vec<BuildComponent> {
    vec![BuildComponent::Any]
}

/// A binary-only rebuild, without a change of the source.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BinNmu {
    pub changelog: String,
    /// Of the version, such as `+b1`.
    pub suffix: String,
    #[serde(default, deserialize_with = "optional_time")]
    #[schemars(with = "Option<String>")]
    pub timestamp: Option<DateTime<FixedOffset>>,
    /// `Name <email>`.
    #[serde(default)]
    pub maintainer: Option<String>,
}

/// What resolves build dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Resolver {
    Apt,
    Aptitude,
    Aspcud,
    Xapt,
}

/// Dynamic data as the worker accepts them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SbuildDynamicData {
    pub environment_id: i64,
    pub input_source_artifact_id: i64,
    #[serde(default)]
    pub input_extra_binary_artifacts_ids: Vec<i64>,
    #[serde(default)]
    pub extra_repositories: Option<Vec<ExternalRepository>>,
    #[serde(default)]
    pub binnmu_maintainer: Option<String>,
}

impl SbuildData {
    /// Adds to `error` the rules between fields that are broken.
    pub fn check(&self, error: &mut TaskDataError) {
        if self.binnmu.is_some() && self.has(BuildComponent::All) {
            error.extend(TaskDataError::rule("", "Cannot build architecture-independent packages in a binNMU"));
        }
        let maintainer = self.binnmu.as_ref().and_then(|binnmu| binnmu.maintainer.as_deref());
        if maintainer.is_some_and(|maintainer| !is_name_and_address(maintainer)) {
            error.add("binnmu.maintainer", "Value error, expected 'Name <email address>'");
        }
        extra_repositories::check(self.extra_repositories.as_deref(), error);
    }

    pub fn has(&self, component: BuildComponent) -> bool {
        self.build_components.contains(&component)
    }

    /// What the build is called: `all` or `source` if it makes only that, else the build architecture.
    pub fn host_architecture(&self) -> &str {
        match self.build_components.as_slice() {
            [BuildComponent::All] => "all",
            [BuildComponent::Source] => "source",
            _ => &self.build_architecture,
        }
    }

    /// By what statistics are kept apart; none of builds that leave out a part of the work.
    pub fn runtime_context(&self) -> Option<String> {
        if !self.build_options().is_empty() {
            return None;
        }
        let components: BTreeSet<String> = self.build_components.iter().map(ToString::to_string).collect();
        let components: Vec<String> = components.into_iter().collect();
        Some(format!("{}:{}:{}", components.join("+"), self.build_architecture, self.host_architecture()))
    }

    /// The profiles that are also words of `DEB_BUILD_OPTIONS` (Policy §4.9.1).
    pub fn build_options(&self) -> Vec<&str> {
        let profiles = self.build_profiles.as_deref().unwrap_or_default();
        ["nocheck", "nodoc"].into_iter().filter(|option| profiles.iter().any(|profile| profile == option)).collect()
    }
}

fn is_name_and_address(text: &str) -> bool {
    let Some((_, address)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) else { return false };
    let clean = !text.contains(char::is_control) && !address.contains(['<', '>', ' ']);
    clean && address.split_once('@').is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sbuild::Sbuild;
    use crate::worker_task::read;

    fn minimal() -> Value {
        json!({"input": {"source_artifact": 12}, "build_architecture": "amd64", "environment": 3})
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Result<SbuildData, TaskDataError> {
        let mut data = minimal();
        change(&mut data);
        read::<Sbuild>(&data)
    }

    fn fault(change: impl FnOnce(&mut Value)) -> String {
        changed(change).unwrap_err().to_string()
    }

    #[test]
    fn minimal_data_have_defaults() {
        let data = changed(|_| {}).unwrap();
        assert_eq!(data.build_components, [BuildComponent::Any]);
        assert_eq!(data.host_architecture(), "amd64");
        assert_eq!(data.runtime_context().as_deref(), Some("any:amd64:amd64"));
        assert_eq!(data.task_configuration, default_task_configuration());
        assert!(
            changed(|data| *data = json!({"input": {"source_artifact": "12@artifacts"}, "host_architecture": "amd64",
            "environment": "debian/match:codename=sid", "resolve_alternatives": "yes", "build_profiles": null}))
            .unwrap()
            .resolve_alternatives
        );
    }

    #[test]
    fn required_and_unknown_keys() {
        assert_eq!(
            fault(|data| data["input"] = json!({})),
            "1 validation error: input.source_artifact: Field required"
        );
        for key in ["input", "build_architecture", "environment"] {
            let text = fault(|data| {
                data.as_object_mut().unwrap().remove(key);
            });
            assert_eq!(text, format!("1 validation error: {key}: Field required"));
        }
        assert!(
            fault(|data| data["build_options"] = json!("x")).contains("build_options: Extra inputs are not permitted")
        );
        assert!(fault(|data| data["input"]["x"] = json!(1)).contains("input.x: Extra inputs are not permitted"));
        let binnmu = json!({"changelog": "x", "suffix": "+b1", "x": 1});
        assert!(fault(|data| data["binnmu"] = binnmu).contains("binnmu.x: Extra inputs are not permitted"));
        assert!(fault(|data| data["binnmu"] = json!({"suffix": "+b1"})).contains("binnmu.changelog: Field required"));
        assert!(
            fault(|data| data["extra_repositories"] = json!([{"suite": "x", "y": 1}]))
                .contains("extra_repositories[0].y")
        );
    }

    #[test]
    fn bad_values() {
        assert!(
            fault(|data| data["build_components"] = json!(["any", "some"]))
                .contains("build_components[1]: Input should be 'any', 'all' or 'source'")
        );
        assert!(fault(|data| data["backend"] = json!("xen")).contains("backend: Input should be 'auto', 'unshare'"));
        assert!(
            fault(|data| data["build_dep_resolver"] = json!("x")).contains("'apt', 'aptitude', 'aspcud' or 'xapt'")
        );
        assert!(
            fault(|data| data["environment"] = json!(null))
                .contains("environment: Input should be a valid integer or string")
        );
        assert!(
            fault(|data| data["build_architecture"] = json!(64))
                .contains("build_architecture: Input should be a valid string")
        );
        for lookup in [json!("x"), json!(null), json!(3)] {
            let text = fault(|data| data["input"]["extra_binary_artifacts"] = lookup);
            assert!(text.contains("Lookup of multiple collection items must be a dictionary or a list"), "{text}");
        }
        for maintainer in ["x", "X <x>", "X <a@b> ", "X\nY <a@b>", "X <@b>"] {
            let binnmu = json!({"changelog": "x", "suffix": "+b1", "maintainer": maintainer});
            assert!(fault(|data| data["binnmu"] = binnmu).contains("binnmu.maintainer"), "{maintainer:?}");
        }
    }

    #[test]
    fn a_binnmu_builds_nothing_for_all() {
        let binnmu = json!({"changelog": "x", "suffix": "+b1", "timestamp": "2024-01-02T00:00:00Z"});
        let text = fault(|data| {
            data["binnmu"] = binnmu.clone();
            data["build_components"] = json!(["any", "all"]);
        });
        assert_eq!(text, "1 validation error: Value error, Cannot build architecture-independent packages in a binNMU");
        assert!(changed(|data| data["binnmu"] = binnmu).is_ok());
    }

    #[test]
    fn host_architecture_and_context() {
        let of = |components: Value, profiles: Value| {
            let data = changed(|data| {
                data["build_components"] = components;
                data["build_profiles"] = profiles;
            })
            .unwrap();
            (data.host_architecture().to_owned(), data.runtime_context())
        };
        assert_eq!(of(json!(["all"]), json!(null)), ("all".into(), Some("all:amd64:all".into())));
        assert_eq!(of(json!(["source"]), json!([])), ("source".into(), Some("source:amd64:source".into())));
        assert_eq!(
            of(json!(["source", "any", "all"]), json!(["x"])),
            ("amd64".into(), Some("all+any+source:amd64:amd64".into()))
        );
        assert_eq!(of(json!(["any"]), json!(["nodoc"])), ("amd64".into(), None));
    }
}
