//! Worker tasks, written with types of their own for their data. What [`Task`] asks follows from these types, so that a
//! new task says only what is its own.

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usine_model::artifact::ArtifactCategory;
use usine_model::lookup::LookupSingle;
use usine_model::tags::{self, Tags};
use usine_model::work_request::TaskType;

use crate::Backend;
use crate::executor::IMAGE_CATEGORIES;
use crate::run::Run;
use crate::task::{CommonDynamicData, Derived, Input, InputLookup, Resolved, ServerFacts, Task};
use crate::task_data::{Multiple, TaskDataError, parse, parse_with_old_names};

/// Name of the field that names an environment.
pub(crate) const ENVIRONMENT: &str = "environment";

/// A task that external workers run.
pub(crate) trait WorkerTask: Send + Sync {
    /// The name in `task_name`, lower case.
    const NAME: &'static str;

    /// Whether its data may have a `build_architecture`, which had another name before 0.14.
    const HAS_BUILD_ARCHITECTURE: bool = true;

    /// Inputs that follow from others by relations.
    const DERIVED: &'static [Derived] = &[];

    /// Its `task_data`.
    type Data: DeserializeOwned + Serialize + JsonSchema;

    /// What it has in `dynamic_task_data` besides what all tasks have: the ids of its inputs.
    type Dynamic: DeserializeOwned + Serialize;

    /// Adds to `error` the rules between fields that `data` break.
    fn check(_data: &Self::Data, _error: &mut TaskDataError) {}

    /// The lookups to resolve, in order.
    fn inputs(_data: &Self::Data) -> Vec<Input> {
        Vec::new()
    }

    /// The executor that it runs on.
    fn executor(_data: &Self::Data) -> Option<ExecutorNeed<'_>> {
        None
    }

    /// What else a worker must provide.
    fn further_tags(_data: &Self::Data) -> Tags {
        Tags::new()
    }

    /// The source packages that it is about: its workers may be chosen by them.
    fn source_packages(_data: &Self::Data, _resolved: &Resolved) -> Vec<String> {
        Vec::new()
    }

    /// What the server adds for the worker and for people.
    ///
    /// # Errors
    /// If an input is not in `resolved`, or is not what it must be.
    fn describe(
        data: &Self::Data,
        resolved: &Resolved,
        server: &ServerFacts,
    ) -> Result<Description<Self::Dynamic>, TaskDataError>;

    /// Other fields of `task_input_fields` than lookups.
    fn input_values(_data: &Self::Data, _server: &ServerFacts) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// The worker's side: a task ready to run.
    fn start(data: Self::Data, dynamic: Self::Dynamic) -> Box<dyn Run>;
}

/// What a task needs of an executor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecutorNeed<'a> {
    pub backend: Backend,
    /// The server's fallback, if not given.
    pub build_architecture: Option<&'a str>,
}

/// What the server computes of a task.
#[derive(Debug)]
pub(crate) struct Description<D> {
    /// Groups similar inputs: usually the source package.
    pub subject: Option<String>,
    /// For people.
    pub parameter_summary: Option<String>,
    /// Keeps statistics of different ways to run apart.
    pub runtime_context: Option<String>,
    /// With the subject, chooses task configuration: usually the codename.
    pub configuration_context: Option<String>,
    /// For the worker.
    pub dynamic: D,
}

/// The dynamic data of a task that has none of its own.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoDynamicData {}

/// An input of one artifact.
pub(crate) fn single(field: impl Into<String>, lookup: &LookupSingle, categories: &[ArtifactCategory]) -> Input {
    let lookup = InputLookup::Single(lookup.clone());
    Input { field: field.into(), lookup, categories: categories.to_vec(), environment: false, only_unpacked: false }
}

/// An input of several artifacts.
pub(crate) fn multiple(field: impl Into<String>, lookup: &Multiple, categories: &[ArtifactCategory]) -> Input {
    let lookup = InputLookup::Multiple(lookup.0.clone());
    Input { field: field.into(), lookup, categories: categories.to_vec(), environment: false, only_unpacked: false }
}

/// The input [`ENVIRONMENT`].
pub(crate) fn environment(lookup: &LookupSingle) -> Input {
    Input { environment: true, ..single(ENVIRONMENT, lookup, &IMAGE_CATEGORIES) }
}

