//! What the server uses: memory and CPU, at rest and under load, with nothing and with much in the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::above_zero;
use crate::crew::Crew;
use crate::load::{Load, Queue, Reading, cpu_share};
use crate::measure::{Sheet, megabytes};
use crate::site::Site;
use crate::tally::Tally;
use crate::{Ground, Measure, Place, Result, Target, fill, worker};

/// Megabytes, with all workers and everything stored.
const TARGET: f64 = 100.0;

/// How much there is, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Memory {
    /// Work requests that are stored
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    pub stored: usize,
    /// Connected workers
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub workers: usize,
    /// Seconds of rest, and of load
    #[arg(long, value_parser = above_zero, default_value_t = 10.0)]
    pub seconds: f64,
    /// Connections that submit
    #[arg(long, value_name = "NUMBER", default_value_t = 32)]
    pub clients: usize,
}

impl Memory {
    /// Measures, with an empty database and a full one.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let site = Site::new(ground, place).await?;
        let mut measures = self.nothing(&site).await?;
        let stored = fill::history(&site, self.stored).await?;
        measures.extend(self.everything(&site, stored).await?);
        site.remove().await?;
        Ok(measures)
    }

    /// Nothing stored, nobody connected.
    pub(crate) async fn nothing(&self, site: &Site) -> Result<Vec<Measure>> {
        let server = site.serve().await?;
        sleep(Duration::from_secs_f64(self.seconds / 2.0)).await;
        let begin = Reading::take(&server)?;
        sleep(Duration::from_secs_f64(self.seconds)).await;
        let end = Reading::take(&server)?;
        server.stop().await?;
        let mut sheet = Sheet::new("memory", site.place.name(), "nothing stored, no workers");
        sheet.note("memory at rest", megabytes(end.server.resident), "MB");
        sheet.note("CPU at rest", cpu_share(&begin, &end), "%");
        Ok(sheet.measures)
    }

    /// All workers connected; so much is stored.
    pub(crate) async fn everything(&self, site: &Site, stored: usize) -> Result<Vec<Measure>> {
        let case = format!("{stored} stored, {} workers", self.workers);
        let mut sheet = Sheet::new("memory", site.place.name(), case);
        let target = Some(Target::AtMost(TARGET));

        let server = site.serve().await?;
        let mut crew = Crew::default();
        let tally = Arc::new(Tally::new(0));
        for worker in worker::enrol(site, server.address, self.workers).await? {
            crew.spawn(worker.work(Arc::clone(&tally), crew.stop.clone()));
        }
        let pause = Duration::from_secs_f64(self.seconds);
        crew.work_for(pause / 2).await?;
        let begin = Reading::take(&server)?;
        crew.work_for(pause).await?;
        let end = Reading::take(&server)?;
        worker::dismiss(crew, server.address).await?;
        server.stop().await?;
        sheet.aim("memory at rest", megabytes(end.server.resident), "MB", target);
        sheet.note("CPU at rest", cpu_share(&begin, &end), "%");

        let server = site.serve().await?;
        let load = Load {
            workers: self.workers,
            clients: self.clients,
            warm_up: 2.0_f64.min(self.seconds),
            seconds: self.seconds,
            queue: Queue::Own,
        };
        let run = load.run(site, &server)?;
        let peak = server.usage()?.peak;
        server.stop().await?;
        site.check(stored + run.account.pairs.len(), 0).await?;
        sheet.aim("most memory under load", megabytes(peak), "MB", target);
        sheet.note("CPU under load", cpu_share(&run.begin, &run.end), "%");
        sheet.note("work requests, end to end", run.rate(), "/s");
        Ok(sheet.measures)
    }
}
