//! What a task is to the server: a check of its data, the lookups to resolve, the tags that a worker must have, and
//! the data that the resolved lookups add.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use usine_model::artifact::{ArtifactCategory, RelationType, source_name_and_version};
use usine_model::lookup::{LookupMultiple, LookupSingle};
use usine_model::tags::Tags;
use usine_model::work_request::TaskType;

use crate::extra_repositories::ExternalRepository;
use crate::run::Run;
use crate::task_data::TaskDataError;

/// One kind of work. All functions read `task_data` afresh and refuse what [`Task::check`] refuses.
pub trait Task: Send + Sync {
    /// The name in `task_name`, lower case.
    fn name(&self) -> &'static str;

    /// Which kind of worker has it.
    fn task_type(&self) -> TaskType;

    /// Changes when workers of different ages cannot be mixed.
    fn version(&self) -> u32 {
        1
    }

    /// Whether `data` can be the task's data.
    ///
    /// # Errors
    /// What is wrong, by path.
    fn check(&self, data: &Value) -> Result<(), TaskDataError>;

    /// The lookups that the server must resolve, in order.
    ///
    /// # Errors
    /// If `data` is refused.
    fn inputs(&self, data: &Value) -> Result<Vec<Input>, TaskDataError>;

    /// The inputs that follow from the resolved ones by relations, in order.
    fn derived(&self) -> &'static [Derived] {
        &[]
    }

    /// The tags that a worker must provide; `fallback_architecture` counts where `data` names none.
    ///
    /// # Errors
    /// If `data` is refused.
    fn required_tags(&self, data: &Value, fallback_architecture: &str) -> Result<Tags, TaskDataError>;

    /// The tags that the task itself provides: `task:source-package:…`.
    fn provided_tags(&self, data: &Value, resolved: &Resolved) -> Tags;

    /// `dynamic_task_data`: exactly the keys that the reference's worker accepts.
    ///
    /// # Errors
    /// If `data` is refused, or an input that the task needs is not in `resolved`.
    fn dynamic_data(
        &self,
        data: &Value,
        resolved: &Resolved,
        server: &ServerFacts,
    ) -> Result<Map<String, Value>, TaskDataError>;

    /// The JSON Schema of `task_data`.
    fn schema(&self) -> Value;

    /// The worker's side: a task ready to run.
    ///
    /// # Errors
    /// If `data` or `dynamic` are refused.
    fn prepare(&self, data: &Value, dynamic: Option<&Value>) -> Result<Box<dyn Run>, TaskDataError>;
}

/// Inputs that follow from others: the server follows relations, step by step. The artifacts of all steps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// Under which name [`Resolved`] has them.
    pub field: &'static str,
    /// The field to begin from.
    pub from: &'static str,
    /// Which relations to follow, to artifacts of which category.
    pub steps: &'static [(RelationType, ArtifactCategory)],
}

/// A lookup in task data.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Where it is, such as `input.source_artifact`.
    pub field: String,
    /// The lookup itself.
    pub lookup: InputLookup,
    /// What the artifacts found may be.
    pub categories: Vec<ArtifactCategory>,
    /// Whether it names an environment: then the server adds architecture, format, backend and variant to it.
    pub environment: bool,
    /// Whether that environment is only unpacked and not run: then its format is `tarball` whatever the backend, and the
    /// server adds neither backend nor variant.
    pub only_unpacked: bool,
}

/// A lookup of one thing or of several.
#[derive(Debug, Clone, PartialEq)]
pub enum InputLookup {
    /// Of one artifact.
    Single(LookupSingle),
    /// Of any number of artifacts.
    Multiple(LookupMultiple),
}

/// An artifact that a lookup found.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedArtifact {
    /// Its id.
    pub id: i64,
    /// What it is.
    pub category: ArtifactCategory,
    /// Its data.
    pub data: Value,
    /// Name of its workspace.
    pub workspace: String,
    /// The lookup, or the element of a lookup of several, that found it.
    pub lookup: Value,
}

impl ResolvedArtifact {
    /// Name and version of the source package that it is, was built from, or is about.
    pub(crate) fn source(&self) -> Option<(String, Option<String>)> {
        source_name_and_version(self.category, &self.data)
    }

    /// The same, where a task cannot do without; a missing version is empty.
    pub(crate) fn named_source(&self, field: &str) -> Result<(String, String), TaskDataError> {
        let named = self.source().map(|(name, version)| (name, version.unwrap_or_default()));
        named.ok_or_else(|| TaskDataError::rule(field, "the artifact has no source package name"))
    }
}

/// What brings binary packages.
pub(crate) const BINARY_CATEGORIES: [ArtifactCategory; 2] = [ArtifactCategory::BinaryPackage, ArtifactCategory::Upload];

/// What the server found for a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    artifacts: BTreeMap<String, Vec<ResolvedArtifact>>,
    suites: BTreeMap<usize, Option<ExternalRepository>>,
    task_configuration: Value,
}

