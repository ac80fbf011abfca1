//! Who is asking: the `Token` and `X-Debusine-Scope` headers and the cookie of a session, read once for each request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use usine_db::account::User;
use usine_db::tenancy::Scope;
use usine_db::{
    PermissionManager, SessionManager, Token, TokenManager, UserManager, WorkRequest, WorkRequestManager, Worker,
};
use usine_model::permission::{Actor, Facts, OwnWorkRequest, PermissionContext, Predicate, SCOPE_CAN_DISPLAY};
use usine_model::token::{TokenType, hash_of};
use usine_model::work_request::Statuses;
use usine_protocol::{SCOPE_HEADER, TOKEN_HEADER};
use usine_tasks::input_artifact_ids;

use crate::memory::Known;
use crate::old_worker;
use crate::problem::{ApiError, ApiResult};
use crate::routes::Access;
use crate::state::AppState;
use crate::web::cookies;

/// Whoever sends a request.
#[derive(Debug, Clone)]
pub struct Requester {
    /// The scope that the request is about.
    pub scope: Scope,
    /// Who it is.
    pub identity: Identity,
    /// What predicates ask.
    pub context: PermissionContext,
    /// What held when the request came.
    pub known: Arc<Known>,
}

/// The kinds of requesters. An unknown, expired or disabled token is nobody's.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// A user's program.
    User(Arc<User>),
    /// A user's browser.
    Session(Arc<User>),
    /// A worker.
    Worker(Arc<Worker>, Arc<Token>),
    /// A worker, for the one work request that it runs.
    WorkRequest(Box<WorkRequest>),
    /// A machine that may register.
    Activation,
    /// Somebody without account.
    External,
}

/// Whoever sends a request that is about no scope.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who it is.
    pub identity: Identity,
    /// What predicates ask.
    pub context: PermissionContext,
    /// What held when the request came.
    pub known: Arc<Known>,
}

impl Visitor {
    /// Whoever sends this request, if the route admits them.
    pub async fn of(state: &AppState, parts: &Parts) -> ApiResult<Self> {
        let known = match presented_key(parts) {
            Some(_) => state.memory.now(&state.database).await?,
            // Of browsers nothing is remembered.
            None => Arc::default(),
        };
        Self::among(state, parts, known).await
    }

    async fn among(state: &AppState, parts: &Parts, known: Arc<Known>) -> ApiResult<Self> {
        let access = parts.extensions.get::<Access>();
        let access = *access.ok_or_else(|| ApiError::Internal("a route does not say who may come in".into()))?;
        let (mut identity, mut context) = identify(state, &known, parts).await?;
        if !access.is_of_workers() {
            (identity, context) = old_worker::acting(state, identity, context).await?;
        }
        if access.admits(&identity) { Ok(Self { identity, context, known }) } else { Err(identity.refusal()) }
    }
}

impl Requester {
    /// Whoever sends this request, about this scope, if the route admits them and they may know of the scope.
    pub async fn of(state: &AppState, parts: &Parts, scope: Scope, known: Arc<Known>) -> ApiResult<Self> {
        let Visitor { identity, context, known } = Visitor::among(state, parts, known).await?;
        // Workers are no tenants: their calls are about no scope. What a work request may see is listed in it. Who has but grants sees
        // of a scope what nobody sees.
        let seen = match context.actor {
            _ if context.work_request.is_some() => true,
            Actor::Worker => true,
            Actor::ExplicitGrantsOnly => SCOPE_CAN_DISPLAY.allows(&PermissionContext::default(), &scope.facts()),
            _ => SCOPE_CAN_DISPLAY.allows(&context, &scope.facts()),
        };
        if seen {
            Ok(Self { scope, identity, context, known })
        } else {
            let text = format!("{} cannot display scope {}", identity.name(), scope.name);
            Err(ApiError::Text(StatusCode::FORBIDDEN, text))
        }
    }

    /// The user whose token it is, or the error that tells what is missing.
    pub fn user(&self) -> ApiResult<&User> {
        match &self.identity {
            Identity::User(user) => Ok(user),
            other => Err(other.refusal()),
        }
    }

    /// The worker, or the error that tells what is missing.
    pub fn worker(&self) -> ApiResult<&Worker> {
        match &self.identity {
            Identity::Worker(worker, _) => Ok(worker),
            other => Err(other.refusal()),
        }
    }

    /// Whether the requester may do this with a resource.
    pub fn may(&self, predicate: &Predicate, resource: &dyn Facts) -> bool {
        predicate.allows(&self.context, resource)
    }

    /// The same; `name` is the resource's, for the error `REQUESTER cannot VERB NAME`.
    pub fn check(&self, predicate: &Predicate, resource: &dyn Facts, name: &str) -> ApiResult<()> {
        if self.may(predicate, resource) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("{} cannot {} {name}", self.identity.name(), predicate.verb)))
    }
}

impl Identity {
    /// The name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::User(user) | Self::Session(user) => user.username.clone(),
            Self::Worker(worker, _) => worker.name.clone(),
            Self::WorkRequest(work_request) => format!("work request {}", work_request.id),
            Self::Anonymous | Self::Activation | Self::External => "AnonymousUser".to_owned(),
        }
    }

    fn refusal(&self) -> ApiError {
        match self {
            Self::Anonymous => ApiError::not_authenticated(),
            _ => ApiError::wrong_token(),
        }
    }
}

/// The key in the `Token` header, as it was sent. One that is not even text is nobody's, like an empty one.
pub fn presented_key(parts: &Parts) -> Option<&str> {
    Some(parts.headers.get(TOKEN_HEADER)?.to_str().unwrap_or_default())
}

