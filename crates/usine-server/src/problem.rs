//! Errors on their way out: `application/problem+json`, or plain text where the original answers so.

use axum::Json;
use axum::body::{BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usine_protocol::problem::{CONTENT_TYPE, Problem};

/// An answer that is not a success.
#[derive(Debug)]
pub enum ApiError {
    /// problem+json.
    Problem(StatusCode, Box<Problem>),
    /// Plain text, where the original answers so.
    Text(StatusCode, String),
    /// Our fault: logged, and told without details.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// A problem with this status and title.
    pub fn new(status: StatusCode, title: impl Into<String>) -> Self {
        Self::Problem(status, Box::new(Problem::new(title)))
    }

    /// 400 with a title.
    pub fn bad_request(title: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title)
    }

    /// 404 with a title.
    pub fn not_found(title: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, title)
    }

    /// 503: the server has its hands full.
    pub fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable").detail(detail)
    }

    /// 403 with a title.
    pub fn forbidden(title: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, title)
    }

    /// The answer to a request that needs a token and has none that works.
    pub fn not_authenticated() -> Self {
        Self::forbidden("Error").detail("Authentication credentials were not provided.")
    }

    /// The answer to a valid token of the wrong kind.
    pub fn wrong_token() -> Self {
        Self::forbidden("Error").detail("You do not have permission to perform this action.")
    }

    /// Adds a detail.
    pub fn detail(self, detail: impl Into<Value>) -> Self {
        self.map(|problem| problem.detail(detail))
    }

    /// Adds one error of one field.
    pub fn field(self, field: &str, message: impl Into<String>) -> Self {
        self.map(|problem| problem.field(field, message))
    }

    fn map(self, change: impl FnOnce(Problem) -> Problem) -> Self {
        match self {
            Self::Problem(status, problem) => Self::Problem(status, Box::new(change(*problem))),
            other => other,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(status, problem) => {
                let mut response = (status, Json(problem)).into_response();
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
                response
            }
            Self::Text(status, text) => (status, text).into_response(),
            Self::Internal(error) => {
                let mut causes = error.to_string();
                let mut source = error.source();
                while let Some(cause) = source {
                    causes.push_str(&format!(": {cause}"));
                    source = cause.source();
                }
                tracing::error!(error = %causes, "a request failed inside the server");
                let (status, title, detail) = match error.downcast_ref::<usine_db::Error>() {
                    // 503 makes the client try again, which is safe: nothing was changed.
                    Some(usine_db::Error::StillBusy { .. } | usine_db::Error::Unreachable(_)) => (
                        StatusCode::SERVICE_UNAVAILABLE,
                        "Error",
                        "The database does not answer at present; try again.",
                    ),
                    Some(usine_db::Error::NoSpace(_)) => (
                        StatusCode::INSUFFICIENT_STORAGE,
                        "The server's disk is full",
                        "Nothing was changed. Ask the administrator to free some space, and try again.",
                    ),
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "Error", "The server failed; its log says why."),
                };
                let mut response = Self::new(status, title).detail(detail).into_response();
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                }
                response
            }
        }
    }
}

impl From<usine_db::Error> for ApiError {
    fn from(error: usine_db::Error) -> Self {
        match error {
            usine_db::Error::DoesNotExist { kind, .. } => {
                Self::not_found(format!("No {kind} matches the given query."))
            }
            usine_db::Error::Invalid(reason) => Self::bad_request("Error").detail(reason),
            usine_db::Error::StatusChange(error) => Self::bad_request("Error").detail(error.to_string()),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

/// Largest body of most requests that are no uploads, in bytes.
const MAX_BODY: usize = 2 << 20;

/// Most bytes of a refused body that are read before the answer.
const MAX_DRAINED: usize = 64 << 20;

/// The body of a request, of at most `MAX` bytes. One that is too large, or breaks off, is answered as every other error.
#[derive(Debug)]
pub struct Payload<const MAX: usize = MAX_BODY>(pub Bytes);

impl<S: Send + Sync, const MAX: usize> FromRequest<S> for Payload<MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let mut body = request.into_body().into_data_stream();
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| ApiError::bad_request("Error").detail(error.to_string()))?;
            if bytes.len() + piece.len() > MAX {
                drain(&mut body).await;
                let detail = format!("The body has more than {MAX} bytes");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Error").detail(detail));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Self(bytes.freeze()))
    }
}

/// Reads the rest of a refused body: clients read the answer when they have sent everything, and a connection closed
/// earlier would hide it from them.
pub async fn drain(body: &mut BodyDataStream) {
    let mut drained = 0;
    while drained < MAX_DRAINED
        && let Some(Ok(piece)) = body.next().await
    {
        drained += piece.len();
    }
}

/// Reads a JSON body. A wrong one is answered with `Cannot deserialize THING` and the path of the wrong field.
pub fn parse_body<T: DeserializeOwned>(body: &Bytes, thing: &str) -> ApiResult<T> {
    parse_value(json_body(body)?, &format!("Cannot deserialize {thing}"))
}

/// Reads a JSON body of any shape. The character NUL is refused here for all: PostgreSQL stores it neither in texts nor in
/// JSON.
pub fn json_body(body: &Bytes) -> ApiResult<Value> {
    let value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request("Error").detail(format!("JSON parse error - {error}")))?;
    if has_nul(&value) {
        return Err(ApiError::bad_request("Error").detail(json!(["Null characters are not allowed."])));
    }
    Ok(value)
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(entries) => entries.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Reads a JSON object into a type; `title` tells what could not be done otherwise.
pub fn parse_value<T: DeserializeOwned>(value: Value, title: &str) -> ApiResult<T> {
    // Serde would take a list of the fields' values as well.
    if !value.is_object() {
        return Err(ApiError::bad_request(title).field("non_field_errors", "Invalid data. Expected a dictionary."));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner().to_string();
        let (field, message) = match missing_field(&inner) {
            Some(name) if path == "." => (name.to_owned(), "This field is required.".to_owned()),
            Some(name) => (format!("{path}.{name}"), "This field is required.".to_owned()),
            None if path == "." => ("non_field_errors".to_owned(), inner),
            None => (path, inner),
        };
        ApiError::bad_request(title).field(&field, message)
    })
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}
