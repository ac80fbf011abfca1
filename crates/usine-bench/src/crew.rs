//! The tasks that make the load: the first one that fails ends the measurement.

use std::future::Future;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// Runs a load on one thread of its own: on several, the generator would spend much of the machine's time on waking them.
pub(crate) fn on_one_thread<T>(load: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("cannot start the generator"))?;
    // It must end where waiting is allowed, too.
    tokio::task::block_in_place(move || runtime.block_on(load))
}

/// Tasks that go on until they are told to stop, or have done what they had to.
#[derive(Default)]
pub(crate) struct Crew {
    tasks: JoinSet<Result<()>>,
    /// Tells all of them to stop.
    pub stop: CancellationToken,
}

impl Crew {
    /// Adds one.
    pub fn spawn(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Does something else for as long as all are well.
    pub async fn watch<T>(&mut self, other: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = other => done,
            Some(ended) = self.tasks.join_next() => {
                outcome(ended)?;
                Err(Error::Inconsistent("a simulated worker or client has ended before it was told to".to_owned()))
            }
        }
    }

    /// Waits for as long as all are well.
    pub async fn work_for(&mut self, time: Duration) -> Result<()> {
        let pause = async {
            tokio::time::sleep(time).await;
            Ok(())
        };
        self.watch(pause).await
    }

    /// Tells all to stop, and waits for them.
    pub async fn dismiss(self) -> Result<()> {
        self.stop.cancel();
        self.finish().await
    }

    /// Waits until all have ended by themselves.
    pub async fn finish(mut self) -> Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            outcome(ended)?;
        }
        Ok(())
    }
}

fn outcome(ended: Result<Result<()>, JoinError>) -> Result<()> {
    ended.unwrap_or_else(|error| Err(Error::Inconsistent(format!("a task of the generator has failed: {error}"))))
}
