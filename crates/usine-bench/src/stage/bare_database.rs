//! The limit of the database: the rows of the whole life of a work request written without server, by hand-written
//! statements. One transaction for each step, as the server has them; many lives in a transaction; many in a statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, FromQueryResult, Statement, TransactionTrait, Value,
};
use usine_db::entity::{attempt, event, work_request};

use super::above_zero;
use crate::crew::Crew;
use crate::fill::columns;
use crate::load::{Load, Queue};
use crate::measure::Sheet;
use crate::site::Site;
use crate::{Error, Ground, Measure, Place, Result};

/// Lives in one transaction, where many are.
const BATCH: usize = 100;

/// As many connections as the server has for writing.
const CASE: &str = "writers: 1 on SQLite, 16 on PostgreSQL";

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One life; each step is a transaction.
    Singly,
    /// Many lives; each step of all of them is a transaction, each row a statement.
    Batch,
    /// Many lives; a statement writes the rows of all of them.
    Together,
}

impl Way {
    fn lives(self) -> usize {
        if self == Self::Singly { 1 } else { BATCH }
    }
}

/// How long.
#[derive(Debug, Clone, clap::Args)]
pub struct BareDatabase {
    /// Seconds for each of the three ways
    #[arg(long, value_parser = above_zero, default_value_t = 5.0)]
    pub seconds: f64,
}

impl BareDatabase {
    /// Measures.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let site = Site::new(ground, place).await?;
        let server = site.serve().await?;
        // A work request that the server itself has written is what the others are like.
        let load = Load { workers: 1, clients: 1, warm_up: 0.1, seconds: 0.2, queue: Queue::Own };
        let run = load.run(&site, &server)?;
        server.stop().await?;
        let mut ended = run.account.pairs.len();
        let model = run.account.pairs.last().map(|(submission, _)| submission.id);
        let model = model.ok_or_else(|| Error::Usage("the server did not do a single work request".to_owned()))?;

        let writers = if *place == Place::Sqlite { 1 } else { 16 };
        let life = Arc::new(Life::like(&site, model).await?);
        let mut sheet = Sheet::new("bare-database", place.name(), CASE);
        for (what, way) in [
            ("whole lives, singly", Way::Singly),
            ("whole lives, 100 in a transaction", Way::Batch),
            ("whole lives, 100 in each statement", Way::Together),
        ] {
            let (count, elapsed) = self.write(&site, &life, writers, way).await?;
            ended += count;
            sheet.note(what, count as f64 / elapsed.as_secs_f64(), "/s");
        }
        site.check(ended, 0).await?;
        site.remove().await?;
        Ok(sheet.measures)
    }

    async fn write(&self, site: &Site, life: &Arc<Life>, writers: u32, way: Way) -> Result<(usize, Duration)> {
        let mut options = ConnectOptions::new(site.url());
        options.max_connections(writers).min_connections(writers).sqlx_logging(false);
        let connection = sea_orm::Database::connect(options).await?;
        if site.place == Place::Sqlite {
            // As the server: a commit survives a power cut.
            connection.execute_unprepared("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").await?;
        }
        let count = Arc::new(AtomicUsize::new(0));
        let time = Duration::from_secs_f64(self.seconds);
        let mut crew = Crew::default();
        let begin = Instant::now();
        for _ in 0..writers {
            let (life, connection, count) = (Arc::clone(life), connection.clone(), Arc::clone(&count));
            crew.spawn(async move {
                while begin.elapsed() < time {
                    life.live(&connection, way).await?;
                    count.fetch_add(way.lives(), Ordering::Relaxed);
                }
                Ok(())
            });
        }
        crew.finish().await?;
        let elapsed = begin.elapsed();
        connection.close().await?;
        Ok((count.load(Ordering::Relaxed), elapsed))
    }
}

/// The statements of a life, step by step. Where `{these}` is, the condition stands that names the work requests.
struct Life {
    create: String,
    steps: [Vec<String>; 4],
}

#[derive(FromQueryResult)]
struct Id {
    id: i64,
}

/// What stands for the key of a work request: as long as a hash, and different for each.
const HASH: &str = "substr('0000000000000000000000000000000000000000000000000000000000000000' || CAST(id AS TEXT), \
                    length(CAST(id AS TEXT)) + 1, 64)";

