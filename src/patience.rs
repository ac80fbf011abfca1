//! Patience with a server that is away for a while, after it has answered once.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use usine_client::Error;

/// How long a call is repeated: longer than a server takes to be upgraded and started anew.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long to wait before the next try, and the longest wait that a server can ask for.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Repeats a call as long as its error `may_pass`, for at most ten minutes; the last error otherwise.
pub async fn patiently<T>(
    may_pass: impl Fn(&Error) -> bool,
    call: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    let (usual, longest) = AGAIN;
    loop {
        match call().await {
            Err(error) if may_pass(&error) && Instant::now() < deadline => {
                tracing::warn!("{error}; trying again");
                sleep(error.retry_after().unwrap_or(usual).min(longest)).await;
            }
            settled => return settled,
        }
    }
}

/// Whether the server has most likely not seen the call. For calls that must not be made twice without need.
pub fn was_hardly_seen(error: &Error) -> bool {
    matches!(error, Error::Connect { .. }) || matches!(error.status(), Some(429 | 503))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn error(status: Option<u16>) -> Error {
        let url = "http://server.example.org/api/".to_owned();
        match status {
            Some(status) => Error::UnexpectedStatus { status, url, retry_after: Some(Duration::ZERO) },
            None => Error::Timeout { url },
        }
    }

    /// A call that fails so, then succeeds; the outcome and how often it was made.
    async fn outcome(may_pass: fn(&Error) -> bool, status: u16) -> (Result<u8, Option<u16>>, u8) {
        let calls = Cell::new(0);
        let answer = patiently(may_pass, async || {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(error(Some(status))) } else { Ok(7) }
        });
        (answer.await.map_err(|error| error.status()), calls.get())
    }

    #[tokio::test]
    async fn what_passes_is_waited_for() {
        assert_eq!(outcome(Error::is_transient, 502).await, (Ok(7), 3));
        assert_eq!(outcome(Error::is_transient, 404).await, (Err(Some(404)), 1), "this one stays");
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not_done_twice() {
        assert_eq!(outcome(was_hardly_seen, 503).await, (Ok(7), 3));
        assert_eq!(outcome(was_hardly_seen, 502).await, (Err(Some(502)), 1));
        assert!(!was_hardly_seen(&error(None)), "it may have heard us and not answered");
    }
}
