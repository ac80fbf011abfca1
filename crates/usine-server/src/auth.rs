//! Who is asking: the `Token` and `X-Debusine-Scope` headers, read once for each request.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use usine_db::account::User;
use usine_db::tenancy::Scope;
use usine_db::{ScopeManager, Token, TokenManager, UserManager, WorkRequest, WorkRequestManager, Worker};
use usine_model::token::TokenType;
use usine_model::work_request::Statuses;
use usine_protocol::{SCOPE_HEADER, TOKEN_HEADER};

use crate::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// Whoever sends a request.
#[derive(Debug, Clone)]
pub struct Requester {
    /// The scope that the request is about.
    pub scope: Scope,
    /// Who it is.
    pub identity: Identity,
}

/// The kinds of requesters. An unknown, expired or disabled token is nobody's.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// A user's program.
    User(Box<User>),
    /// A worker.
    Worker(Box<Worker>, Box<Token>),
    /// A worker, for the one work request that it runs.
    WorkRequest(Box<WorkRequest>),
    /// A machine that may register.
    Activation,
    /// Somebody without account.
    External,
}

impl Requester {
    /// The user, or the error that tells what is missing.
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

    /// The name for messages.
    pub fn name(&self) -> String {
        match &self.identity {
            Identity::User(user) => user.username.clone(),
            Identity::Worker(worker, _) => worker.name.clone(),
            Identity::WorkRequest(work_request) => format!("work request {}", work_request.id),
            Identity::Anonymous | Identity::Activation | Identity::External => "AnonymousUser".to_owned(),
        }
    }
}

impl Identity {
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

/// Finds out whose key it is.
pub async fn identify(state: &AppState, key: Option<&str>) -> ApiResult<Identity> {
    let Some(key) = key else { return Ok(Identity::Anonymous) };
    let (database, now) = (&state.database, state.now());
    let tokens = TokenManager(database);
    let Some(token) = tokens.get_token_or_none(key, now).await?.filter(|token| token.enabled) else {
        return Ok(Identity::Anonymous);
    };
    tokens.seen(&token, false, now).await?;
    match *token.token_type {
        TokenType::User => {
            let Some(id) = token.user_id else { return Ok(Identity::Anonymous) };
            let user = UserManager(database).get(id).await?;
            if user.is_active {
                Ok(Identity::User(Box::new(user)))
            } else {
                Err(ApiError::Text(StatusCode::FORBIDDEN, "user token has an inactive user".to_owned()))
            }
        }
        TokenType::Worker => Ok(match token.worker(database).await? {
            Some(worker) => Identity::Worker(Box::new(worker), Box::new(token)),
            None => Identity::Anonymous,
        }),
        TokenType::WorkRequest => {
            let Some(id) = token.work_request_id else { return Ok(Identity::Anonymous) };
            let work_request = WorkRequestManager(database).get(id).await?;
            if *work_request.status == Statuses::Running {
                Ok(Identity::WorkRequest(Box::new(work_request)))
            } else {
                Err(ApiError::Text(StatusCode::FORBIDDEN, "work request is not running".to_owned()))
            }
        }
        TokenType::WorkerActivation => Ok(Identity::Activation),
        TokenType::ExternalUser => Ok(Identity::External),
    }
}

impl FromRequestParts<AppState> for Requester {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let name = match parts.headers.get(SCOPE_HEADER) {
            None => state.config.default_scope.clone(),
            Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        let scope = ScopeManager(&state.database).get_scope_or_none(&name).await?;
        let scope = scope.ok_or_else(|| ApiError::Text(StatusCode::NOT_FOUND, format!("Scope {name:?} not found")))?;
        let identity = identify(state, presented_key(parts)).await?;
        Ok(Self { scope, identity })
    }
}