impl Life {
    /// A life that writes what that of this work request wrote.
    async fn like(site: &Site, model: i64) -> Result<Self> {
        let backend = site.database.backend();
        let events = format!("SELECT id FROM event WHERE work_request_id = {model} ORDER BY id");
        let events = Id::find_by_statement(Statement::from_string(backend, events)).all(site.database.reader()).await?;
        let [created, pending, assigned, running, completed] = events.as_slice() else {
            return Err(Error::Inconsistent(format!("the life of a work request has {} events", events.len())));
        };
        let event_columns = columns::<event::Column>(&["id", "work_request_id"]);
        let event = |row: &Id| {
            format!(
                "INSERT INTO event (work_request_id, {event_columns}) SELECT copies.id, {event_columns} FROM event \
                 CROSS JOIN (SELECT id FROM work_request WHERE id {{these}}) AS copies WHERE event.id = {}",
                row.id
            )
        };
        let all = columns::<work_request::Column>(&["id"]);
        let unset = [
            ("status", "'blocked'"),
            ("result", "''"),
            ("scheduler_tags_required", "'[]'"),
            ("scheduler_tags_provided", "'[]'"),
            ("pending_at", "NULL"),
            ("started_at", "NULL"),
            ("completed_at", "NULL"),
            ("worker_id", "NULL"),
            ("requirement_set_id", "NULL"),
            ("dynamic_task_data", "NULL"),
            ("configured_task_data", "NULL"),
            ("output_data", "NULL"),
        ];
        let of_model =
            unset.iter().fold(all.clone(), |text, (column, value)| text.replace(&format!("\"{column}\""), value));
        let take = |names: &[&str]| {
            let taken =
                names.iter().map(|name| format!("{name} = (SELECT {name} FROM work_request WHERE id = {model})"));
            taken.collect::<Vec<_>>().join(", ")
        };
        let attempts = columns::<attempt::Column>(&["id", "work_request_id", "token_hash", "ended_at", "outcome"]);
        Ok(Self {
            create: format!(
                "INSERT INTO work_request ({all}) \
                 WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {{count}}) \
                 SELECT {of_model} FROM work_request CROSS JOIN numbers WHERE id = {model} RETURNING id"
            ),
            steps: [
                vec![
                    event(created),
                    format!(
                        "UPDATE work_request SET status = 'pending', pending_at = created_at, {} \
                         WHERE id {{these}} AND status = 'blocked'",
                        take(&[
                            "configured_task_data",
                            "scheduler_tags_required",
                            "scheduler_tags_provided",
                            "requirement_set_id",
                        ])
                    ),
                    event(pending),
                ],
                vec![
                    format!(
                        "UPDATE work_request SET {} WHERE id {{these}} AND status = 'pending' AND worker_id IS NULL",
                        take(&["worker_id", "dynamic_task_data"])
                    ),
                    event(assigned),
                ],
                vec![
                    "UPDATE work_request SET status = 'running', started_at = created_at \
                     WHERE id {these} AND status = 'pending'"
                        .to_owned(),
                    event(running),
                    format!(
                        "INSERT INTO token (hash, token_type, work_request_id, created_at, expire_at, enabled) \
                         SELECT {HASH}, 'work-request', id, created_at, created_at, TRUE FROM work_request \
                         WHERE id {{these}}"
                    ),
                    format!(
                        "INSERT INTO attempt (work_request_id, token_hash, {attempts}) \
                         SELECT copies.id, copies.hash, {attempts} FROM attempt \
                         CROSS JOIN (SELECT id, {HASH} AS hash FROM work_request WHERE id {{these}}) AS copies \
                         WHERE work_request_id = {model}"
                    ),
                ],
                vec![
                    "UPDATE work_request SET status = 'completed', result = 'success', completed_at = created_at \
                     WHERE id {these} AND status = 'running'"
                        .to_owned(),
                    "UPDATE attempt SET ended_at = handed_out_at, outcome = 'reported', result = 'success' \
                     WHERE work_request_id {these} AND ended_at IS NULL"
                        .to_owned(),
                    "DELETE FROM token WHERE work_request_id {these}".to_owned(),
                    event(completed),
                ],
            ],
        })
    }

    /// Writes some lives: each step of all of them in one transaction.
    async fn live(&self, connection: &DatabaseConnection, way: Way) -> Result<()> {
        let backend = connection.get_database_backend();
        let mut ids = Vec::with_capacity(way.lives());
        for (number, step) in self.steps.iter().enumerate() {
            let transaction = connection.begin().await?;
            if number == 0 {
                let (rows, times) = if way == Way::Together { (BATCH, 1) } else { (1, way.lives()) };
                let create = self.create.replace("{count}", &rows.to_string());
                for _ in 0..times {
                    let create = Statement::from_string(backend, &create);
                    ids.extend(Id::find_by_statement(create).all(&transaction).await?.iter().map(|row| row.id));
                }
            }
            if way == Way::Together {
                let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                for sql in step {
                    let sql = sql.replace("{these}", &format!("IN ({list})"));
                    transaction.execute_raw(Statement::from_string(backend, sql)).await?;
                }
            } else {
                for id in &ids {
                    for sql in step {
                        let sql = sql.replace("{these}", "= $1");
                        let statement = Statement::from_sql_and_values(backend, sql, [Value::from(*id)]);
                        transaction.execute_raw(statement).await?;
                    }
                }
            }
            transaction.commit().await?;
        }
        Ok(())
    }
}
