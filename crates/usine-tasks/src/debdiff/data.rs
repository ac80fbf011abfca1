//! Task data of debdiff.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use usine_model::lookup::LookupSingle;

use super::sides::Sides;
use crate::executor::InstanceBackend;
use crate::task_data::{Multiple, SingleSchema, TaskDataError, default_task_configuration};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DebdiffData {
    pub input: DebdiffInput,
    pub build_architecture: String,
    /// Where debdiff runs.
    #[schemars(with = "SingleSchema")]
    pub environment: LookupSingle,
    #[serde(default)]
    pub backend: InstanceBackend,
    #[serde(default)]
    pub extra_flags: Vec<Flag>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

/// Old and new: sources, or else binaries.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DebdiffInput {
    #[serde(default, deserialize_with = "sides")]
    #[schemars(with = "Option<Sides<SingleSchema>>")]
    pub source_artifacts: Option<Sides<LookupSingle>>,
    #[serde(default, deserialize_with = "sides")]
    pub binary_artifacts: Option<Sides<Multiple>>,
}

/// An option of debdiff(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub(crate) enum Flag {
    #[serde(rename = "--dirs")]
    #[strum(serialize = "--dirs")]
    Dirs,
    #[serde(rename = "--nocontrol")]
    #[strum(serialize = "--nocontrol")]
    NoControl,
    #[serde(rename = "--wdiff-source-control")]
    #[strum(serialize = "--wdiff-source-control")]
    WdiffSourceControl,
    #[serde(rename = "--show-moved")]
    #[strum(serialize = "--show-moved")]
    ShowMoved,
    #[serde(rename = "--diffstat")]
    #[strum(serialize = "--diffstat")]
    Diffstat,
    #[serde(rename = "--apply-patches")]
    #[strum(serialize = "--apply-patches")]
    ApplyPatches,
    #[serde(rename = "--ignore-space")]
    #[strum(serialize = "--ignore-space")]
    IgnoreSpace,
}

/// Dynamic data as the worker accepts them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DebdiffDynamicData {
    pub environment_id: i64,
    #[serde(default)]
    pub input_source_artifacts_ids: Option<Sides<i64>>,
    #[serde(default)]
    pub input_binary_artifacts_ids: Option<Sides<Vec<i64>>>,
}

/// A list of exactly two, or null.
fn sides<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Sides<T>>, D::Error> {
    let Some(list) = Option::<Vec<T>>::deserialize(deserializer)? else { return Ok(None) };
    let two = list.try_into().map_err(|list: Vec<T>| {
        D::Error::custom(format_args!("List should have exactly 2 items, the old and the new, not {}", list.len()))
    });
    two.map(Some)
}

impl DebdiffData {
    /// Adds to `error` the rules between fields that are broken.
    pub fn check(&self, error: &mut TaskDataError) {
        if self.input.source_artifacts.is_some() == self.input.binary_artifacts.is_some() {
            error.add("input", "Value error, Exactly one of source_artifacts or binary_artifacts must be set");
        }
    }

