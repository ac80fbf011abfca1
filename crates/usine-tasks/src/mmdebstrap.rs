//! `mmdebstrap`: makes a `debian:system-tarball` with mmdebstrap(1).

mod command;
mod data;
mod repositories;
mod run;

use schemars::schema_for;
use serde_json::{Map, Value};
use usine_model::tags::{self, Tags};
use usine_model::work_request::TaskType;

use crate::run::Run;
use crate::task::{CommonDynamicData, Input, Resolved, ServerFacts, Task, base_tags};
use crate::task_data::{TaskDataError, parse};
use data::MmdebstrapData;

/// The task.
pub(crate) struct Mmdebstrap;

impl Task for Mmdebstrap {
    fn name(&self) -> &'static str {
        "mmdebstrap"
    }

    fn task_type(&self) -> TaskType {
        TaskType::Worker
    }

    fn check(&self, data: &Value) -> Result<(), TaskDataError> {
        MmdebstrapData::read(data).map(drop)
    }

    fn inputs(&self, data: &Value) -> Result<Vec<Input>, TaskDataError> {
        self.check(data)?;
        Ok(Vec::new())
    }

    fn required_tags(&self, data: &Value, _fallback_architecture: &str) -> Result<Tags, TaskDataError> {
        let data = MmdebstrapData::read(data)?;
        let mut required = base_tags(self);
        required.insert(tags::capability("mmdebstrap"));
        required.insert(tags::build_arch(&data.bootstrap_options.architecture));
        Ok(required)
    }

    fn provided_tags(&self, _data: &Value, _resolved: &Resolved) -> Tags {
        Tags::new()
    }

    fn dynamic_data(
        &self,
        data: &Value,
        resolved: &Resolved,
        _: &ServerFacts,
    ) -> Result<Map<String, Value>, TaskDataError> {
        let data = MmdebstrapData::read(data)?;
        let options = &data.bootstrap_options;
        let suite = data.bootstrap_repositories.first().map(|repository| repository.suite.clone()).unwrap_or_default();
        let architecture = &options.architecture;
        let variant = options.variant.map(|variant| variant.to_string());
        let summary = match &variant {
            Some(variant) => format!("{suite} ({architecture}-{variant})"),
            None => format!("{suite} ({architecture})"),
        };
        let mut packages = options.extra_packages.clone();
        packages.sort();
        // The reference writes Python's word for null here; statistics of both must compare.
        let context = format!("{architecture}:{}:{}", variant.as_deref().unwrap_or("None"), packages.join(","));
        Ok(Map::from_iter([
            ("subject".to_owned(), suite.into()),
            ("parameter_summary".to_owned(), summary.into()),
            ("runtime_context".to_owned(), context.into()),
            ("configuration_context".to_owned(), architecture.clone().into()),
            ("task_input_fields".to_owned(), resolved.input_fields(&[]).into()),
        ]))
    }

    fn schema(&self) -> Value {
        schema_for!(MmdebstrapData).to_value()
    }

    fn prepare(&self, data: &Value, dynamic: Option<&Value>) -> Result<Box<dyn Run>, TaskDataError> {
        if let Some(dynamic) = dynamic.filter(|dynamic| !dynamic.is_null()) {
            parse::<CommonDynamicData>(dynamic)?;
        }
        Ok(Box::new(run::MmdebstrapRun::new(MmdebstrapData::read(data)?)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
