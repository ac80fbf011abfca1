//! Errors of the API: `application/problem+json` (RFC 9457) with the only three keys that Debian's client reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The exact content type; the original's client compares it for equality.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The body of an error. The client breaks on any further key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What went wrong.
    pub title: String,
    /// More about it: text, list or object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
    /// The wrong fields and what is wrong with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_errors: Option<Map<String, Value>>,
}

impl Problem {
    /// Only a title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Adds a detail.
    pub fn detail(mut self, detail: impl Into<Value>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds one error of one field.
    pub fn field(mut self, field: &str, message: impl Into<String>) -> Self {
        let errors = self.validation_errors.get_or_insert_default();
        let list = errors.entry(field).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = list {
            messages.push(Value::String(message.into()));
        }
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)?;
        match &self.detail {
            Some(Value::String(text)) => write!(f, ": {text}")?,
            Some(other) => write!(f, ": {other}")?,
            None => {}
        }
        if let Some(errors) = &self.validation_errors {
            write!(f, " {}", Value::Object(errors.clone()))?;
        }
        Ok(())
    }
}