    /// What is compared, for people.
    pub fn compared(&self) -> &str {
        if self.input.source_artifacts.is_some() { "source" } else { &self.build_architecture }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::debdiff::Debdiff;
    use crate::task::Task;
    use crate::test_support::fault;
    use crate::worker_task::read;

    fn minimal() -> Value {
        json!({"input": {"source_artifacts": [12, "13@artifacts"]}, "build_architecture": "amd64", "environment": 3})
    }

    #[test]
    fn good_data() {
        let data = read::<Debdiff>(&minimal()).unwrap();
        assert_eq!((data.backend, data.compared()), (InstanceBackend::Auto, "source"));
        assert!(data.extra_flags.is_empty());
        assert_eq!(data.task_configuration, default_task_configuration());
        let everything = json!({
            "input": {"source_artifacts": null, "binary_artifacts": [[20, "21@artifacts"], {"collection": "sid"}]},
            "host_architecture": "arm64", "environment": "debian/match:codename=sid", "backend": "incus-lxc",
            "extra_flags": ["--dirs", "--nocontrol", "--wdiff-source-control", "--show-moved", "--diffstat",
                "--apply-patches", "--ignore-space"],
            "task_configuration": null,
        });
        let data = read::<Debdiff>(&everything).unwrap();
        assert_eq!(data.compared(), "arm64");
        let flags: Vec<&str> = data.extra_flags.iter().map(<&str>::from).collect();
        assert_eq!(json!(flags), everything["extra_flags"]);
        // Whether there is something to compare shows when the lookups are resolved.
        assert!(
            read::<Debdiff>(&json!({"input": {"binary_artifacts": [[], []]}, "build_architecture": "amd64",
            "environment": 3}))
            .is_ok()
        );
    }

    #[test]
    fn one_kind_of_input() {
        for input in [
            json!({}),
            json!({"source_artifacts": null, "binary_artifacts": null}),
            json!({"source_artifacts": [1, 2], "binary_artifacts": [[3], [4]]}),
        ] {
            let text = fault(&Debdiff, &minimal(), &json!({"input": input}));
            let expected = "input: Value error, Exactly one of source_artifacts or binary_artifacts must be set";
            assert_eq!(text, format!("1 validation error: {expected}"));
        }
    }

    #[test]
    fn bad_values_are_named() {
        for key in ["input", "build_architecture", "environment"] {
            let mut without = minimal();
            without.as_object_mut().unwrap().remove(key);
            let text = Debdiff.check(&without).unwrap_err().to_string();
            assert_eq!(text, format!("1 validation error: {key}: Field required"));
        }
        let number = |field: &str, count: usize| {
            format!("input.{field}: Value error, List should have exactly 2 items, the old and the new, not {count}")
        };
        let lookup = "Lookup of multiple collection items must be a dictionary or a list";
        for (bad, expected) in [
            (json!({"input": {"source_artifacts": [1]}}), number("source_artifacts", 1)),
            (json!({"input": {"source_artifacts": [1, 2, 3]}}), number("source_artifacts", 3)),
            (json!({"input": {"binary_artifacts": []}}), number("binary_artifacts", 0)),
            (json!({"input": {"source_artifacts": 1}}), "input.source_artifacts: Input should be a valid list".into()),
            (
                json!({"input": {"source_artifacts": [1, [2]]}}),
                "input.source_artifacts[1]: Input should be a valid integer or string".into(),
            ),
            (
                json!({"input": {"binary_artifacts": [[1], 2]}}),
                format!("input.binary_artifacts[1]: Value error, {lookup}"),
            ),
            (json!({"input": {"x": 1}}), "input.x: Extra inputs are not permitted".into()),
            (json!({"build_architecture": null}), "build_architecture: Input should be a valid string".into()),
            (json!({"environment": null}), "environment: Input should be a valid integer or string".into()),
            (
                json!({"backend": "qemu"}),
                "backend: Input should be 'auto', 'unshare', 'incus-lxc' or 'incus-vm'".into(),
            ),
            (json!({"extra_flags": ["--exclude"]}), "extra_flags[0]: Input should be '--dirs', ".into()),
            (json!({"extra_flags": "--dirs"}), "extra_flags: Input should be a valid list".into()),
            (json!({"surprise": 1}), "surprise: Extra inputs are not permitted".into()),
        ] {
            let text = fault(&Debdiff, &minimal(), &bad);
            assert!(text.contains(&expected), "{bad}: {text}");
        }
    }

    #[test]
    fn the_schema_wants_two() {
        let schema = Debdiff.schema();
        let text = schema.to_string();
        assert_eq!(text.matches("\"minItems\":2").count(), 2, "{schema:#}");
        assert_eq!(text.matches("\"maxItems\":2").count(), 2, "{schema:#}");
    }
}
