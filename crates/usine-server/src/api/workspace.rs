//! `workspace/{name}/inheritance/`: where a workspace looks further.

use axum::Json;
use axum::extract::{Path, State};
use usine_db::tenancy::{ChainError, Scope, Workspace};
use usine_db::{ScopeManager, WorkspaceManager};
use usine_model::permission::{PermissionContext, WORKSPACE_CAN_CONFIGURE, WORKSPACE_CAN_DISPLAY};
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
    let mut parents = Vec::with_capacity(body.chain.len().min(InheritanceChain::MAX_LENGTH));
    for element in body.chain.iter().take(InheritanceChain::MAX_LENGTH + 1) {
        parents.push(find(&state, &requester, element).await?);
    }
    let written = set_chain(&state, &requester.context, user.id, (&workspace, scope), parents).await;
    written.map_err(|refusal| match refusal {
        Refusal::Invalid(reason) => ApiError::bad_request("Invalid inheritance chain").detail(reason),
        Refusal::Private(reason) => ApiError::forbidden("Workspace cannot be inherited").detail(reason),
        Refusal::Failed(error) => error,
    })?;
    Ok(Json(present(&state, &requester, &workspace).await?))
}

/// Why a chain is not taken.
pub(crate) enum Refusal {
    /// It makes no sense.
    Invalid(String),
    /// It names a private workspace of another scope.
    Private(String),
    /// Anything else.
    Failed(ApiError),
}

/// Makes these workspaces, which the user may see, the parents of another one, in this order.
pub(crate) async fn set_chain(
    state: &AppState,
    context: &PermissionContext,
    user_id: i64,
    (workspace, scope): (&Workspace, &Scope),
    mut parents: Vec<(Workspace, Scope)>,
) -> Result<(), Refusal> {
    if parents.len() > InheritanceChain::MAX_LENGTH {
        return Err(Refusal::Invalid(format!("a workspace has at most {} parents", InheritanceChain::MAX_LENGTH)));
    }
    let manager = WorkspaceManager(&state.database);
    let failed = |error: usine_db::Error| Refusal::Failed(error.into());
    let present = manager.inheritance(workspace).await.map_err(failed)?;
    for (parent, its_scope) in &parents {
        let is_new = present.iter().all(|(known, _)| known.id != parent.id);
        if is_new && !parent.public && its_scope.id != scope.id {
            let detail = format!("{} is private and in another scope", parent.full_name(its_scope));
            return Err(Refusal::Private(detail));
        }
    }
    // Parents that the user cannot see stay: they could not be named.
    let sees = |(parent, scope): &(Workspace, Scope)| WORKSPACE_CAN_DISPLAY.allows(context, &parent.facts(scope));
    parents.extend(present.into_iter().filter(|parent| !sees(parent)));
    let written = manager.set_inheritance(workspace, scope, &parents, Some(user_id), state.now()).await;
    written.map_err(|error| match error {
        ChainError::Invalid(reason) => Refusal::Invalid(reason),
        ChainError::Database(error) => failed(error),
    })
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
