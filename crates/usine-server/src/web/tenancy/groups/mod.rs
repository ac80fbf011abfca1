//! `…/groups/…`: the groups of a scope or a workspace, their members, and what has changed in them.

mod audit;
mod detail;
mod list;
mod member;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use usine_db::GroupManager;
use usine_db::tenancy::Group;
use usine_model::permission::{GROUP_CAN_DISPLAY, GroupFacts, Predicate};

use super::{Tenant, both};
use crate::problem::{ApiError, ApiResult};
use crate::routes::Routes;
use crate::state::AppState;
use crate::web::frame::Frame;
use crate::web::place::missing;

pub(super) fn routes() -> Routes {
    Routes::new().merge(list::routes()).merge(detail::routes()).merge(member::routes()).merge(audit::routes())
}

/// Somebody who has logged in and looks at a group that they may see.
struct InGroup {
    tenant: Tenant,
    group: Group,
}

#[derive(Deserialize)]
struct OfGroup {
    group: String,
}

impl InGroup {
    fn facts(&self) -> GroupFacts {
        self.group.facts(&self.tenant.scope, self.tenant.workspace.as_ref())
    }

    fn may(&self, predicate: &Predicate) -> bool {
        self.tenant.guest.may(predicate, &self.facts())
    }

    /// Refuses what they may not do; `what` ends the sentence "You may not …".
    fn check(&self, predicate: &Predicate, what: &str) -> ApiResult<()> {
        self.tenant.guest.check(predicate, &self.facts(), what)
    }

    fn groups_address(&self) -> String {
        format!("{}groups/", self.tenant.address())
    }

    fn address(&self) -> String {
        super::group_address(&self.tenant.scope, self.tenant.workspace.as_ref(), &self.group)
    }

    /// A frame below the list of groups.
    fn frame(&self, title: impl Into<String>) -> Frame {
        self.tenant.frame(title).below("Groups", self.groups_address())
    }

    /// A frame below the group.
    fn frame_below(&self, title: impl Into<String>) -> Frame {
        self.frame(title).below(&self.group.name, self.address())
    }
}

impl FromRequestParts<AppState> for InGroup {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        let path = Path::<OfGroup>::from_request_parts(parts, state).await;
        let Path(OfGroup { group: name }) = path.map_err(IntoResponse::into_response)?;
        let groups = GroupManager(&state.database);
        let found = groups.get_group_or_none(&tenant.scope, tenant.workspace.as_ref(), &name).await;
        let group = found.map_err(|error| ApiError::from(error).into_response())?;
        let group = group.ok_or_else(|| missing().into_response())?;
        let seen = Self { tenant, group };
        if seen.may(&GROUP_CAN_DISPLAY) { Ok(seen) } else { Err(missing().into_response()) }
    }
}
