//! How many work requests go from end to end in a second: submitted, assigned, taken, reported.

use super::above_zero;
use crate::load::{Load, Queue};
use crate::measure::{Sheet, counted, megabytes};
use crate::site::Site;
use crate::{Ground, Measure, Place, Result, Target};

/// How many workers, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Throughput {
    /// Numbers of workers, one measurement each
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,10,100,1000")]
    pub workers: Vec<usize>,
    /// Seconds that count
    #[arg(long, value_parser = above_zero, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", value_parser = above_zero, default_value_t = 3.0)]
    pub warm_up: f64,
    /// Connections that submit
    #[arg(long, value_name = "NUMBER", default_value_t = 32)]
    pub clients: usize,
}

/// What the target is for.
const TARGET_WORKERS: usize = 100;

impl Throughput {
    /// Measures, with a fresh database for each number of workers.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let mut measures = Vec::new();
        for &workers in &self.workers {
            let site = Site::new(ground, place).await?;
            let server = site.serve().await?;
            let load = Load {
                workers,
                clients: self.clients,
                warm_up: self.warm_up,
                seconds: self.seconds,
                queue: Queue::Own,
            };
            let run = load.run(&site, &server)?;
            server.stop().await?;
            site.check(run.account.pairs.len(), 0).await?;
            site.remove().await?;

            let mut sheet = Sheet::new("throughput", place.name(), counted(workers, "worker"));
            let target = (workers == TARGET_WORKERS).then_some(Target::AtLeast(place.target_rate()));
            sheet.aim("work requests, end to end", run.rate(), "/s", target);
            sheet.note("server CPU per work request", run.server_cost(), "ms");
            sheet.note("generator CPU per work request", run.generator_cost(), "ms");
            sheet.note("server memory", megabytes(run.end.server.resident), "MB");
            measures.append(&mut sheet.measures);
        }
        Ok(measures)
    }
}
