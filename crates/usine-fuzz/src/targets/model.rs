//! What requests say: names, data of artifacts and tasks.

use std::path::{Component, Path};

use serde_json::Value;
use strum::IntoEnumIterator;
use usine_model::artifact::{
    ArtifactCategory, ArtifactPath, imposed_content_type, label, source_name_and_version, validate_data, validate_files,
};
use usine_model::lookup::{LookupMultiple, LookupSingle};
use usine_model::names::{
    MAX_NAME, MAX_WORKER_NAME, is_valid_name, is_valid_scope_name, is_valid_username, is_valid_workspace_name,
    worker_name_candidates,
};
use usine_model::token::TokenKey;
use usine_model::work_request::TaskType;
use usine_model::worker::{TaskFilter, WorkerType, metadata, provided_tags, required_tags};
use usine_model::{old_worker, tags};
use usine_tasks::{Resolved, ServerFacts, in_todays_words, input_artifact_ids};

use super::{text, two};

/// A category, then the data: whatever they are, an artifact has a label, and its files are judged.
pub(super) fn artifact_data(input: &[u8]) {
    let (category, rest) = two(input);
    let Ok(data) = serde_json::from_slice::<Value>(rest) else { return };
    let files = ["hello_1.dsc", "hello_1.tar.xz", "log", "../x"];
    let categories =
        category.parse::<ArtifactCategory>().map_or_else(|_| ArtifactCategory::iter().collect(), |one| vec![one]);
    for category in categories {
        let valid = validate_data(category, &data).is_ok();
        let _ = validate_files(category, &data, files);
        let _ = label(category, &data, &files);
        if let Some((name, _)) = source_name_and_version(category, &data)
            && valid
        {
            assert!(!name.contains('\n'), "{name:?}");
        }
        let _ = files.map(|file| imposed_content_type(category, file));
    }
}

/// What is taken for a path leads to a place below.
pub(super) fn artifact_path(input: &[u8]) {
    let text = text(input);
    if let Ok(path) = text.parse::<ArtifactPath>() {
        assert!(Path::new(path.as_str()).components().all(|part| matches!(part, Component::Normal(_))), "{path}");
        assert!(!path.as_str().contains(['\0', '\n']) && !path.file_name().contains('/'));
        assert_eq!(path.to_string(), text);
    }
}

pub(super) fn lookup(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else { return };
    if let Ok(single) = serde_json::from_value::<LookupSingle>(value.clone()) {
        let again: LookupSingle =
            serde_json::from_value(serde_json::to_value(&single).expect("JSON")).expect("what was written");
        assert_eq!(single, again);
        let _ = (single.artifact_id(), single.to_string());
    }
    if let Ok(elements) = LookupMultiple(value.clone()).elements() {
        assert!(elements.len() <= value.as_array().map_or(1, Vec::len));
    }
}

pub(super) fn names(input: &[u8]) {
    let text = text(input);
    for valid in [is_valid_name(&text), is_valid_scope_name(&text), is_valid_workspace_name(&text)] {
        assert!(!valid || (text.len() <= MAX_NAME && !text.contains(['/', '\0', '\n', '<', '"', ' '])), "{text:?}");
    }
    assert!(!is_valid_username(&text) || !text.contains(['/', '\0', '\n', '<', '"', ' ']), "{text:?}");
    for name in worker_name_candidates(&text).take(12) {
        assert!(!name.is_empty() && name.len() <= MAX_WORKER_NAME, "{name:?}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)));
    }
    if let Ok(key) = text.parse::<TokenKey>() {
        assert_eq!(key.reveal(), text);
    }
    for category in ArtifactCategory::iter() {
        assert_eq!(category.to_string().parse::<ArtifactCategory>().ok(), Some(category));
    }
}

/// What a worker says of itself: it may provide only what workers may.
pub(super) fn worker_metadata(input: &[u8]) {
    let Ok(Value::Object(said)) = serde_json::from_slice::<Value>(input) else { return };
    let nothing = serde_json::Map::new();
    let merged = metadata(WorkerType::External, &said, &nothing);
    for tag in provided_tags(WorkerType::External, &said, &nothing) {
        let own = tag == tags::worker_type(WorkerType::External);
        assert!(own || tags::may_provide(tags::Provenance::Worker, &tag), "{tag:?}");
    }
    let _ = (required_tags(&said), TaskFilter::from_metadata(&merged).allows("sbuild"));
    let _ = (old_worker::is_old(&said), old_worker::provided_tags(&said));
}

/// The name of a task, then its data.
pub(super) fn task_data(input: &[u8]) {
    let (name, rest) = two(input);
    let Ok(data) = serde_json::from_slice::<Value>(rest) else { return };
    let facts = ServerFacts { fqdn: "localhost".to_owned(), fallback_architecture: "amd64".to_owned() };
    let _ = (in_todays_words(&name, &data), input_artifact_ids(&data));
    let _ = usine_tasks::old_worker::translate(&name, &data, Some(&data));
    let names = match usine_tasks::find(TaskType::Worker, &name) {
        Some(task) => vec![task.name()],
        None => usine_tasks::registered(TaskType::Worker),
    };
    for name in names {
        let Some(task) = usine_tasks::find(TaskType::Worker, name) else { continue };
        if task.check(&data).is_err() {
            continue;
        }
        // What is taken is taken everywhere.
        let inputs = task.inputs(&data).expect("data that were checked");
        assert!(inputs.iter().all(|input| !input.field.is_empty()));
        let tags = task.required_tags(&data, "amd64").expect("data that were checked");
        assert!(tags.iter().all(|tag| !tag.contains('\n')), "{tags:?}");
        let _ = task.dynamic_data(&data, &Resolved::new(), &facts);
        let _ = task.prepare(&data, Some(&data));
    }
}
