//! SIGTERM and SIGINT as cancellation: the first one asks, the second one insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals have said so far.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// The first signal: finish what you are doing.
    pub drain: CancellationToken,
    /// The second signal: stop at once.
    pub abort: CancellationToken,
}

/// Listens for SIGTERM and SIGINT from now on.
pub fn listen() -> std::io::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = Stop::default();
    let told = stop.clone();
    tokio::spawn(async move {
        for token in [&told.drain, &told.abort] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(stop)
}
