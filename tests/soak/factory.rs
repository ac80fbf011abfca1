//! A factory with several workers, and what must be so at its end.

use std::process::Child;
use std::time::{Duration, Instant};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use usine_db::Database;
use usine_db::entity::{event, work_request};
use usine_model::event::EventKind;
use usine_model::work_request::Statuses;

use crate::house::{House, kill, start};
use crate::load::Noted;

/// Longest that the rest of the work may take when nothing goes wrong any more: a lease is 60 seconds.
const REST: Duration = Duration::from_secs(240);

/// Server and workers.
pub struct Factory {
    pub house: House,
    pub workers: Vec<Option<Child>>,
    /// The database as a process beside the server reaches it.
    url: String,
}

/// Length of a test: what `make soak` says, or short.
pub fn length() -> Duration {
    match std::env::var("USINE_SOAK_MINUTES") {
        Ok(minutes) => Duration::from_secs(60 * minutes.parse::<u64>().expect("USINE_SOAK_MINUTES is a number")),
        Err(_) => Duration::from_secs(10),
    }
}

/// Where chance begins.
pub fn seed() -> u64 {
    let seed = match std::env::var("USINE_SOAK_SEED") {
        Ok(seed) => seed.parse().expect("USINE_SOAK_SEED is a number"),
        Err(_) => u64::from(std::process::id()),
    };
    println!("USINE_SOAK_SEED={seed}");
    seed
}

impl Factory {
    /// With so many workers, on SQLite or where `server` says that PostgreSQL is; `direct` is the same without what is
    /// between. All run.
    pub fn start(database: Option<(&str, &str)>, workers: usize) -> Self {
        let house = House::new(database.map(|(server, _)| server));
        let url = match database {
            Some((_, direct)) => direct.to_owned(),
            None => format!("sqlite:{}", house.path().join("server/usine.db").display()),
        };
        let mut factory = Self { house, workers: Vec::new(), url };
        factory.house.start_server();
        for number in 0..workers {
            let directory = format!("worker-{number}");
            let config = format!(
                "api-url = \"{}/api\"\nstate-directory = {:?}\nworking-directory = {:?}\n",
                factory.house.url(),
                factory.house.path().join(format!("state-{number}")),
                factory.house.path().join(format!("work-{number}")),
            );
            factory.house.write(&format!("{directory}/worker.toml"), &config, 0o644);
            let activation = factory.house.admin(&["worker", "create", &format!("w{number}.example.org")]);
            factory.house.write(&format!("{directory}/activation-token"), activation.trim(), 0o600);
            factory.workers.push(None);
            factory.start_worker(number);
        }
        factory
    }

    /// Starts a worker and waits until the server has taken it.
    pub fn start_worker(&mut self, number: usize) {
        let directory = self.house.path().join(format!("worker-{number}"));
        let arguments = ["worker", "--config-directory", directory.to_str().unwrap()];
        let log = format!("worker-{number}.log");
        self.workers[number] = Some(start(&arguments, "connected", self.house.path(), &log));
    }

    pub fn kill_worker(&mut self, number: usize) {
        kill(&mut self.workers[number]);
    }

    /// The user's token.
    pub fn token(&self) -> String {
        let client = std::fs::read_to_string(self.house.path().join("client.ini")).unwrap();
        client.lines().find_map(|line| line.strip_prefix("token = ")).unwrap().to_owned()
    }

    /// Nothing goes wrong any more: all work ends, what was accepted is there and has ended once, and all is in order.
    pub fn finish(mut self, noted: &Noted) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let database = Database::connect(&self.url).await.unwrap();
            let (mut least, mut since) = (usize::MAX, Instant::now());
            let rows = loop {
                let rows = work_request::Entity::find().all(database.reader()).await.unwrap();
                let open: Vec<_> = rows.iter().filter(|row| !row.status.is_terminal()).collect();
                if open.is_empty() {
                    break rows;
                }
                // More may wait than the workers do in that time.
                if open.len() < least {
                    (least, since) = (open.len(), Instant::now());
                }
                assert!(since.elapsed() < REST, "this does not end: {open:#?}\n{}", self.house.logs());
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            let ends = event::Entity::find()
                .filter(event::Column::Kind.is_in([EventKind::Completed, EventKind::Aborted].map(usine_db::Text)));
            let ends = ends.all(database.reader()).await.unwrap();
            for row in &rows {
                let count = ends.iter().filter(|event| event.work_request_id == Some(row.id)).count();
                assert_eq!(count, 1, "ends of {row}");
            }
            for id in &noted.accepted {
                assert!(rows.iter().any(|row| row.id == *id), "{id} was accepted, and is not there");
            }
            // What a person was told has failed may have been made, but once.
            let submitted = rows.iter().filter(|row| row.supersedes_id.is_none()).count();
            let failed: u32 = noted.failed.values().sum();
            assert!(submitted <= noted.accepted.len() + failed as usize, "{submitted} made: {:?}", noted.failed);
            let given_up = rows.iter().filter(|row| *row.status == Statuses::Aborted).count();
            println!(
                "{} accepted, {} made, {given_up} given up or replaced; people were told {:?}",
                noted.accepted.len(),
                rows.len(),
                noted.failed
            );
            assert_eq!(usine_db::invariants::check(&database).await.unwrap(), []);
            database.close().await;
        });
        self.house.check();
    }
}

impl Drop for Factory {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            kill(worker);
        }
    }
}
