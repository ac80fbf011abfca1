//! What the tests of all tasks need.

use serde_json::Value;
use usine_model::artifact::ArtifactCategory;

use crate::task::{ResolvedArtifact, ServerFacts, Task};

/// An artifact that was found by its id.
pub(crate) fn artifact(id: i64, category: ArtifactCategory, data: Value) -> ResolvedArtifact {
    ResolvedArtifact { id, category, data, workspace: "System".into(), lookup: id.into() }
}

/// The server of the tests.
pub(crate) fn server() -> ServerFacts {
    ServerFacts { fqdn: "d.example".into(), fallback_architecture: "amd64".into() }
}

/// What is wrong with `good` data when the keys of `change` are put in their place.
pub(crate) fn fault(task: &dyn Task, good: &Value, change: &Value) -> String {
    let mut data = good.clone();
    data.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    match task.check(&data) {
        Ok(()) => panic!("{data} was accepted"),
        Err(error) => error.to_string(),
    }
}

/// The tags that a worker must provide, sorted.
pub(crate) fn required_tags(task: &dyn Task, data: &Value) -> Vec<String> {
    task.required_tags(data, &server().fallback_architecture).unwrap().into_iter().collect()
}