/// An input of a tarball that is unpacked by the task's own tool.
pub(crate) fn base_tarball(field: &str, lookup: &LookupSingle) -> Input {
    Input { environment: true, only_unpacked: true, ..single(field, lookup, &[ArtifactCategory::SystemTarball]) }
}

/// A text of the data of an environment.
pub(crate) fn text_of(resolved: &Resolved, field: &str, key: &str) -> Option<String> {
    Some(resolved.one(field)?.data.get(key)?.as_str()?.to_owned())
}

/// Task data, checked.
pub(crate) fn read<T: WorkerTask>(data: &Value) -> Result<T::Data, TaskDataError> {
    let data = if T::HAS_BUILD_ARCHITECTURE { parse_with_old_names(data) } else { parse(data) }?;
    let mut error = TaskDataError::default();
    T::check(&data, &mut error);
    error.into_result()?;
    Ok(data)
}

impl<T: WorkerTask> Task for T {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn task_type(&self) -> TaskType {
        TaskType::Worker
    }

    fn check(&self, data: &Value) -> Result<(), TaskDataError> {
        read::<T>(data).map(drop)
    }

    fn inputs(&self, data: &Value) -> Result<Vec<Input>, TaskDataError> {
        Ok(T::inputs(&read::<T>(data)?))
    }

    fn derived(&self) -> &'static [Derived] {
        T::DERIVED
    }

    fn required_tags(&self, data: &Value, fallback_architecture: &str) -> Result<Tags, TaskDataError> {
        let data = read::<T>(data)?;
        let mut required = T::further_tags(&data);
        required.insert(tags::required_worker_type(self.task_type()));
        required.insert(tags::task_version(self.task_type(), self.name(), self.version()));
        if let Some(need) = T::executor(&data) {
            required.insert(tags::executor(&need.backend.decided().to_string()));
            required.insert(tags::build_arch(need.build_architecture.unwrap_or(fallback_architecture)));
        }
        Ok(required)
    }

    fn provided_tags(&self, data: &Value, resolved: &Resolved) -> Tags {
        let names = read::<T>(data).map(|data| T::source_packages(&data, resolved)).unwrap_or_default();
        names.iter().map(|name| tags::source_package(name)).collect()
    }

    fn dynamic_data(
        &self,
        data: &Value,
        resolved: &Resolved,
        server: &ServerFacts,
    ) -> Result<Map<String, Value>, TaskDataError> {
        let data = read::<T>(data)?;
        let description = T::describe(&data, resolved, server)?;
        let mut fields = resolved.input_fields(&T::inputs(&data));
        if let Some(need) = T::executor(&data) {
            let architecture = need.build_architecture.unwrap_or(&server.fallback_architecture);
            fields.insert("build_architecture".to_owned(), architecture.into());
        }
        let values = T::input_values(&data, server);
        fields.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let common = CommonDynamicData {
            parameter_summary: description.parameter_summary,
            subject: description.subject,
            runtime_context: description.runtime_context,
            configuration_context: description.configuration_context,
            task_input_fields: Some(fields),
        };
        let mut dynamic = object(&description.dynamic)?;
        let mut common = object(&common)?;
        if common.values().filter(|value| !value.is_null()).count() == 1 {
            // A task that says nothing about itself has only its input fields.
            common.retain(|_, value| !value.is_null());
        }
        dynamic.extend(common);
        Ok(dynamic)
    }

    fn schema(&self) -> Value {
        schema_for!(T::Data).to_value()
    }

    fn prepare(&self, data: &Value, dynamic: Option<&Value>) -> Result<Box<dyn Run>, TaskDataError> {
        let data = read::<T>(data)?;
        let mut own = match dynamic {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(dynamic)) => dynamic.clone(),
            Some(_) => return Err(TaskDataError::at("", "dynamic task data must be a dictionary")),
        };
        let common = CommonDynamicData::KEYS.iter().filter_map(|key| own.remove_entry(*key)).collect();
        parse::<CommonDynamicData>(&Value::Object(common))?;
        Ok(T::start(data, parse(&Value::Object(own))?))
    }
}

fn object(value: &impl Serialize) -> Result<Map<String, Value>, TaskDataError> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(TaskDataError::rule("", format!("dynamic data are {other}, not a dictionary"))),
        Err(error) => Err(TaskDataError::rule("", error)),
    }
}
