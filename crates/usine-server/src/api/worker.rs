//! `worker/`: machines register and say what they can do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Value, json};
use usine_db::WorkerManager;
use usine_model::token::TokenKey;
use usine_model::worker::WorkerType;
use usine_protocol::worker::{MAX_FQDN, Register};

use crate::auth::{Requester, presented_key};
use crate::problem::{ApiError, ApiResult, Payload, json_body, parse_body};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new().post("/api/1.0/worker/register/", Access::Key, register).put(
        "/api/1.0/worker/dynamic-metadata/",
        Access::Worker,
        dynamic_metadata,
    )
}

/// A machine introduces itself: with an activation token it may begin at once, without it waits to be enabled.
async fn register(State(state): State<AppState>, parts: Parts, Payload(body): Payload) -> ApiResult<StatusCode> {
    const TITLE: &str = "Cannot deserialize worker";
    let body: Register = parse_body(&body, "worker")?;
    let key: TokenKey =
        body.token.parse().map_err(|error| ApiError::bad_request(TITLE).field("token", format!("{error}")))?;
    if body.fqdn.is_empty() || body.fqdn.chars().count() > MAX_FQDN {
        return Err(
            ApiError::bad_request(TITLE).field("fqdn", format!("Ensure this field has 1 to {MAX_FQDN} characters."))
        );
    }
    let workers = WorkerManager(&state.database);
    let registered = match presented_key(&parts) {
        Some(activation) => {
            let worker = workers.register_with_activation(activation, &key, state.now()).await.map_err(taken)?;
            worker.ok_or_else(|| ApiError::bad_request("Invalid worker activation token"))?
        }
        None if matches!(body.worker_type, WorkerType::External | WorkerType::Signing) => {
            workers.register(&body.fqdn, &key, body.worker_type, state.now()).await.map_err(taken)?
        }
        None => {
            return Err(ApiError::bad_request(TITLE)
                .field("worker_type", format!("a machine cannot register as \"{}\"", body.worker_type)));
        }
    };
    tracing::info!(worker = registered.name, fqdn = body.fqdn, "a worker registered");
    Ok(StatusCode::CREATED)
}

/// A key belongs to one worker: a second registration with it is refused and changes nothing.
fn taken(error: usine_db::Error) -> ApiError {
    match error {
        usine_db::Error::Integrity(_) => ApiError::bad_request("Cannot deserialize worker")
            .field("token", "this token belongs to a worker already; delete the worker's token file to register anew"),
        other => other.into(),
    }
}

/// A worker says what it can do.
async fn dynamic_metadata(
    State(state): State<AppState>,
    requester: Requester,
    Payload(body): Payload,
) -> ApiResult<StatusCode> {
    let mut worker = requester.worker()?.clone();
    match json_body(&body)? {
        Value::Object(metadata) => {
            worker.set_dynamic_metadata(&state.database, metadata, state.now()).await?;
            Ok(StatusCode::NO_CONTENT)
        }
        _ => Err(ApiError::bad_request("Error").detail(json!(["Request data must be a JSON object."]))),
    }
}
