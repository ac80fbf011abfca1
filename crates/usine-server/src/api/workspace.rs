//! `workspace/{name}/inheritance/`: where a workspace looks further.

use axum::Json;
use axum::extract::{Path, State};
use usine_db::tenancy::{ChainError, Scope, Workspace};
use usine_db::{ScopeManager, WorkspaceManager};
use usine_model::permission::{WORKSPACE_CAN_CONFIGURE, WORKSPACE_CAN_DISPLAY};
use usine_protocol::workspace::{ChainElement, InheritanceChain};

use crate::auth::Requester;
use crate::permissions::visible_workspace;
use crate::problem::{ApiError, ApiResult, Payload, parse_body};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new().get("/api/1.0/workspace/{workspace}/inheritance/", Access::User, show).post(
        "/api/1.0/workspace/{workspace}/inheritance/",
        Access::User,
        replace,
    )
}

async fn show(
    State(state): State<AppState>,
    requester: Requester,
    Path(name): Path<String>,
) -> ApiResult<Json<InheritanceChain>> {
    let workspace = visible_workspace(&state, &requester, Some(&name)).await?;
    Ok(Json(present(&state, &requester, &workspace).await?))
}

/// The parents that the requester may see.
async fn present(state: &AppState, requester: &Requester, workspace: &Workspace) -> ApiResult<InheritanceChain> {
    let parents = WorkspaceManager(&state.database).inheritance(workspace).await?;
    let seen = parents
        .into_iter()
        .filter(|(parent, scope)| requester.may(&WORKSPACE_CAN_DISPLAY, &parent.facts(scope)))
        .map(|(parent, scope)| ChainElement {
            id: Some(parent.id),
            scope: Some(scope.name),
            workspace: Some(parent.name),
        });
    Ok(InheritanceChain { chain: seen.collect() })
}

async fn replace(
    State(state): State<AppState>,
    requester: Requester,
    Path(name): Path<String>,
    Payload(body): Payload,
) -> ApiResult<Json<InheritanceChain>> {
    let user = requester.user()?;
    let workspace = visible_workspace(&state, &requester, Some(&name)).await?;
    let scope = &requester.scope;
    requester.check(&WORKSPACE_CAN_CONFIGURE, &workspace.facts(scope), &workspace.full_name(scope))?;
    let body: InheritanceChain = parse_body(&body, "workspace inheritance")?;
    let invalid = |reason: String| ApiError::bad_request("Invalid inheritance chain").detail(reason);
    if body.chain.len() > InheritanceChain::MAX_LENGTH {
        return Err(invalid(format!("a workspace has at most {} parents", InheritanceChain::MAX_LENGTH)));
    }
    let manager = WorkspaceManager(&state.database);
    let present_parents = manager.inheritance(&workspace).await?;
    let mut parents = Vec::with_capacity(body.chain.len());
    for element in &body.chain {
        let parent = find(&state, &requester, element).await?;
        let is_new = present_parents.iter().all(|(known, _)| known.id != parent.0.id);
        if is_new && !parent.0.public && parent.1.id != scope.id {
            let detail = format!("{} is private and in another scope", parent.0.full_name(&parent.1));
            return Err(ApiError::forbidden("Workspace cannot be inherited").detail(detail));
        }
        parents.push(parent);
    }
    // Parents that the requester cannot see stay: they could not be named.
    let hidden = present_parents
        .into_iter()
        .filter(|(parent, scope)| !requester.may(&WORKSPACE_CAN_DISPLAY, &parent.facts(scope)));
    parents.extend(hidden);
    manager.set_inheritance(&workspace, scope, &parents, Some(user.id), state.now()).await.map_err(
        |error| match error {
            ChainError::Invalid(reason) => invalid(reason),
            ChainError::Database(error) => error.into(),
        },
    )?;
    Ok(Json(present(&state, &requester, &workspace).await?))
}

/// The workspace that an element names, by id or by name, if the requester may see it.
async fn find(state: &AppState, requester: &Requester, element: &ChainElement) -> ApiResult<(Workspace, Scope)> {
    let manager = WorkspaceManager(&state.database);
    let (found, name) = match (element.id, &element.workspace) {
        (Some(id), _) => (manager.get_or_none(id).await?, format!("{id}")),
        (None, Some(name)) => {
            let scope = match &element.scope {
                None => Some(requester.scope.clone()),
                Some(scope) => ScopeManager(&state.database).get_scope_or_none(scope).await?,
            };
            let found = match scope {
                None => None,
                Some(scope) => manager.get_workspace_or_none(&scope, name).await?.map(|workspace| (workspace, scope)),
            };
            let scope = element.scope.as_deref().unwrap_or(&requester.scope.name);
            (found, format!("{scope}/{name}"))
        }
        (None, None) => {
            return Err(ApiError::bad_request("Cannot deserialize workspace inheritance")
                .field("chain", "each element needs an id or a workspace"));
        }
    };
    let seen = found.filter(|(workspace, scope)| requester.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(scope)));
    seen.ok_or_else(|| ApiError::not_found("Workspace not found").detail(format!("Workspace {name} not found")))
}
