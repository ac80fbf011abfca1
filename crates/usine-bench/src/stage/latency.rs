//! How long it takes from a submission to the notice on a worker's channel, when work requests come at a given rate.

use std::sync::Arc;
use std::time::Duration;

use super::above_zero;
use crate::client::Client;
use crate::crew::{Crew, on_one_thread};
use crate::http::Connection;
use crate::measure::{Sheet, percentile};
use crate::server::Server;
use crate::site::Site;
use crate::tally::{Account, Report, Submission, Tally};
use crate::timetable::Timetable;
use crate::{Error, Ground, Measure, Place, Result, Target, worker};

/// A rate at which the server is as good as idle, per second.
const AT_REST: f64 = 20.0;

/// Milliseconds from submission to notice, for 99 of 100.
const TARGET: f64 = 50.0;

/// How many workers, how fast, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Latency {
    /// Connected workers
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub workers: usize,
    /// Work requests per second, one measurement each [default: 20, and half of the target of `throughput`]
    #[arg(long = "rate", value_name = "NUMBERS", value_parser = above_zero, value_delimiter = ',')]
    pub rates: Vec<f64>,
    /// Seconds that count
    #[arg(long, value_parser = above_zero, default_value_t = 20.0)]
    pub seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", value_parser = above_zero, default_value_t = 3.0)]
    pub warm_up: f64,
    /// Connections that submit: more than ever wait for an answer
    #[arg(long, value_name = "NUMBER", default_value_t = 256)]
    pub clients: usize,
}

impl Latency {
    /// Measures, with a fresh database for each rate.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let half = place.target_rate() / 2.0;
        let rates = if self.rates.is_empty() { vec![AT_REST, half] } else { self.rates.clone() };
        let mut measures = Vec::new();
        for rate in rates {
            let site = Site::new(ground, place).await?;
            let server = site.serve().await?;
            let run = on_one_thread(self.load(&site, &server, rate))?;
            server.stop().await?;
            site.check(run.total, 0).await?;
            site.remove().await?;

            let case = format!("{} workers, {rate} work requests/s", self.workers);
            let mut sheet = Sheet::new("latency", place.name(), case);
            let target = (rate <= half).then_some(Target::AtMost(TARGET));
            run.note(&mut sheet, target);
            measures.append(&mut sheet.measures);
        }
        Ok(measures)
    }

    async fn load(&self, site: &Site, server: &Server, rate: f64) -> Result<Run> {
        let mut crew = Crew::default();
        let tally = Arc::new(Tally::new(0));
        for worker in worker::enrol(site, server.address, self.workers).await? {
            crew.spawn(worker.work(Arc::clone(&tally), crew.stop.clone()));
        }
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(Client { http: Connection::open(server.address).await?, token: site.token.clone() });
        }
        let timetable = Arc::new(Timetable::new(rate, self.warm_up + self.seconds));
        let mut submitting = Crew::default();
        for client in clients {
            submitting.spawn(keep_to(client, Arc::clone(&timetable), Arc::clone(&tally)));
        }
        crew.watch(submitting.finish()).await?;
        crew.watch(tally.drain()).await?;
        worker::dismiss(crew, server.address).await?;

        let Account { pairs, open, .. } = tally.account(|_| false)?;
        if open > 0 {
            return Err(Error::Inconsistent(format!("{open} work requests were never reported")));
        }
        let total = pairs.len();
        let begin = timetable.start + Duration::from_secs_f64(self.warm_up);
        Ok(Run { total, pairs: pairs.into_iter().filter(|(submission, _)| submission.due >= begin).collect() })
    }
}

/// Submits what is due next until all is submitted.
async fn keep_to(mut client: Client, timetable: Arc<Timetable>, tally: Arc<Tally>) -> Result<()> {
    while let Some(due) = timetable.next().await {
        client.submit(due, &tally).await?;
    }
    Ok(())
}

/// What came of one run.
struct Run {
    pairs: Vec<(Submission, Report)>,
    /// Submitted and reported in all.
    total: usize,
}

impl Run {
    fn note(&self, sheet: &mut Sheet, target: Option<Target>) {
        let times = |of: fn(&Submission, &Report) -> Duration| -> Vec<Duration> {
            self.pairs.iter().map(|(submission, report)| of(submission, report)).collect()
        };
        let mut sent = times(|submission, report| report.noticed.saturating_duration_since(submission.sent));
        sheet.note("submission to notice, p50", percentile(&mut sent, 0.5), "ms");
        sheet.aim("submission to notice, p99", percentile(&mut sent, 0.99), "ms", target);
        // A notice may overtake the answer.
        let mut answered = times(|submission, report| report.noticed.saturating_duration_since(submission.answered));
        sheet.note("answer to notice, p50", percentile(&mut answered, 0.5), "ms");
        sheet.note("answer to notice, p99", percentile(&mut answered, 0.99), "ms");
        // A generator that is late measures a lower rate than it says.
        let mut late = times(|submission, _| submission.sent - submission.due);
        sheet.note("lateness of the generator, p99", percentile(&mut late, 0.99), "ms");
    }
}