/// Who it is by token or session, and what they may do.
async fn identify(state: &AppState, known: &Known, parts: &Parts) -> ApiResult<(Identity, PermissionContext)> {
    let by_token = by_known_key(state, known, presented_key(parts)).await?;
    let session = match cookies::session(&parts.headers) {
        Some(key) => SessionManager(&state.database).user(&key, state.now()).await?,
        None => None,
    };
    match (by_token, session) {
        ((Identity::User(_), _), Some(_)) => Err(ApiError::Text(
            StatusCode::FORBIDDEN,
            "cannot use both Django and user token authentication".to_owned(),
        )),
        ((Identity::Anonymous, _), Some(user)) => {
            let context = PermissionManager(&state.database).context_of(&user).await?;
            Ok((Identity::Session(Arc::new(user)), context))
        }
        (by_token, _) => Ok(by_token),
    }
}

/// Whose key it is, and what they may do.
pub async fn by_key(state: &AppState, key: Option<&str>) -> ApiResult<(Identity, PermissionContext)> {
    by_known_key(state, &*state.memory.now(&state.database).await?, key).await
}

async fn by_known_key(state: &AppState, known: &Known, key: Option<&str>) -> ApiResult<(Identity, PermissionContext)> {
    let Some(hash) = key.map(hash_of) else { return Ok((Identity::Anonymous, PermissionContext::default())) };
    if let Some((token, identity, context)) = known.token(&hash.0)
        && token.expire_at.is_none_or(|expire_at| expire_at >= state.now())
    {
        if TokenManager(&state.database).seen(&token, false, state.now()).await? {
            known.forget_token(&hash.0);
        }
        return Ok((identity, context));
    }
    let Some(token) = TokenManager(&state.database).by_hash(&hash, state.now()).await? else {
        return Ok((Identity::Anonymous, PermissionContext::default()));
    };
    let written = TokenManager(&state.database).seen(&token, false, state.now()).await?;
    let (identity, context) = of_token(state, &token).await?;
    if !written && matches!(identity, Identity::User(_) | Identity::Worker(..)) {
        known.remember_token(token, &identity, &context);
    }
    Ok((identity, context))
}

/// Whose a token is, and what they may do.
async fn of_token(state: &AppState, token: &Token) -> ApiResult<(Identity, PermissionContext)> {
    let nobody = || (Identity::Anonymous, PermissionContext::default());
    let actor = |actor| PermissionContext { actor, ..PermissionContext::default() };
    let database = &state.database;
    if !token.enabled {
        return Ok(nobody());
    }
    let permissions = PermissionManager(database);
    match *token.token_type {
        TokenType::User => {
            let Some(id) = token.user_id else { return Ok(nobody()) };
            let user = UserManager(database).get(id).await?;
            if !user.is_active {
                return Err(ApiError::Text(StatusCode::FORBIDDEN, "user token has an inactive user".to_owned()));
            }
            let context = if token.explicit_grants_only {
                actor(Actor::ExplicitGrantsOnly)
            } else {
                permissions.context_of(&user).await?
            };
            Ok((Identity::User(Arc::new(user)), context))
        }
        TokenType::Worker => Ok(match token.worker(database).await? {
            Some(worker) => (Identity::Worker(Arc::new(worker), Arc::new(token.clone())), actor(Actor::Worker)),
            None => nobody(),
        }),
        TokenType::WorkRequest => {
            let Some(id) = token.work_request_id else { return Ok(nobody()) };
            let row = WorkRequestManager(database).get(id).await?;
            if *row.status != Statuses::Running {
                return Err(ApiError::Text(StatusCode::FORBIDDEN, "work request is not running".to_owned()));
            }
            let context = context_of_work_request(state, &row).await?;
            Ok((Identity::WorkRequest(Box::new(row)), context))
        }
        TokenType::WorkerActivation => Ok((Identity::Activation, actor(Actor::Worker))),
        TokenType::ExternalUser => Ok((Identity::External, actor(Actor::ExplicitGrantsOnly))),
    }
}

/// Who acts for a work request may do what its creator may, as far as it is for that work request.
pub(crate) async fn context_of_work_request(state: &AppState, row: &WorkRequest) -> ApiResult<PermissionContext> {
    let creator = UserManager(&state.database).get(row.created_by_id).await?;
    let inputs = row.dynamic_task_data.as_ref().map(input_artifact_ids).unwrap_or_default();
    let own = OwnWorkRequest { id: row.id, workspace_id: row.workspace_id, inputs: inputs.into_iter().collect() };
    let context = PermissionManager(&state.database).context_of(&creator).await?;
    Ok(PermissionContext { work_request: Some(own), ..context })
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Self::of(state, parts).await
    }
}

impl FromRequestParts<AppState> for Requester {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let header = parts.headers.get(SCOPE_HEADER);
        let name = match header {
            None => state.config.default_scope.clone(),
            Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        let known = state.memory.now(&state.database).await?;
        let scope = known.scope(&state.database, &name).await?;
        let scope = scope.ok_or_else(|| ApiError::Text(StatusCode::NOT_FOUND, format!("Scope {name:?} not found")))?;
        let requester = Self::of(state, parts, scope, known).await?;
        match (header, &requester.context.work_request) {
            // Old workers name no scope. They mean that of the work request.
            (None, Some(own)) => {
                let place = requester.known.place(&state.database, own.workspace_id).await?;
                Ok(Self { scope: place.scope, ..requester })
            }
            _ => Ok(requester),
        }
    }
}
