//! Messages of the WebSockets: the worker's channel, the log followers, the completion followers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usine_model::token::TokenHash;
use usine_model::work_request::Results;

use crate::time;

/// Reason code that makes a worker wait until it is enabled.
pub const TOKEN_DISABLED: &str = "TOKEN_DISABLED";

/// What the server says. Debian's worker looks at `text` first, then at `reason_code`, and ignores what it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ServerMessage {
    /// A notice.
    #[serde(rename = "websocket.send")]
    Notice(Notice),
    /// The connection is not accepted, and closes.
    #[serde(rename = "connection_rejected")]
    Rejected {
        /// For people.
        reason: String,
        /// For programs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason_code: Option<String>,
    },
    /// The connection closes.
    #[serde(rename = "connection_closed")]
    Closed {
        /// For people.
        reason: String,
        /// For programs.
        reason_code: String,
    },
}

/// The notices, told apart by `text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "text", rename_all = "snake_case")]
pub enum Notice {
    /// The connection is accepted; always first.
    Connected,
    /// Send your metadata.
    RequestDynamicMetadata,
    /// Fetch your next work request.
    WorkRequestAvailable,
    /// Stop working on this one: it is no longer yours. Ours alone; Debian's worker ignores it.
    WorkRequestAborted {
        /// Its id.
        work_request_id: i64,
    },
    /// A work request ended.
    WorkRequestCompleted {
        /// Its id.
        work_request_id: i64,
        /// When.
        #[serde(with = "time")]
        completed_at: DateTime<Utc>,
        /// How.
        result: Results,
    },
}

impl ServerMessage {
    /// The token is missing, unknown, of another kind, or disabled.
    pub fn rejected_worker() -> Self {
        Self::Rejected {
            reason: "No token header, token not associated to a worker or not enabled".to_owned(),
            reason_code: Some(TOKEN_DISABLED.to_owned()),
        }
    }

    /// The token was disabled while connected.
    pub fn token_disabled(hash: &TokenHash) -> Self {
        Self::Closed {
            reason: format!("Token has been disabled (token hash: \"{hash}\")"),
            reason_code: TOKEN_DISABLED.to_owned(),
        }
    }
}

/// Where a line of log comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The worker itself.
    Internal,
}

/// A frame of a live log, as the worker sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerMessage {
    /// A piece of log.
    LogData {
        /// Which work request.
        work_request_id: i64,
        /// Which stream.
        stream: LogStream,
        /// The text.
        data: String,
        /// When it was written.
        #[serde(with = "time")]
        timestamp: DateTime<Utc>,
    },
    /// The end of one command.
    LogDataEnd {
        /// Which work request.
        work_request_id: i64,
        /// Exit code of the command, -1 if it was killed.
        exit_code: i32,
        /// When.
        #[serde(with = "time")]
        timestamp: DateTime<Utc>,
    },
}

/// What a follower of a live log gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogMessage {
    /// Accepted.
    Connected,
    /// A piece of log.
    LogData {
        /// The text.
        data: String,
        /// Which stream.
        stream: LogStream,
        /// When it was written.
        #[serde(with = "time")]
        timestamp: DateTime<Utc>,
    },
    /// The end of one command.
    LogDataEnd {
        /// Exit code of the command, -1 if it was killed.
        exit_code: i32,
        /// When.
        #[serde(with = "time")]
        timestamp: DateTime<Utc>,
    },
    /// Not accepted; the connection closes.
    ConnectionRejected {
        /// For people.
        reason: String,
        /// For programs: `not_found`, `not_running`.
        reason_code: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_look_like_the_originals() {
        let wire = |message: &ServerMessage| serde_json::to_value(message).unwrap();
        assert_eq!(
            wire(&ServerMessage::Notice(Notice::WorkRequestAvailable)),
            json!({"type": "websocket.send", "text": "work_request_available"})
        );
        assert_eq!(
            wire(&ServerMessage::rejected_worker()),
            json!({"type": "connection_rejected", "reason": "No token header, token not associated to a worker or not enabled",
                   "reason_code": "TOKEN_DISABLED"})
        );
        let completed = Notice::WorkRequestCompleted {
            work_request_id: 42,
            completed_at: time::from_text("2026-03-01T10:20:30.123456Z").unwrap(),
            result: Results::Success,
        };
        assert_eq!(
            wire(&ServerMessage::Notice(completed)),
            json!({"type": "websocket.send", "text": "work_request_completed", "work_request_id": 42,
                   "completed_at": "2026-03-01T10:20:30.123456Z", "result": "success"})
        );
    }

    #[test]
    fn log_frames_are_read() {
        let frame = json!({"type": "log_data", "work_request_id": 42, "stream": "stdout", "data": "x\n",
                           "timestamp": "2026-03-01T10:20:31.001002+00:00"});
        assert!(matches!(serde_json::from_value(frame), Ok(WorkerMessage::LogData { work_request_id: 42, .. })));
        assert!(serde_json::from_value::<WorkerMessage>(json!({"type": "log_data", "work_request_id": 42})).is_err());
    }
}
