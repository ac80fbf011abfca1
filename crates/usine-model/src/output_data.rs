//! What a work request leaves behind besides artifacts: statistics, errors, reasons.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The output data of a work request. Only what was set is stored and sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputData {
    /// What the run cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_statistics: Option<RuntimeStatistics>,
    /// Why the task could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<OutputError>>,
    /// Why there was nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,
    /// Comparison with an earlier run, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression_analysis: Option<Map<String, Value>>,
    /// A person's answer to a wait task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
}

impl OutputData {
    /// Output data of one error.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        let error = OutputError { message: message.into(), code: code.to_owned() };
        Self { errors: Some(vec![error]), ..Self::default() }
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Key by key, what `newer` sets wins.
    pub fn merge(self, newer: Self) -> Self {
        Self {
            runtime_statistics: newer.runtime_statistics.or(self.runtime_statistics),
            errors: newer.errors.or(self.errors),
            skip_reason: newer.skip_reason.or(self.skip_reason),
            regression_analysis: newer.regression_analysis.or(self.regression_analysis),
            confirmation: newer.confirmation.or(self.confirmation),
        }
    }
}

/// One error of a work request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputError {
    /// For people.
    pub message: String,
    /// For programs, such as `setup-failed`.
    pub code: String,
}

/// A person's answer to a wait task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Yes or no.
    pub confirmed: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What a run cost: seconds and bytes, each only if it was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeStatistics {
    /// Seconds, whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
    /// Seconds to fetch and prepare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_setup: Option<i64>,
    /// Seconds of the commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_run: Option<i64>,
    /// Seconds to check, upload and clean up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_teardown: Option<i64>,
    /// Seconds of user and system CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<i64>,
    /// Bytes, maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_space: Option<i64>,
    /// Bytes, maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_received: Option<i64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_sent: Option<i64>,
    /// Bytes, at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_disk_space: Option<i64>,
    /// Bytes, at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_memory: Option<i64>,
    /// Number of CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<i64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newer_key_wins() {
        let old = OutputData { skip_reason: Some("old".into()), ..OutputData::error("a", "first") };
        let merged = old.merge(OutputData::error("b", "second"));
        assert_eq!(
            serde_json::to_value(&merged).unwrap(),
            json!({"errors": [{"message": "second", "code": "b"}], "skip_reason": "old"})
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_value::<OutputData>(json!({"surprise": 1})).is_err());
        assert!(serde_json::from_value::<OutputData>(json!({"runtime_statistics": {"duration": 61}})).is_ok());
    }
}
