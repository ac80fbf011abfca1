//! What one assignment costs, when the queue is short and when it is long.

use super::above_zero;
use crate::load::{Load, Queue as Work};
use crate::measure::Sheet;
use crate::site::Site;
use crate::{Ground, Measure, Place, Result, Target, fill};

/// The longest queue may cost so many times what the shortest does.
const TARGET: f64 = 2.0;

/// How long queues are.
#[derive(Debug, Clone, clap::Args)]
pub struct Queue {
    /// Numbers of pending work requests, one measurement each; the first is what the others are compared with
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    pub pending: Vec<usize>,
    /// Connected workers
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub workers: usize,
    /// Seconds that count
    #[arg(long, value_parser = above_zero, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", value_parser = above_zero, default_value_t = 3.0)]
    pub warm_up: f64,
    /// Connections that submit
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    pub clients: usize,
}

impl Queue {
    /// Measures, with a fresh database for each length.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let mut measures = Vec::new();
        let mut first = None;
        for &pending in &self.pending {
            let site = Site::new(ground, place).await?;
            let last = fill::queue(&site, pending).await?;
            let stored = site.count().await?;
            let server = site.serve().await?;
            let load = Load {
                workers: self.workers,
                clients: self.clients,
                warm_up: self.warm_up,
                seconds: self.seconds,
                queue: Work::Stored(last),
            };
            let run = load.run(&site, &server)?;
            server.stop().await?;
            let ended = run.account.pairs.len() + run.account.earlier;
            site.check(ended, stored - run.account.earlier + run.account.open).await?;
            site.remove().await?;

            let mut sheet = Sheet::new("queue", place.name(), format!("{pending} pending"));
            sheet.note("work requests, end to end", run.rate(), "/s");
            sheet.note("server CPU per work request", run.server_cost(), "ms");
            match first {
                None => first = Some(run.server_cost()),
                Some(first) => {
                    let ratio = run.server_cost() / first;
                    sheet.aim("CPU against the shortest queue", ratio, "×", Some(Target::AtMost(TARGET)));
                }
            }
            measures.append(&mut sheet.measures);
        }
        Ok(measures)
    }
}
