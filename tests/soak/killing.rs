//! `kill -9` at random moments: server, workers, and one of PostgreSQL's backends, which makes all others end as well and the
//! database recover from its log.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sea_orm::ConnectionTrait;

use crate::dice::Dice;
use crate::factory::{Factory, length, seed};
use crate::load::Load;
use crate::postgres;

const WORKERS: usize = 2;

fn milliseconds(dice: &mut Dice, limit: usize) -> Duration {
    Duration::from_millis(dice.roll(limit) as u64)
}

/// Kills one after the other while people submit.
fn kill_at_random(mut factory: Factory, mut backend: impl FnMut(&mut Dice) -> bool) {
    let mut dice = Dice(seed());
    let load = Load::begin(&factory.house.url(), &factory.token());
    let begin = Instant::now();
    let mut killed = (0, 0, 0);
    while begin.elapsed() < length() {
        sleep(Duration::from_millis(200) + milliseconds(&mut dice, 1500));
        match dice.roll(5) {
            0 | 1 => {
                factory.house.kill_server();
                sleep(milliseconds(&mut dice, 800));
                factory.house.start_server();
                killed.0 += 1;
            }
            2 if backend(&mut dice) => killed.2 += 1,
            _ => {
                let worker = dice.roll(WORKERS);
                factory.kill_worker(worker);
                sleep(milliseconds(&mut dice, 800));
                factory.start_worker(worker);
                killed.1 += 1;
            }
        }
    }
    let noted = load.end();
    println!("killed: server {}, workers {}, PostgreSQL {}", killed.0, killed.1, killed.2);
    assert!(killed.0 + killed.1 > 2 && noted.accepted.len() > 20, "hardly anything happened");
    factory.finish(&noted);
}

#[test]
fn nothing_is_lost_or_doubled_by_kill_9_on_sqlite() {
    kill_at_random(Factory::start(None, WORKERS), |_| false);
}

#[test]
fn nothing_is_lost_or_doubled_by_kill_9_on_postgresql() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (name, url) = runtime.block_on(postgres::create_database());
    // The cluster of the tests does not wait for its log, which a server for real does: for this database it does, too.
    let durable = format!("ALTER DATABASE {name} SET synchronous_commit = on");
    runtime.block_on(execute(&url, &durable));
    let kill_backend = |dice: &mut Dice| {
        let pids = runtime.block_on(backends(&url, &name));
        if pids.is_empty() {
            return false;
        }
        let pid = *dice.pick(&pids);
        if std::env::var_os(postgres::URL_VARIABLE).is_some() {
            // Others use that cluster as well.
            runtime.block_on(execute(&url, &format!("SELECT pg_terminate_backend({pid})")));
        } else {
            // It may have ended meanwhile.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        true
    };
    kill_at_random(Factory::start(Some((&url, &url)), WORKERS), kill_backend);
    runtime.block_on(postgres::drop_database(&name));
}

async fn execute(url: &str, statement: &str) {
    let connection = sea_orm::Database::connect(url).await.unwrap();
    connection.execute_unprepared(statement).await.unwrap();
    connection.close().await.unwrap();
}

/// Process numbers of the server's connections; none while the database recovers.
async fn backends(url: &str, name: &str) -> Vec<i32> {
    let Ok(connection) = sea_orm::Database::connect(url).await else { return Vec::new() };
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid() ORDER BY backend_start"
    );
    let rows = connection.query_all_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await;
    // It may be killed while we look.
    let _ = connection.close().await;
    rows.unwrap_or_default().iter().map(|row| row.try_get("", "pid").unwrap()).collect()
}