impl Resolved {
    /// Nothing found.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the lookup in `field` ([`Input::field`]) found.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, artifacts: Vec<ResolvedArtifact>) -> Self {
        self.artifacts.insert(field.into(), artifacts);
        self
    }

    /// Says what the suite of `extra_repositories[index]` is as a repository; `None` leaves it out, because it has no
    /// signed index.
    #[must_use]
    pub fn with_suite(mut self, index: usize, repository: Option<ExternalRepository>) -> Self {
        self.suites.insert(index, repository);
        self
    }

    /// The collection that configured the task, in the form that `task_input_fields` has.
    #[must_use]
    pub fn with_task_configuration(mut self, collection: Value) -> Self {
        self.task_configuration = collection;
        self
    }

    /// What the lookup in `field` found.
    pub fn all(&self, field: &str) -> &[ResolvedArtifact] {
        self.artifacts.get(field).map(Vec::as_slice).unwrap_or_default()
    }

    /// The one artifact that the lookup in `field` found.
    pub fn one(&self, field: &str) -> Option<&ResolvedArtifact> {
        self.all(field).first()
    }

    pub(crate) fn required(&self, field: &str) -> Result<&ResolvedArtifact, TaskDataError> {
        self.one(field).ok_or_else(|| TaskDataError::rule(field, "nothing was found for this lookup"))
    }

    /// The ids of what the lookup in `field` found.
    pub(crate) fn ids(&self, field: &str) -> Vec<i64> {
        self.all(field).iter().map(|artifact| artifact.id).collect()
    }

    pub(crate) fn suite(&self, index: usize) -> Option<&Option<ExternalRepository>> {
        self.suites.get(&index)
    }

    /// The beginning of `task_input_fields`: the task configuration, then each input.
    pub(crate) fn input_fields(&self, inputs: &[Input]) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("task_configuration".to_owned(), self.task_configuration.clone());
        for input in inputs {
            let field = match &input.lookup {
                InputLookup::Single(lookup) => self.one(&input.field).map_or(Value::Null, |artifact| {
                    json!({"label": input.field, "lookup": lookup, "artifact_id": artifact.id,
                        "category": artifact.category, "data": artifact.data})
                }),
                InputLookup::Multiple(lookup) => {
                    let of = |artifact: &ResolvedArtifact| json!({"artifact_id": artifact.id, "category": artifact.category, "data": artifact.data});
                    let lookups = match &lookup.0 {
                        Value::Array(list) => list.clone(),
                        Value::Null => Vec::new(),
                        one => vec![one.clone()],
                    };
                    let artifacts: Vec<Value> = self.all(&input.field).iter().map(of).collect();
                    json!({"label": input.field, "lookup": lookups, "artifacts": artifacts})
                }
            };
            fields.insert(input.field.clone(), field);
        }
        fields
    }
}

/// What a task must know of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its fully qualified name.
    pub fqdn: String,
    /// The architecture of tasks that name none.
    pub fallback_architecture: String,
}

/// The ids that a work request's token may read: every `…_id` and `…_ids` of its dynamic data, and every `artifact_id` in
/// `task_input_fields`.
pub fn input_artifact_ids(dynamic: &Value) -> BTreeSet<i64> {
    let mut ids = BTreeSet::new();
    for (key, value) in dynamic.as_object().into_iter().flatten() {
        if key == "task_input_fields" {
            artifact_ids(value, &mut ids);
        } else if key.ends_with("_id") || key.ends_with("_ids") {
            integers(value, &mut ids);
        }
    }
    ids
}

fn integers(value: &Value, ids: &mut BTreeSet<i64>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| integers(value, ids)),
        value => ids.extend(value.as_i64()),
    }
}

/// Only of the fields themselves and their lists: the artifacts' own data may have keys of any name.
fn artifact_ids(fields: &Value, ids: &mut BTreeSet<i64>) {
    for field in fields.as_object().into_iter().flat_map(Map::values) {
        ids.extend(field.get("artifact_id").and_then(Value::as_i64));
        let several = field.get("artifacts").and_then(Value::as_array).into_iter().flatten();
        ids.extend(several.filter_map(|artifact| artifact.get("artifact_id")?.as_i64()));
    }
}

/// What every task's dynamic data may have on the worker's side.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CommonDynamicData {
    pub parameter_summary: Option<String>,
    pub subject: Option<String>,
    pub runtime_context: Option<String>,
    pub configuration_context: Option<String>,
    pub task_input_fields: Option<Map<String, Value>>,
}

impl CommonDynamicData {
    pub const KEYS: [&'static str; 5] =
        ["parameter_summary", "subject", "runtime_context", "configuration_context", "task_input_fields"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_the_inputs_and_nothing_else() {
        let dynamic = json!({
            "environment_id": 3, "input_source_artifact_id": 12, "input_extra_binary_artifacts_ids": [20, 21],
            "input_binary_artifacts_ids": [[30], [31]], "subject": "hello", "x_id": null,
            "task_input_fields": {
                "task_configuration": {"collection_id": 99},
                "base_tgz": {"artifact_id": 40, "data": {"artifact_id": 66, "x": {"artifact_id": 67}}},
                "several": {"artifacts": [{"artifact_id": 41, "data": {"artifacts": [{"artifact_id": 68}]}}]},
            },
        });
        assert_eq!(input_artifact_ids(&dynamic), BTreeSet::from([3, 12, 20, 21, 30, 31, 40, 41]));
        assert!(input_artifact_ids(&Value::Null).is_empty());
    }
}
