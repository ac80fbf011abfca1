//! The load of most measurements: workers that never wait for work, and clients that make more of it as it gets done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::crew::{Crew, on_one_thread};
use crate::http::Connection;
use crate::measure::milliseconds;
use crate::process::Usage;
use crate::server::Server;
use crate::site::Site;
use crate::tally::{Account, Tally};
use crate::{Error, Result, worker};

/// Who makes the load, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Simulated workers.
    pub workers: usize,
    /// Connections that submit.
    pub clients: usize,
    /// Seconds before those that count.
    pub warm_up: f64,
    /// Seconds that count.
    pub seconds: f64,
    /// What the workers find.
    pub queue: Queue,
}

/// What is there to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Only what the clients submit: so much that no worker waits, and no more.
    Own,
    /// Work requests that were there before, up to this id; the clients replace what gets done. The rest stays.
    Stored(i64),
}

impl Load {
    /// Makes the load, and checks that nothing was lost or done twice.
    pub fn run(&self, site: &Site, server: &Server) -> Result<Run> {
        on_one_thread(self.make(site, server))
    }

    async fn make(&self, site: &Site, server: &Server) -> Result<Run> {
        let mut crew = Crew::default();
        let tally = Arc::new(Tally::new(match self.queue {
            Queue::Own => 4 * self.workers + 64,
            Queue::Stored(_) => 0,
        }));
        for worker in worker::enrol(site, server.address, self.workers).await? {
            crew.spawn(worker.work(Arc::clone(&tally), crew.stop.clone()));
        }
        let mut clients = Crew::default();
        for _ in 0..self.clients {
            let client = Client { http: Connection::open(server.address).await?, token: site.token.clone() };
            clients.spawn(client.keep_submitting(Arc::clone(&tally), clients.stop.clone()));
        }
        let measured = clients.watch(crew.watch(async {
            tokio::time::sleep(Duration::from_secs_f64(self.warm_up)).await;
            let begin = Reading::take(server)?;
            tokio::time::sleep(Duration::from_secs_f64(self.seconds)).await;
            Ok((begin, Reading::take(server)?))
        }));
        let (begin, end) = measured.await?;
        clients.dismiss().await?;
        let last_stored = match self.queue {
            Queue::Own => {
                crew.watch(tally.drain()).await?;
                0
            }
            Queue::Stored(last) => last,
        };
        worker::dismiss(crew, server.address).await?;
        let account = tally.account(|id| id <= last_stored)?;
        if self.queue == Queue::Own && account.open > 0 {
            return Err(Error::Inconsistent(format!("{} work requests were never reported", account.open)));
        }
        Ok(Run { count: tally.count_between(begin.at, end.at), begin, end, account })
    }
}

/// What the server and the generator have used, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub at: Instant,
    pub server: Usage,
    pub generator: Usage,
}

impl Reading {
    /// Now.
    pub fn take(server: &Server) -> Result<Self> {
        Ok(Self { at: Instant::now(), server: server.usage()?, generator: Usage::of(std::process::id())? })
    }
}

/// How much of one CPU the server has used between the two, in percent.
pub(crate) fn cpu_share(begin: &Reading, end: &Reading) -> f64 {
    100.0 * (end.server.cpu - begin.server.cpu).as_secs_f64() / (end.at - begin.at).as_secs_f64()
}

/// What came of it.
pub(crate) struct Run {
    pub begin: Reading,
    pub end: Reading,
    /// Reported between the two.
    pub count: usize,
    /// All that was submitted and reported.
    pub account: Account,
}

impl Run {
    /// Work requests per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / (self.end.at - self.begin.at).as_secs_f64()
    }

    /// Milliseconds of the server's CPU for each work request.
    pub fn server_cost(&self) -> f64 {
        self.cost(|reading| reading.server)
    }

    /// Milliseconds of the generator's CPU for each work request.
    pub fn generator_cost(&self) -> f64 {
        self.cost(|reading| reading.generator)
    }

    fn cost(&self, of: fn(&Reading) -> Usage) -> f64 {
        milliseconds(of(&self.end).cpu - of(&self.begin).cpu) / self.count.max(1) as f64
    }
}
