//! Workers before 0.13: they have no key for a work request, and do everything of a task with their own token. While such a
//! worker runs a work request, it is that work request, on every route but those of workers.

use usine_db::WorkRequestManager;
use usine_model::permission::PermissionContext;
use usine_model::token::TokenHash;

use crate::auth::{Identity, context_of_work_request};
use crate::problem::ApiResult;
use crate::state::AppState;

/// Whom an old worker acts for. Anybody else is who they are.
pub async fn acting(
    state: &AppState,
    identity: Identity,
    context: PermissionContext,
) -> ApiResult<(Identity, PermissionContext)> {
    let Identity::Worker(_, token) = &identity else { return Ok((identity, context)) };
    let hash = TokenHash(token.hash.clone());
    match WorkRequestManager(&state.database).running_with_own_token(&hash).await? {
        Some(row) => {
            let context = context_of_work_request(state, &row).await?;
            Ok((Identity::WorkRequest(Box::new(row)), context))
        }
        None => Ok((identity, context)),
    }
}
