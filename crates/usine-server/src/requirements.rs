//! What a task asks for: its data checked, its lookups resolved, its tags and dynamic data computed. Submission and
//! scheduler both come here, so that what was accepted can be assigned.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use usine_db::artifact::{Artifact, ArtifactManager};
use usine_db::tenancy::Workspace;
use usine_db::work_request::SchedulerTags;
use usine_db::{Database, PermissionManager, UserManager, WorkspaceManager};
use usine_model::lookup::{LookupElement, LookupSingle};
use usine_model::permission::ARTIFACT_CAN_DISPLAY;
use usine_model::tags;
use usine_tasks::{Derived, Input, InputLookup, Resolved, ResolvedArtifact, ServerFacts, Task, TaskDataError};

use crate::memory::GroupName;
use crate::permissions::Place;

/// Task data that cannot be used: what is wrong, by path; or the database failed.
#[derive(Debug, thiserror::Error)]
pub enum RequirementError {
    /// The data, or what they name.
    #[error(transparent)]
    Data(#[from] TaskDataError),
    /// The database.
    #[error(transparent)]
    Database(#[from] usine_db::Error),
}

/// Finds every artifact that the task data name: those of the workspace, and those of others that the creator of the work request may
/// see.
pub async fn resolve(
    database: &Database,
    task: &dyn Task,
    data: &Value,
    workspace: &Workspace,
    creator: i64,
) -> Result<Resolved, RequirementError> {
    let mut resolved = Resolved::new();
    for input in task.inputs(data)? {
        let artifacts = match &input.lookup {
            InputLookup::Single(lookup) => {
                vec![resolve_one(database, &input, &input.field, lookup, workspace, creator).await?]
            }
            InputLookup::Multiple(lookup) => {
                let elements = lookup.elements().map_err(|error| TaskDataError::at(&input.field, error.to_string()))?;
                let mut artifacts = Vec::with_capacity(elements.len());
                for (index, element) in elements.iter().enumerate() {
                    let field = format!("{}[{index}]", input.field);
                    match element {
                        LookupElement::Single(lookup) => {
                            artifacts.push(resolve_one(database, &input, &field, lookup, workspace, creator).await?);
                        }
                        LookupElement::Filter(_) => return Err(no_collections(&field, "a filter").into()),
                    }
                }
                artifacts
            }
        };
        resolved = resolved.with(input.field, artifacts);
    }
    for derived in task.derived() {
        let artifacts = derive(database, derived, resolved.all(derived.from), workspace).await?;
        resolved = resolved.with(derived.field, artifacts);
    }
    Ok(resolved)
}

/// The artifacts that task data name by their ids, whether they exist or not.
pub fn named_artifacts(task: &dyn Task, data: &Value) -> Result<BTreeSet<i64>, TaskDataError> {
    let mut named = BTreeSet::new();
    for input in task.inputs(data)? {
        match &input.lookup {
            InputLookup::Single(lookup) => named.extend(lookup.artifact_id()),
            InputLookup::Multiple(lookup) => {
                let elements = lookup.elements().map_err(|error| TaskDataError::at(&input.field, error.to_string()))?;
                named.extend(elements.iter().filter_map(|element| match element {
                    LookupElement::Single(lookup) => lookup.artifact_id(),
                    LookupElement::Filter(_) => None,
                }));
            }
        }
    }
    Ok(named)
}

/// Follows relations from `begin`, step by step: the artifacts of all steps, each once, in the order of their ids. One of
/// another workspace is as good as none, here, too.
pub async fn derive(
    database: &Database,
    derived: &Derived,
    begin: &[ResolvedArtifact],
    workspace: &Workspace,
) -> usine_db::Result<Vec<ResolvedArtifact>> {
    let mut found = BTreeMap::new();
    let mut ids: Vec<i64> = begin.iter().map(|artifact| artifact.id).collect();
    for &(relation_type, category) in derived.steps {
        let artifacts = ArtifactManager(database).related(&ids, relation_type, category, workspace.id).await?;
        ids = artifacts.iter().map(|artifact| artifact.id).collect();
        found.extend(artifacts.into_iter().map(|artifact| (artifact.id, artifact)));
    }
    let artifacts = found.into_values();
    Ok(artifacts.map(|artifact| found_by(json!(artifact.id), artifact, workspace)).collect())
}

fn found_by(lookup: Value, artifact: Artifact, workspace: &Workspace) -> ResolvedArtifact {
    ResolvedArtifact {
        id: artifact.id,
        category: *artifact.category,
        data: artifact.data,
        workspace: workspace.name.clone(),
        lookup,
    }
}

async fn resolve_one(
    database: &Database,
    input: &Input,
    field: &str,
    lookup: &LookupSingle,
    workspace: &Workspace,
    creator: i64,
) -> Result<ResolvedArtifact, RequirementError> {
    let id = lookup.artifact_id().ok_or_else(|| no_collections(field, &format!("{:?}", lookup.to_string())))?;
    let found = ArtifactManager(database).get_or_none(id).await?;
    let found = match found {
        Some(artifact) if artifact.workspace_id != workspace.id => {
            // What the creator may not see is as good as none: its existence does not leak.
            can_see(database, creator, &artifact).await?.then_some(artifact)
        }
        found => found,
    };
    let artifact = found.ok_or_else(|| TaskDataError::at(field, format!("artifact {id} does not exist")))?;
    if !input.categories.contains(&artifact.category) {
        let valid: Vec<_> = input.categories.iter().map(|category| format!("'{category}'")).collect();
        let problem =
            format!("unexpected artifact category: '{}'. Valid categories: [{}]", *artifact.category, valid.join(", "));
        return Err(TaskDataError::at(field, problem).into());
    }
    Ok(found_by(json!(lookup), artifact, workspace))
}

async fn can_see(database: &Database, user: i64, artifact: &Artifact) -> usine_db::Result<bool> {
    let (workspace, scope) = WorkspaceManager(database).get(artifact.workspace_id).await?;
    let user = UserManager(database).get(user).await?;
    let context = PermissionManager(database).context_of(&user).await?;
    Ok(ARTIFACT_CAN_DISPLAY.allows(&context, &Place { workspace, scope }.artifact(artifact)))
}

fn no_collections(field: &str, lookup: &str) -> TaskDataError {
    TaskDataError::at(
        field,
        format!("{lookup} looks into a collection, and this server has none; name an artifact by its id"),
    )
}

/// What the work request requires of workers, and provides for them: where it is, and of whom.
pub fn scheduler_tags(
    task: &dyn Task,
    data: &Value,
    resolved: &Resolved,
    place: &Place,
    groups: &[GroupName],
    facts: &ServerFacts,
) -> Result<SchedulerTags, TaskDataError> {
    let scope = &place.scope.name;
    let mut provided = task.provided_tags(data, resolved);
    provided.insert(tags::task_scope(scope));
    provided.insert(tags::task_workspace(scope, &place.workspace.name));
    for (scope, workspace, group) in groups {
        provided.insert(tags::task_group(scope, workspace.as_deref(), group));
    }
    Ok(SchedulerTags { required: task.required_tags(data, &facts.fallback_architecture)?, provided })
}
