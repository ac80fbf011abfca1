//! The limit of the database: the rows of the whole life of a work request written without server, by hand-written
//! statements, one transaction for each step as the server has them, and many lives in one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, FromQueryResult, Statement, TransactionTrait, Value,
};

use usine_db::entity::{attempt, event, work_request};

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

/// How long.
#[derive(Debug, Clone, clap::Args)]
pub struct BareDatabase {
    /// Seconds, once for single transactions, once for batches
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

impl BareDatabase {
    /// Measures.
    pub async fn run(&self, ground: &Ground, place: &Place) -> Result<Vec<Measure>> {
        let site = Site::new(ground, place).await?;
        let server = site.serve().await?;
        // A work request that the server itself has written is what the others are like.
        let load = Load { workers: 1, clients: 1, warm_up: 0.1, seconds: 0.2, queue: Queue::Own };
        let run = load.run(&site, &server).await?;
        server.stop().await?;
        let mut ended = run.account.pairs.len();
        let model = run.account.pairs.last().map(|(submission, _)| submission.id);
        let model = model.ok_or_else(|| Error::Usage("the server did not do a single work request".to_owned()))?;

        let writers = if *place == Place::Sqlite { 1 } else { 16 };
        let life = Arc::new(Life::like(&site, model).await?);
        let mut sheet = Sheet::new("bare-database", place.name(), CASE);
        for (what, batch) in [("whole lives, singly", 1), ("whole lives, 100 in a transaction", BATCH)] {
            let (count, elapsed) = self.write(&site, &life, writers, batch).await?;
            ended += count;
            sheet.note(what, count as f64 / elapsed.as_secs_f64(), "/s");
        }
        site.check(ended, 0).await?;
        site.remove().await?;
        Ok(sheet.measures)
    }

    async fn write(&self, site: &Site, life: &Arc<Life>, writers: u32, batch: usize) -> Result<(usize, Duration)> {
        let mut options = ConnectOptions::new(site.url());
        options.max_connections(writers).min_connections(writers).sqlx_logging(false);
        let connection = sea_orm::Database::connect(options).await?;
        if site.place == Place::Sqlite {
            // As the server: a commit survives a power cut.
            connection.execute_unprepared("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").await?;
        }
        let count = Arc::new(AtomicU64::new(0));
        let time = Duration::from_secs_f64(self.seconds);
        let mut crew = Crew::default();
        let begin = Instant::now();
        for _ in 0..writers {
            let (life, connection, count) = (Arc::clone(life), connection.clone(), Arc::clone(&count));
            crew.spawn(async move {
                while begin.elapsed() < time {
                    life.live(&connection, batch).await?;
                    count.fetch_add(batch as u64, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        crew.finish().await?;
        let elapsed = begin.elapsed();
        connection.close().await?;
        Ok((usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX), elapsed))
    }
}

/// The statements of a life, step by step. `$1` is the id of the work request, `$2` the hash of its key.
struct Life {
    create: String,
    steps: [Vec<String>; 4],
    next_key: AtomicU64,
}

#[derive(FromQueryResult)]
struct Id {
    id: i64,
}

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
                "INSERT INTO event (work_request_id, {event_columns}) SELECT $1, {event_columns} FROM event WHERE id = {}",
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
                "INSERT INTO work_request ({all}) SELECT {of_model} FROM work_request WHERE id = {model} RETURNING id"
            ),
            steps: [
                vec![
                    event(created),
                    format!(
                        "UPDATE work_request SET status = 'pending', pending_at = created_at, {} \
                         WHERE id = $1 AND status = 'blocked'",
                        take(&["configured_task_data", "scheduler_tags_required", "scheduler_tags_provided", "requirement_set_id"])
                    ),
                    event(pending),
                ],
                vec![
                    format!(
                        "UPDATE work_request SET {} WHERE id = $1 AND status = 'pending' AND worker_id IS NULL",
                        take(&["worker_id", "dynamic_task_data"])
                    ),
                    event(assigned),
                ],
                vec![
                    "UPDATE work_request SET status = 'running', started_at = created_at WHERE id = $1 AND status = 'pending'"
                        .to_owned(),
                    event(running),
                    "INSERT INTO token (hash, token_type, work_request_id, created_at, expire_at, enabled) \
                     SELECT $2, 'work-request', $1, created_at, created_at, TRUE FROM work_request WHERE id = $1"
                        .to_owned(),
                    format!(
                        "INSERT INTO attempt (work_request_id, token_hash, {attempts}) SELECT $1, $2, {attempts} \
                         FROM attempt WHERE work_request_id = {model}"
                    ),
                ],
                vec![
                    "UPDATE work_request SET status = 'completed', result = 'success', completed_at = created_at \
                     WHERE id = $1 AND status = 'running'"
                        .to_owned(),
                    "UPDATE attempt SET ended_at = handed_out_at, outcome = 'reported', result = 'success' \
                     WHERE work_request_id = $1 AND ended_at IS NULL"
                        .to_owned(),
                    "DELETE FROM token WHERE work_request_id = $1".to_owned(),
                    event(completed),
                ],
            ],
            next_key: AtomicU64::new(1),
        })
    }

    /// Writes so many lives: each step of all of them in one transaction.
    async fn live(&self, connection: &DatabaseConnection, batch: usize) -> Result<()> {
        let backend = connection.get_database_backend();
        let mut ids = Vec::with_capacity(batch);
        for (number, step) in self.steps.iter().enumerate() {
            let transaction = connection.begin().await?;
            if number == 0 {
                for _ in 0..batch {
                    let create = Statement::from_string(backend, &self.create);
                    let id = Id::find_by_statement(create).one(&transaction).await?;
                    ids.push(id.ok_or_else(|| Error::Inconsistent("no row was written".to_owned()))?.id);
                }
            }
            for id in &ids {
                for sql in step {
                    let mut values = vec![Value::from(*id)];
                    if sql.contains("$2") {
                        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
                        values.push(Value::from(format!("{key:064x}")));
                    }
                    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
                }
            }
            transaction.commit().await?;
        }
        Ok(())
    }
}
