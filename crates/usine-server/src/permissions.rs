//! What a requester may see, looked up and judged in one step. Which rule holds for what is in `usine_model::permission`; what may
//! not be seen is answered like what is not there.

use std::collections::HashSet;

use usine_db::artifact::{Artifact, ArtifactManager};
use usine_db::tenancy::{Scope, Workspace};
use usine_db::{WorkRequest, WorkRequestManager, WorkspaceManager};
use usine_model::permission::{
    ARTIFACT_CAN_DISPLAY, ArtifactFacts, PermissionContext, WORK_REQUEST_CAN_DISPLAY, WORKSPACE_CAN_DISPLAY,
    WorkRequestFacts,
};

use crate::auth::Requester;
use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// A workspace with its scope.
#[derive(Debug, Clone)]
pub struct Place {
    /// The workspace.
    pub workspace: Workspace,
    /// Its scope.
    pub scope: Scope,
}

impl Place {
    /// `SCOPE/WORKSPACE`.
    pub fn name(&self) -> String {
        self.workspace.full_name(&self.scope)
    }

    /// `/SCOPE/WORKSPACE/`.
    pub fn address(&self) -> String {
        format!("/{}/{}/", self.scope.name, self.workspace.name)
    }

    /// What predicates ask of a work request here.
    pub fn work_request(&self, row: &WorkRequest) -> WorkRequestFacts {
        let workspace = self.workspace.facts(&self.scope);
        WorkRequestFacts { workspace, id: row.id, created_by: row.created_by_id }
    }

    /// What predicates ask of an artifact here.
    pub fn artifact(&self, row: &Artifact) -> ArtifactFacts {
        let workspace = self.workspace.facts(&self.scope);
        ArtifactFacts { workspace, id: row.id, created_by_work_request: row.created_by_work_request_id }
    }
}

/// The workspace of this name (or the default one) in the requester's scope, if the requester may see it.
pub async fn visible_workspace(state: &AppState, requester: &Requester, name: Option<&str>) -> ApiResult<Workspace> {
    let (scope, default) = (&requester.scope, state.config.default_workspace.as_str());
    let found = requester.known.workspace(&state.database, scope, name.unwrap_or(default)).await?;
    let seen = found.filter(|workspace| requester.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope)));
    match (seen, name) {
        (Some(workspace), _) => Ok(workspace),
        (None, Some(name)) => Err(workspace_not_found(name, scope)),
        (None, None) => Err(ApiError::bad_request("Cannot deserialize").field("workspace", "This field is required.")),
    }
}

/// The answer for a workspace that is not there or not to be seen.
pub fn workspace_not_found(name: &str, scope: &Scope) -> ApiError {
    ApiError::not_found("Workspace not found").detail(format!("Workspace {name} not found in scope {}", scope.name))
}

/// The work request of this id in any scope, if it may be seen in this context: a WebSocket names no scope.
pub async fn visible_work_request_anywhere(
    state: &AppState,
    context: &PermissionContext,
    id: &str,
) -> ApiResult<Option<(WorkRequest, Place)>> {
    let Ok(id) = id.parse() else { return Ok(None) };
    let Some(row) = WorkRequestManager(&state.database).get_or_none(id).await? else { return Ok(None) };
    let (workspace, scope) = WorkspaceManager(&state.database).get(row.workspace_id).await?;
    let place = Place { workspace, scope };
    let seen = WORK_REQUEST_CAN_DISPLAY.allows(context, &place.work_request(&row));
    Ok(seen.then_some((row, place)))
}

/// The work request of this id in the requester's scope, if the requester may see it.
pub async fn visible_work_request(
    state: &AppState,
    requester: &Requester,
    id: &str,
) -> ApiResult<Option<(WorkRequest, Place)>> {
    let found = visible_work_request_anywhere(state, &requester.context, id).await?;
    Ok(found.filter(|(_, place)| place.scope.id == requester.scope.id))
}
/// The artifact of this id in any scope, if the requester may see it: older clients do not name the scope of an upload.
pub async fn visible_artifact_anywhere(
    state: &AppState,
    requester: &Requester,
    id: &str,
) -> ApiResult<Option<(Artifact, Place)>> {
    let Ok(id) = id.parse() else { return Ok(None) };
    let Some(row) = ArtifactManager(&state.database).get_or_none(id).await? else { return Ok(None) };
    let (workspace, scope) = WorkspaceManager(&state.database).get(row.workspace_id).await?;
    let place = Place { workspace, scope };
    let seen = requester.may(&ARTIFACT_CAN_DISPLAY, &place.artifact(&row));
    Ok(seen.then_some((row, place)))
}

/// The artifact of this id in the requester's scope, if the requester may see it.
pub async fn visible_artifact(
    state: &AppState,
    requester: &Requester,
    id: &str,
) -> ApiResult<Option<(Artifact, Place)>> {
    let found = visible_artifact_anywhere(state, requester, id).await?;
    Ok(found.filter(|(_, place)| place.scope.id == requester.scope.id))
}

/// Where a lookup from a workspace arrives: itself, then its parents in order, each followed by its own. What is not to be seen is
/// passed by, with all that lies behind it; so are loops.
pub async fn reachable(
    state: &AppState,
    context: &PermissionContext,
    from: &Workspace,
    scope: &Scope,
) -> ApiResult<Vec<Place>> {
    let manager = WorkspaceManager(&state.database);
    let mut places = Vec::new();
    let mut known = HashSet::new();
    let mut ahead = vec![(from.clone(), scope.clone())];
    while let Some((workspace, scope)) = ahead.pop() {
        if !WORKSPACE_CAN_DISPLAY.allows(context, &workspace.facts(&scope)) || !known.insert(workspace.id) {
            continue;
        }
        ahead.extend(manager.inheritance(&workspace).await?.into_iter().rev());
        places.push(Place { workspace, scope });
    }
    Ok(places)
}
