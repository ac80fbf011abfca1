//! All measurements one after the other, and what is left of them: JSON, a table in Markdown, a plot.

mod derived;
mod machine;
mod plot;
mod table;

use std::path::{Path, PathBuf};

use serde_json::json;

use derived::compared;
use plot::plot;
use table::{into_page, table};

use crate::site::Site;
use crate::stage::{Api, BareDatabase, Latency, Memory, Queue, Start, Throughput, Transfer};
use crate::{Error, Ground, Measure, Place, Result, fill};

/// How thorough, and where the report goes.
#[derive(Debug, Clone, clap::Args)]
pub struct Report {
    /// Everything as short and small as possible: shows that it works, not how fast
    #[arg(long)]
    pub quick: bool,
    /// Write benchmarks.json, benchmarks.svg and the table in benchmarks.md into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub output: Option<PathBuf>,
}

/// The options of all stages.
struct Plan {
    throughput: Throughput,
    latency: Latency,
    queue: Queue,
    api: Api,
    bare_database: BareDatabase,
    transfer: Transfer,
    start: Start,
    memory: Memory,
}

impl Report {
    /// Runs all stages on these databases, writes the report if that is wanted, and returns the numbers.
    pub async fn run(&self, ground: &Ground, places: &[Place]) -> Result<Vec<Measure>> {
        if let Some(directory) = &self.output {
            // What cannot be written is told now, not at the end.
            std::fs::create_dir_all(directory).map_err(Error::io(format!("cannot make {}", directory.display())))?;
        }
        let plan = if self.quick { Plan::quick() } else { Plan::full() };
        let mut measures = Vec::new();
        for place in places {
            measures.extend(plan.run(ground, place).await?);
        }
        measures.extend(compared(&measures));
        if let Some(directory) = &self.output {
            write(ground, directory, &measures)?;
        }
        Ok(measures)
    }
}

impl Plan {
    /// Some 7 minutes for each database.
    fn full() -> Self {
        let (workers, stored, clients) = (1000, 1_000_000, 32);
        Self {
            throughput: Throughput { workers: vec![1, 10, 100, workers], seconds: 10.0, warm_up: 3.0, clients },
            latency: Latency { workers, rates: Vec::new(), seconds: 20.0, warm_up: 3.0, clients: 256 },
            queue: Queue {
                pending: vec![1000, 10_000, 100_000, stored],
                workers: 10,
                seconds: 10.0,
                warm_up: 3.0,
                clients: 8,
            },
            api: Api { connections: vec![1, 16], seconds: 4.0, rate: 200.0, stored: 10_000 },
            bare_database: BareDatabase { seconds: 5.0 },
            transfer: Transfer { size: 1024 },
            start: Start { stored, times: 5 },
            memory: Memory { stored, workers, seconds: 10.0, clients },
        }
    }

    /// Some 20 seconds for each database, with a program that is not optimised.
    fn quick() -> Self {
        let (workers, stored, clients) = (10, 500, 4);
        Self {
            throughput: Throughput { workers: vec![workers], seconds: 0.5, warm_up: 0.2, clients },
            latency: Latency { workers, rates: vec![50.0], seconds: 0.5, warm_up: 0.2, clients },
            queue: Queue { pending: vec![100, stored], workers: 4, seconds: 0.5, warm_up: 0.2, clients },
            api: Api { connections: vec![1], seconds: 0.2, rate: 50.0, stored: 100 },
            bare_database: BareDatabase { seconds: 0.2 },
            transfer: Transfer { size: 8 },
            start: Start { stored, times: 1 },
            memory: Memory { stored, workers, seconds: 0.5, clients },
        }
    }

    async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let mut measures = self.throughput.run(ground, place).await?;
        measures.extend(self.latency.run(ground, place).await?);
        measures.extend(self.queue.run(ground, place).await?);
        measures.extend(self.api.run(ground, place).await?);
        measures.extend(self.bare_database.run(ground, place).await?);
        measures.extend(self.transfer.run(ground, place).await?);
        // One database that takes long to fill, for both.
        let site = Site::new(ground, place).await?;
        measures.extend(self.memory.nothing(&site).await?);
        measures.extend(self.start.measure(&site, 0).await?);
        let stored = fill::history(&site, self.memory.stored).await?;
        measures.extend(self.start.measure(&site, stored).await?);
        measures.extend(self.memory.everything(&site, stored).await?);
        site.remove().await?;
        Ok(measures)
    }
}

fn write(ground: &Ground, directory: &Path, measures: &[Measure]) -> Result<()> {
    let machine = machine::describe()?;
    let date = ground.clock.now().format("%Y-%m-%d").to_string();
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(Error::io(format!("cannot write {}", path.display())))
    };
    let document = json!({
        "date": date,
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "measures": measures,
    });
    put("benchmarks.json", &format!("{document:#}\n"))?;
    put("benchmarks.svg", &plot(measures))?;
    let page = directory.join("benchmarks.md");
    let before = match std::fs::read_to_string(&page) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(Error::io(format!("cannot read {}", page.display())))?,
    };
    let heading = format!("Measured on {date} with {machine}.\n\n");
    put("benchmarks.md", &into_page(&before, &(heading + &table(measures))))
}
