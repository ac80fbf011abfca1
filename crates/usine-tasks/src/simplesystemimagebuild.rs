//! `simplesystemimagebuild`: makes a `debian:system-image` that boots with EFI, with debefivm-create(1).

mod command;
mod data;
mod overlay;
mod run;

use usine_model::tags::Tags;

use crate::run::Run;
use crate::task::{Resolved, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{Description, NoDynamicData, WorkerTask};
use data::ImageData;

/// The task.
pub(crate) struct SimpleSystemImageBuild;

/// The program that makes images, of the package debvm.
pub(crate) const PROGRAM: &str = "debefivm-create";

impl WorkerTask for SimpleSystemImageBuild {
    const NAME: &'static str = "simplesystemimagebuild";
    const HAS_BUILD_ARCHITECTURE: bool = false;

    type Data = ImageData;
    type Dynamic = NoDynamicData;

    fn check(data: &ImageData, error: &mut TaskDataError) {
        data.check(error);
    }

    /// Workers of the reference do not say whether they have [`PROGRAM`]: it cannot be asked for.
    fn further_tags(data: &ImageData) -> Tags {
        data.bootstrap().tags()
    }

    fn describe(data: &ImageData, _: &Resolved, _: &ServerFacts) -> Result<Description<NoDynamicData>, TaskDataError> {
        data.bootstrap().describe()
    }

    fn start(data: ImageData, _: NoDynamicData) -> Box<dyn Run> {
        Box::new(run::ImageRun::new(data))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::Task;
    use crate::test_support::{required_tags, server};

    #[test]
    fn requirements_and_dynamic_data() {
        let data = json!({
            "bootstrap_options": {"architecture": "arm64", "variant": "buildd", "extra_packages": ["b", "a"]},
            "bootstrap_repositories": [{"mirror": "https://d.example/debian", "suite": "trixie"}],
            "disk_image": {"format": "qcow2", "partitions": [{"size": 4, "filesystem": "ext4"}]},
        });
        assert_eq!(
            required_tags(&SimpleSystemImageBuild, &data),
            [
                "worker:build-arch:arm64",
                "worker:cap:mmdebstrap",
                "worker:task:worker:simplesystemimagebuild:version:1",
                "worker:type:external",
            ]
        );
        let dynamic = SimpleSystemImageBuild.dynamic_data(&data, &Resolved::new(), &server()).unwrap();
        assert_eq!(
            Value::Object(dynamic.clone()),
            json!({
                "subject": "trixie", "parameter_summary": "trixie (arm64-buildd)", "runtime_context": "arm64:buildd:a,b",
                "configuration_context": "arm64", "task_input_fields": {"task_configuration": null},
            })
        );
        assert!(SimpleSystemImageBuild.prepare(&data, Some(&Value::Object(dynamic))).is_ok());
    }
}
