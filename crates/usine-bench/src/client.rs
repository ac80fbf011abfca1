//! Simulated clients: they submit `noop`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::http::Connection;
use crate::tally::{Submission, Tally};

/// Where work requests are submitted.
pub(crate) const WORK_REQUESTS: &str = "/api/1.0/work-request/";

/// What is submitted.
pub(crate) const NOOP: &[u8] = br#"{"task_name": "noop", "task_data": {"result": "success"}}"#;

/// Of the answer, what is needed here.
#[derive(Deserialize)]
struct Created {
    id: i64,
}

/// A client with a connection of its own.
pub(crate) struct Client {
    /// The connection.
    pub http: Connection,
    /// The user's token.
    pub token: HeaderValue,
}

impl Client {
    /// Submits one work request, which was due at this moment.
    pub async fn submit(&mut self, due: Instant, tally: &Tally) -> Result<()> {
        let sent = Instant::now();
        let answer = self.http.call(Method::POST, WORK_REQUESTS, Some(&self.token), Bytes::from_static(NOOP)).await?;
        let created: Created = answer.json(StatusCode::OK)?;
        tally.submitted(Submission { id: created.id, due, sent, answered: Instant::now() });
        Ok(())
    }

    /// Submits whenever there is room, until it is told to stop.
    pub async fn keep_submitting(mut self, tally: Arc<Tally>, stop: CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                room = tally.room.acquire() => match room {
                    // The report gives it back.
                    Ok(room) => room.forget(),
                    Err(_) => return Ok(()),
                },
            }
            self.submit(Instant::now(), &tally).await?;
        }
    }
}
