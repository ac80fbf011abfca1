//! `mmdebstrap`: makes a `debian:system-tarball` with mmdebstrap(1).

mod command;
mod data;
mod run;

use usine_model::tags::Tags;

use crate::run::Run;
use crate::task::{Resolved, ServerFacts};
use crate::task_data::TaskDataError;
use crate::worker_task::{Description, NoDynamicData, WorkerTask};
use data::MmdebstrapData;

/// The task.
pub(crate) struct Mmdebstrap;

impl WorkerTask for Mmdebstrap {
    const NAME: &'static str = "mmdebstrap";
    const HAS_BUILD_ARCHITECTURE: bool = false;

    type Data = MmdebstrapData;
    type Dynamic = NoDynamicData;

    fn check(data: &MmdebstrapData, error: &mut TaskDataError) {
        data.bootstrap().check(error);
    }

    fn further_tags(data: &MmdebstrapData) -> Tags {
        data.bootstrap().tags()
    }

    fn describe(
        data: &MmdebstrapData,
        _: &Resolved,
        _: &ServerFacts,
    ) -> Result<Description<NoDynamicData>, TaskDataError> {
        data.bootstrap().describe()
    }

    fn start(data: MmdebstrapData, _: NoDynamicData) -> Box<dyn Run> {
        Box::new(run::MmdebstrapRun::new(data))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::Task;

    #[test]
    fn requirements_and_dynamic_data() {
        let data = json!({
            "bootstrap_options": {"architecture": "arm64", "variant": "minbase", "extra_packages": ["b", "a"]},
            "bootstrap_repositories": [{"mirror": "https://d.example/debian", "suite": "trixie", "components": ["main"]}],
        });
        let tags: Vec<_> = Mmdebstrap.required_tags(&data, "amd64").unwrap().into_iter().collect();
        assert_eq!(
            tags,
            [
                "worker:build-arch:arm64",
                "worker:cap:mmdebstrap",
                "worker:task:worker:mmdebstrap:version:1",
                "worker:type:external"
            ]
        );
        let server = ServerFacts { fqdn: "d.example".into(), fallback_architecture: "amd64".into() };
        let dynamic = |data: &Value| Mmdebstrap.dynamic_data(data, &Resolved::new(), &server).unwrap();
        assert_eq!(
            Value::Object(dynamic(&data)),
            json!({
                "subject": "trixie", "parameter_summary": "trixie (arm64-minbase)", "runtime_context": "arm64:minbase:a,b",
                "configuration_context": "arm64", "task_input_fields": {"task_configuration": null},
            })
        );
        assert!(Mmdebstrap.prepare(&data, Some(&Value::Object(dynamic(&data)))).is_ok());
        let mut plain = data;
        plain["bootstrap_options"] = json!({"architecture": "arm64"});
        assert_eq!(dynamic(&plain)["parameter_summary"], "trixie (arm64)");
        assert_eq!(dynamic(&plain)["runtime_context"], "arm64:None:");
    }
}
