//! Pages of those who share a scope or a workspace: members, groups, roles, settings. Scopes and workspaces have the same pages of
//! groups and roles, below `/SCOPE/-/` and `/SCOPE/WORKSPACE/`.
//!
//! All of it is for users who have logged in. What one may not see is not there; what one may not do has no button, and is refused.

mod groups;
mod inheritance;
pub(super) mod markdown;
mod members;
pub(in crate::web) mod options;
pub(super) mod pieces;
mod roles;
mod settings;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use usine_db::UserManager;
use usine_db::account::User;
use usine_db::tenancy::{Group, Scope, Workspace};
use usine_model::names;
use usine_model::permission::{Predicate, WORKSPACE_CAN_CONFIGURE, WORKSPACE_CAN_DISPLAY};

pub(crate) use markdown::markdown;
pub(super) use options::{Link, of_group, of_scope, of_user, of_workspace};

use super::frame::{Frame, Guest, LoggedIn};
use super::place::{InScope, InWorkspace};
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;

/// Adds one handler twice: for scopes, and for workspaces.
macro_rules! both {
    ($routes:expr, $method:ident, $path:literal, $handler:expr) => {
        $routes.$method(concat!("/{scope}/-/", $path), crate::routes::Access::Login, $handler).$method(
            concat!("/{scope}/{workspace}/", $path),
            crate::routes::Access::Login,
            $handler,
        )
    };
}
use both;

pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(members::routes())
        .merge(groups::routes())
        .merge(roles::routes())
        .merge(settings::routes())
        .merge(inheritance::routes())
}

/// Somebody who has logged in and looks at what belongs to a scope, or to a workspace.
struct Tenant {
    guest: Guest,
    user: User,
    scope: Scope,
    workspace: Option<Workspace>,
}

impl Tenant {
    /// `/SCOPE/-/` or `/SCOPE/WORKSPACE/`: what the addresses of its groups and roles begin with.
    fn address(&self) -> String {
        address_of(&self.scope, self.workspace.as_ref())
    }

    /// `SCOPE`, or `SCOPE/WORKSPACE`.
    fn name(&self) -> String {
        self.workspace.as_ref().map_or_else(|| self.scope.name.clone(), |workspace| workspace.full_name(&self.scope))
    }

    /// What it is, in words.
    fn kind(&self) -> &'static str {
        if self.workspace.is_some() { "workspace" } else { "scope" }
    }

    /// The workspace as a place, if it is one.
    fn place(&self) -> Option<Place> {
        let workspace = self.workspace.clone()?;
        Some(Place { workspace, scope: self.scope.clone() })
    }

    /// A frame with this title, below the scope or the workspace.
    fn frame(&self, title: impl Into<String>) -> Frame {
        let frame = self.guest.frame(title);
        match self.place() {
            Some(place) => frame.inside(&place),
            None => frame.below(&self.scope.name, format!("/{}/", self.scope.name)),
        }
    }

    /// Whether they may do what the first says with a scope, and the second with a workspace.
    fn may(&self, of_scope: &Predicate, of_workspace: &Predicate) -> bool {
        match &self.workspace {
            None => self.guest.may(of_scope, &self.scope.facts()),
            Some(workspace) => self.guest.may(of_workspace, &workspace.facts(&self.scope)),
        }
    }

    /// The same; `what` ends the sentence "You may not …".
    fn check(&self, of_scope: &Predicate, of_workspace: &Predicate, what: &str) -> ApiResult<()> {
        match &self.workspace {
            None => self.guest.check(of_scope, &self.scope.facts(), what),
            Some(workspace) => self.guest.check(of_workspace, &workspace.facts(&self.scope), what),
        }
    }

    /// Whether they may see a workspace of this scope.
    fn sees(&self, workspace: &Workspace) -> bool {
        self.guest.may(&WORKSPACE_CAN_DISPLAY, &workspace.facts(&self.scope))
    }

    /// The group as a link, for somebody who may see it.
    fn link_to(&self, group: &Group, workspace: Option<&Workspace>) -> Link {
        let hidden = match workspace {
            Some(workspace) => !self.sees(workspace),
            None => group.workspace_id.is_some(),
        };
        if hidden {
            let name = format!("group {} of a workspace that you may not see", group.id);
            return Link { name, address: None };
        }
        let name =
            workspace.map_or_else(|| group.name.clone(), |workspace| format!("{}/{}", workspace.name, group.name));
        Link { name, address: Some(group_address(&self.scope, workspace, group)) }
    }
}

impl FromRequestParts<AppState> for Tenant {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let LoggedIn { guest, user } = LoggedIn::from_request_parts(parts, state).await?;
        let parameters = RawPathParams::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        if parameters.iter().any(|(name, _)| name == "workspace") {
            let seen = InWorkspace::seen_by(guest, state, parts).await.map_err(IntoResponse::into_response)?;
            let InWorkspace { guest, place: Place { workspace, scope } } = seen;
            return Ok(Self { guest, user, scope, workspace: Some(workspace) });
        }
        let seen = InScope::seen_by(guest, state, parts).await.map_err(IntoResponse::into_response)?;
        let InScope { guest, scope } = seen;
        Ok(Self { guest, user, scope, workspace: None })
    }
}

/// Somebody who has logged in and may change the settings of a workspace.
struct Configured {
    guest: Guest,
    user: User,
    place: Place,
}

impl FromRequestParts<AppState> for Configured {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let LoggedIn { guest, user } = LoggedIn::from_request_parts(parts, state).await?;
        let seen = InWorkspace::seen_by(guest, state, parts).await.map_err(IntoResponse::into_response)?;
        let InWorkspace { guest, place } = seen;
        let what = format!("change the settings of {}", place.name());
        let may = guest.check(&WORKSPACE_CAN_CONFIGURE, &place.workspace.facts(&place.scope), &what);
        may.map_err(IntoResponse::into_response)?;
        Ok(Self { guest, user, place })
    }
}

fn address_of(scope: &Scope, workspace: Option<&Workspace>) -> String {
    match workspace {
        None => format!("/{}/-/", scope.name),
        Some(workspace) => format!("/{}/{}/", scope.name, workspace.name),
    }
}

/// The page of a group. That of everybody in a scope is the page of the scope's members.
pub(super) fn group_address(scope: &Scope, workspace: Option<&Workspace>, group: &Group) -> String {
    let base = address_of(scope, workspace);
    if group.system { format!("{base}members/") } else { format!("{base}groups/{}/", group.name) }
}

/// The user of this name. What cannot be a name is not looked for: PostgreSQL refuses some of it.
pub(super) async fn find_user(state: &AppState, name: &str) -> ApiResult<Option<User>> {
    if !names::is_valid_username(name) {
        return Ok(None);
    }
    Ok(UserManager(&state.database).get_user_or_none(name).await?)
}
