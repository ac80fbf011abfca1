//! What the addresses of pages name, looked up for whoever looks: `/SCOPE/` and `/SCOPE/WORKSPACE/…`. What they may not see is not
//! there.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use usine_db::tenancy::Scope;
use usine_db::{ScopeManager, WorkspaceManager};
use usine_model::permission::{SCOPE_CAN_DISPLAY, WORKSPACE_CAN_DISPLAY};

use super::frame::Guest;
use crate::permissions::Place;
use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// Somebody who looks at a scope.
pub(super) struct InScope {
    pub guest: Guest,
    pub scope: Scope,
}

/// Somebody who looks at a workspace, or at something in it.
pub(super) struct InWorkspace {
    pub guest: Guest,
    pub place: Place,
}

/// The answer for what is not there, or not to be seen.
pub(super) fn missing() -> ApiError {
    let text = "There is nothing here, or nothing that you may see.\n";
    ApiError::Text(StatusCode::NOT_FOUND, text.to_owned())
}

impl InScope {
    /// The scope that the address names, if this guest may see it.
    pub async fn seen_by(guest: Guest, state: &AppState, parts: &mut Parts) -> ApiResult<Self> {
        let name = parameter(parts, state, "scope").await?;
        let scope = ScopeManager(&state.database).get_scope_or_none(&name).await?.ok_or_else(missing)?;
        if guest.may(&SCOPE_CAN_DISPLAY, &scope.facts()) { Ok(Self { guest, scope }) } else { Err(missing()) }
    }
}

async fn parameter(parts: &mut Parts, state: &AppState, name: &str) -> ApiResult<String> {
    let parameters = RawPathParams::from_request_parts(parts, state).await;
    let parameters = parameters.map_err(|error| match error {
        RawPathParamsRejection::InvalidUtf8InPathParam(_) => missing(),
        other => ApiError::Internal(Box::new(other)),
    })?;
    let value = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    value.ok_or_else(|| ApiError::Internal(format!("a route has no parameter {name}").into()))
}

impl FromRequestParts<AppState> for InScope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Self::seen_by(Guest::of(state, parts).await?, state, parts).await
    }
}

impl InWorkspace {
    /// The workspace that the address names, if this guest may see it.
    pub async fn seen_by(guest: Guest, state: &AppState, parts: &mut Parts) -> ApiResult<Self> {
        let scope = parameter(parts, state, "scope").await?;
        let workspace = parameter(parts, state, "workspace").await?;
        let place = of_address(state, &guest, &scope, &workspace).await?;
        Ok(Self { guest, place })
    }
}

impl FromRequestParts<AppState> for InWorkspace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Self::seen_by(Guest::of(state, parts).await?, state, parts).await
    }
}

/// The workspace of these names.
pub(super) async fn of_address(state: &AppState, guest: &Guest, scope: &str, workspace: &str) -> ApiResult<Place> {
    let scope = ScopeManager(&state.database).get_scope_or_none(scope).await?.ok_or_else(missing)?;
    let workspace = WorkspaceManager(&state.database).get_workspace_or_none(&scope, workspace).await?;
    let workspace = workspace.filter(|workspace| guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(&scope)));
    Ok(Place { workspace: workspace.ok_or_else(missing)?, scope })
}
