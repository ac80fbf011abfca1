//! Who may do what. Each predicate is here and nowhere else.
//!
//! There is one workspace now, `System`, which is public: anybody may look, every user may contribute. Roles on scopes and
//! workspaces will be decided here too.

use std::collections::BTreeSet;

use usine_db::artifact::Artifact;
use usine_db::tenancy::{Scope, Workspace};
use usine_db::{Database, WorkspaceManager};
use usine_tasks::input_artifact_ids;

use crate::auth::{Identity, Requester};
use crate::problem::{ApiError, ApiResult};

/// Whether the requester may see what is in a workspace.
pub fn can_see(requester: &Requester, workspace: &Workspace) -> bool {
    match &requester.identity {
        Identity::Anonymous | Identity::External => workspace.public,
        Identity::User(_) => true,
        Identity::WorkRequest(work_request) => work_request.workspace_id == workspace.id || workspace.public,
        // A worker's own token reads nothing: it has one for each work request.
        Identity::Worker(..) | Identity::Activation => false,
    }
}

/// Whether the requester may add to a workspace: every user, and a work request to its own.
pub fn can_contribute(requester: &Requester, workspace: &Workspace) -> bool {
    match &requester.identity {
        Identity::User(_) => true,
        Identity::WorkRequest(work_request) => work_request.workspace_id == workspace.id,
        _ => false,
    }
}

/// Whether the requester may see an artifact of a workspace. A work request sees what it made and what it was given.
pub fn can_see_artifact(requester: &Requester, artifact: &Artifact, workspace: &Workspace) -> bool {
    match &requester.identity {
        Identity::WorkRequest(work_request) => {
            let inputs: BTreeSet<i64> =
                work_request.dynamic_task_data.as_ref().map(input_artifact_ids).unwrap_or_default();
            artifact.created_by_work_request_id == Some(work_request.id) || inputs.contains(&artifact.id)
        }
        _ => can_see(requester, workspace),
    }
}

/// Whether the requester may add files and relations to an artifact of a workspace: whoever may contribute there, and the
/// work request that made it.
pub fn can_change_artifact(requester: &Requester, artifact: &Artifact, workspace: &Workspace) -> bool {
    match &requester.identity {
        Identity::WorkRequest(own) => artifact.created_by_work_request_id == Some(own.id),
        _ => can_contribute(requester, workspace),
    }
}

/// Whether the requester may delete relations of the artifacts of a workspace, as its owners may. No roles are stored
/// yet: these are the superusers.
pub fn can_delete_relations(requester: &Requester) -> bool {
    matches!(&requester.identity, Identity::User(user) if user.is_superuser)
}

/// The workspace of this name (or the default one) in the requester's scope, if the requester may see it.
pub async fn visible_workspace(
    database: &Database,
    requester: &Requester,
    name: Option<&str>,
    default: &str,
) -> ApiResult<Workspace> {
    let found = WorkspaceManager(database).get_workspace_or_none(&requester.scope, name.unwrap_or(default)).await?;
    match (found.filter(|workspace| can_see(requester, workspace)), name) {
        (Some(workspace), _) => Ok(workspace),
        (None, Some(name)) => Err(workspace_not_found(name, &requester.scope)),
        (None, None) => Err(ApiError::bad_request("Cannot deserialize").field("workspace", "This field is required.")),
    }
}

/// The answer for a workspace that is not there or not to be seen.
pub fn workspace_not_found(name: &str, scope: &Scope) -> ApiError {
    ApiError::not_found("Workspace not found").detail(format!("Workspace {name} not found in scope {}", scope.name))
}

/// `NAME cannot ACTION SCOPE/WORKSPACE`.
pub fn refused(requester: &Requester, action: &str, workspace: &Workspace) -> ApiError {
    let resource = format!("{}/{}", requester.scope.name, workspace.name);
    ApiError::forbidden(format!("{} cannot {action} {resource}", requester.name()))
}
