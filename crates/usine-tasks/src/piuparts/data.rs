//! Task data of piuparts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usine_model::lookup::LookupSingle;

use crate::executor::InstanceBackend;
use crate::extra_repositories::{ExternalRepository, ExtraRepository};
use crate::task_data::{Multiple, SingleSchema, default_task_configuration};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PiupartsData {
    pub input: PiupartsInput,
    pub build_architecture: String,
    /// Where piuparts itself runs: trixie or newer.
    #[schemars(with = "SingleSchema")]
    pub environment: LookupSingle,
    /// The tarball of the system where it installs the packages.
    #[schemars(with = "SingleSchema")]
    pub base_tgz: LookupSingle,
    #[serde(default)]
    pub backend: InstanceBackend,
    #[serde(default)]
    pub extra_repositories: Option<Vec<ExtraRepository>>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PiupartsInput {
    /// What to test.
    pub binary_artifacts: Multiple,
}

/// Dynamic data as the worker accepts them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PiupartsDynamicData {
    pub environment_id: i64,
    pub base_tgz_id: i64,
    pub input_binary_artifacts_ids: Vec<i64>,
    #[serde(default)]
    pub extra_repositories: Option<Vec<ExternalRepository>>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::piuparts::Piuparts;
    use crate::task_data::TaskDataError;
    use crate::worker_task::read;

    fn changed(change: impl FnOnce(&mut Value)) -> Result<PiupartsData, TaskDataError> {
        let mut data = json!({
            "input": {"binary_artifacts": [20]}, "build_architecture": "amd64", "environment": 3, "base_tgz": 4,
        });
        change(&mut data);
        read::<Piuparts>(&data)
    }

    fn fault(change: impl FnOnce(&mut Value)) -> String {
        changed(change).unwrap_err().to_string()
    }

    #[test]
    fn minimal_data_have_defaults() {
        let data = changed(|_| {}).unwrap();
        assert_eq!(data.backend, InstanceBackend::Auto);
        assert_eq!((data.extra_repositories, data.task_configuration), (None, default_task_configuration()));
    }

    #[test]
    fn what_is_accepted() {
        let repository = json!({"url": "https://d.example/debian", "suite": "sid", "components": ["main"]});
        for change in [
            json!({"backend": "incus-vm"}),
            json!({"backend": "unshare", "task_configuration": null}),
            json!({"extra_repositories": null}),
            json!({"extra_repositories": [repository]}),
            json!({"input": {"binary_artifacts": {"collection": "x", "category": "debian:binary-package"}}}),
            json!({"base_tgz": "debian/match:codename=bookworm"}),
        ] {
            let extended = changed(|data| data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone()));
            assert!(extended.is_ok(), "{change}: {extended:?}");
        }
        let old = changed(|data| {
            data.as_object_mut().unwrap().remove("build_architecture");
            data["host_architecture"] = json!("i386");
        });
        assert_eq!(old.unwrap().build_architecture, "i386");
    }

    #[test]
    fn required_and_unknown_keys() {
        for key in ["input", "build_architecture", "environment", "base_tgz"] {
            let text = fault(|data| {
                data.as_object_mut().unwrap().remove(key);
            });
            assert_eq!(text, format!("1 validation error: {key}: Field required"));
        }
        let required = "1 validation error: input.binary_artifacts: Field required";
        assert_eq!(fault(|data| data["input"] = json!({})), required);
        assert!(fault(|data| data["x"] = json!(1)).contains(": x: Extra inputs are not permitted"));
        assert!(fault(|data| data["input"]["x"] = json!(1)).contains("input.x: Extra inputs are not permitted"));
        let repositories = json!([{"suite": "x", "y": 1}]);
        assert!(fault(|data| data["extra_repositories"] = repositories).contains("extra_repositories[0].y"));
    }

    #[test]
    fn bad_values() {
        let backends = "backend: Input should be 'auto', 'unshare', 'incus-lxc' or 'incus-vm'";
        assert!(fault(|data| data["backend"] = json!("qemu")).contains(backends));
        for key in ["environment", "base_tgz"] {
            let text = fault(|data| data[key] = json!(null));
            assert!(text.contains(&format!("{key}: Input should be a valid integer or string")), "{text}");
        }
        assert!(fault(|data| data["build_architecture"] = json!(1)).contains("Input should be a valid string"));
        for lookup in [json!(20), json!("20@artifacts"), json!(null)] {
            let text = fault(|data| data["input"]["binary_artifacts"] = lookup);
            assert!(text.contains("Lookup of multiple collection items must be a dictionary or a list"), "{text}");
        }
        let flat = json!([{"url": "https://d.example/", "suite": "./", "components": ["main"]}]);
        assert!(fault(|data| data["extra_repositories"] = flat).contains("flat repository"));
    }
}
