//! The life of work requests, workers, leases and attempts, against a small model: after any sequence of commands the
//! database holds what the model says, row by row, attempt by attempt, event by event; and at the end the invariants hold.
//!
//! The cases are the same each time. `PROPTEST_CASES=1000` tries more of them, `PROPTEST_RNG_SEED=7` others. A sequence that
//! fails is made as short as it can be, and shown step by step.
//!
//! The runner is our own, not that of proptest-state-machine: there the model makes all steps before the program makes any,
//! so that what the program may choose (which of two equals a worker gets) could not be followed.

#[path = "../farm/mod.rs"]
mod farm;
#[path = "../support/mod.rs"]
mod support;

mod command;
mod model;
mod system;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use usine_db::Database;

use command::any_command;
use support::TestDatabase;
use walk::Walk;

/// Cases, unless `PROPTEST_CASES` says otherwise: on SQLite, and on PostgreSQL, which takes longer.
const CASES: (u32, u32) = (24, 8);

/// Most steps of a case.
const STEPS: usize = 160;

fn config(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, max_shrink_time: 30_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

fn follow(runtime: &tokio::runtime::Runtime, db: &Database, cases: u32) {
    let done: RefCell<BTreeMap<&'static str, u32>> = RefCell::default();
    let commands = prop::collection::vec(any_command(), STEPS / 2..STEPS);
    let outcome = TestRunner::new(config(cases)).run(&commands, |commands| {
        runtime.block_on(async {
            let mut walk = Walk::new(db).await;
            let walked = walk.walk(&commands).await;
            for (what, times) in &walk.done {
                *done.borrow_mut().entry(what).or_default() += times;
            }
            walked.map_err(|error| TestCaseError::fail(format!("{error}\nafter these steps:\n{}", walk.log.join("\n"))))
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Walks that do nothing find nothing.
    for what in walk::ALL {
        assert!(cases < CASES.0 || done.borrow().get(what).is_some_and(|times| *times > 0), "never {what}: {done:?}");
    }
}

fn on(database: impl AsyncFnOnce() -> TestDatabase, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(database());
    follow(&runtime, &database, cases);
    runtime.block_on(database.remove());
}

#[test]
fn the_database_follows_the_model_on_sqlite() {
    on(TestDatabase::sqlite, CASES.0);
}

#[test]
fn the_database_follows_the_model_on_postgresql() {
    on(TestDatabase::postgres, CASES.1);
}
