//! How long it takes from the start of the program to its first answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::http::Connection;
use crate::measure::{Sheet, percentile};
use crate::site::Site;
use crate::{Ground, Measure, Place, Result, fill};

/// What is asked for first: it counts what is open.
const FIRST: &str = "/api/1.0/service-status/";

/// How much is stored, and how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Start {
    /// Work requests that are stored, after it was measured with none
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    pub stored: usize,
    /// How often
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub times: usize,
}

impl Start {
    /// Measures, with an empty database and a full one.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let site = Site::new(ground, place).await?;
        let mut measures = self.measure(&site, 0).await?;
        let stored = fill::history(&site, self.stored).await?;
        measures.extend(self.measure(&site, stored).await?);
        site.remove().await?;
        Ok(measures)
    }

    /// Measures with what is there.
    pub(crate) async fn measure(&self, site: &Site, stored: usize) -> Result<Vec<Measure>> {
        let mut times = Vec::new();
        for _ in 0..self.times {
            times.push(first_answer(site).await?);
        }
        let mut sheet = Sheet::new("start", site.place.name(), format!("{stored} work requests stored"));
        sheet.note("start to first answer, median", percentile(&mut times, 0.5), "ms");
        sheet.note("start to first answer, worst", percentile(&mut times, 1.0), "ms");
        Ok(sheet.measures)
    }
}

async fn first_answer(site: &Site) -> Result<Duration> {
    let server = site.serve().await?;
    let mut connection = Connection::open(server.address).await?;
    connection.call(Method::GET, FIRST, None, Bytes::new()).await?.expect(StatusCode::OK)?;
    let time = server.started.elapsed();
    server.stop().await?;
    Ok(time)
}
