//! A full database, in bulk: a few work requests are made as the server makes them, and their rows are copied. So the copies
//! have every column that the managers write, whatever these are.

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, FromQueryResult, IdenStatic, Iterable, Statement};
use usine_db::entity::{attempt, event, work_request};
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{Engine, WorkRequestManager};
use usine_model::tags::{Tags, build_arch, capability, executor, required_worker_type, task_version};
use usine_model::work_request::TaskType;

use crate::load::{Load, Queue};
use crate::site::Site;
use crate::worker::ARCHITECTURE;
use crate::{Error, Result};

/// Copies made by one statement: large enough to be fast, small enough that the kinds are mixed.
const BATCH: usize = 1000;

/// How many ended work requests the others are copies of.
const MODELS: usize = 50;

/// Architectures that no simulated worker builds on.
const FOREIGN: [&str; 7] = ["arm64", "armel", "armhf", "mips64el", "ppc64el", "riscv64", "s390x"];

/// Fills the queue with so many pending work requests of many kinds, half of which a simulated worker can run. Returns the
/// highest id.
pub(crate) async fn queue(site: &Site, total: usize) -> Result<i64> {
    let mut foreign = Vec::new();
    for architecture in FOREIGN {
        for (task, tool) in [
            ("sbuild", Some("sbuild")),
            ("mmdebstrap", Some("mmdebstrap")),
            ("autopkgtest", Some("autopkgtest")),
            ("lintian", None),
            ("piuparts", None),
            ("blhc", None),
        ] {
            let mut further = vec![build_arch(architecture), executor("unshare")];
            further.extend(tool.map(capability));
            foreign.push(submit(site, task, further).await?);
        }
    }
    let mut fitting = Vec::new();
    for further in [vec![], vec![build_arch(ARCHITECTURE)], vec![executor("unshare")], vec![capability("sbuild")]] {
        fitting.push(submit(site, "noop", further).await?);
    }
    // One of these with each of the others.
    let cycle: Vec<i64> = foreign.iter().zip(fitting.iter().cycle()).flat_map(|(a, b)| [*a, *b]).collect();
    copies(site, &cycle, total.saturating_sub(foreign.len() + fitting.len())).await
}

/// Fills the database with so many work requests that have ended, and all that is left of each. Returns how many there are then.
pub(crate) async fn history(site: &Site, total: usize) -> Result<usize> {
    let server = site.serve().await?;
    let load = Load { workers: 10, clients: 2, warm_up: 0.2, seconds: 0.5, queue: Queue::Own };
    let run = load.run(site, &server)?;
    server.stop().await?;
    let done: Vec<i64> = run.account.pairs.iter().map(|(submission, _)| submission.id).collect();
    copies(site, &done[..done.len().min(MODELS)], total.saturating_sub(done.len())).await?;
    site.count().await
}

/// Submits one, past the server.
async fn submit(site: &Site, task: &str, further: Vec<String>) -> Result<i64> {
    let mut required = Tags::from([required_worker_type(TaskType::Worker), task_version(TaskType::Worker, task, 1)]);
    required.extend(further);
    let tags = SchedulerTags { required, provided: Tags::from(["task:scope:debusine".to_owned()]) };
    let new = NewWorkRequest {
        subject: "hello".to_owned(),
        summary: "hello_2.10-3".to_owned(),
        ..NewWorkRequest::of_worker_task(site.workspace.id, site.user.id, task)
    };
    Ok(WorkRequestManager(&site.database).create(&new, &tags, site.ground.clock.now()).await?.id)
}

/// Copies these work requests, one after the other and from the beginning again, until there are so many copies, with all
/// that belongs to each. No server may run. Returns the highest id.
pub(crate) async fn copies(site: &Site, of: &[i64], total: usize) -> Result<i64> {
    let connection = connect(site).await?;
    // What belongs to a work request goes with it.
    let columns = columns::<work_request::Column>(&["id"]);
    let events = Dependent::new("event", self::columns::<event::Column>(&["id", "work_request_id"]));
    let attempts = Dependent::new("attempt", self::columns::<attempt::Column>(&["id", "work_request_id"]));

    // Each kind as often as the others, also where there are few copies.
    let batch = BATCH.min(total / of.len().max(1)).max(1);
    let mut last = last_id(&connection).await?;
    let mut left = total;
    for template in of.iter().cycle() {
        if left == 0 {
            break;
        }
        let count = batch.min(left);
        let copy = format!(
            "BEGIN; \
             INSERT INTO work_request ({columns}) \
                 WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
                 SELECT {columns} FROM work_request CROSS JOIN numbers WHERE id = {template}; \
             {} {} COMMIT;",
            events.copy(*template, last),
            attempts.copy(*template, last),
        );
        connection.execute_unprepared(&copy).await?;
        last = last_id(&connection).await?;
        left -= count;
    }
    settle(site, &connection).await?;
    connection.close().await?;
    Ok(last)
}

/// A table whose rows belong to work requests.
struct Dependent {
    table: &'static str,
    columns: String,
}

impl Dependent {
    fn new(table: &'static str, columns: String) -> Self {
        Self { table, columns }
    }

    /// Gives all work requests after `last` what the template has.
    fn copy(&self, template: i64, last: i64) -> String {
        let Self { table, columns } = self;
        format!(
            "INSERT INTO {table} (work_request_id, {columns}) \
                 SELECT copies.copy, {columns} FROM {table} \
                 CROSS JOIN (SELECT id AS copy FROM work_request WHERE id > {last}) AS copies \
                 WHERE work_request_id = {template} ORDER BY copies.copy, {table}.id;"
        )
    }
}

/// The columns of a table, but for these, in quotes: some have names that mean something in SQL.
pub(crate) fn columns<C: IdenStatic + Iterable>(without: &[&str]) -> String {
    let kept = C::iter().filter(|column| !without.contains(&column.as_str()));
    kept.map(|column| format!("\"{}\"", column.as_str())).collect::<Vec<_>>().join(", ")
}

async fn last_id(connection: &DatabaseConnection) -> Result<i64> {
    #[derive(FromQueryResult)]
    struct Row {
        last: Option<i64>,
    }
    let sql = "SELECT MAX(id) AS last FROM work_request";
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    Ok(Row::find_by_statement(statement).one(connection).await?.and_then(|row| row.last).unwrap_or(0))
}

/// One connection that need not be durable: if the machine stops, the measurement is gone anyway. What refers to what is known
/// to be there.
async fn connect(site: &Site) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(site.url());
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await?;
    connection
        .execute_unprepared(match connection.get_database_backend() {
            Engine::Sqlite => "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -65536;",
            _ => "SET synchronous_commit = off; SET session_replication_role = replica;",
        })
        .await
        .map_err(|error| Error::Usage(format!("filling the database needs a superuser of PostgreSQL: {error}")))?;
    Ok(connection)
}

/// What a server that has run for a while would have done: the log is written back, and PostgreSQL knows its tables.
async fn settle(site: &Site, connection: &DatabaseConnection) -> Result<()> {
    let statements: &[&str] = match site.database.backend() {
        Engine::Sqlite => &["PRAGMA wal_checkpoint(TRUNCATE)"],
        _ => &["VACUUM ANALYZE", "CHECKPOINT"],
    };
    for statement in statements {
        connection.execute_unprepared(statement).await?;
    }
    Ok(())
}
