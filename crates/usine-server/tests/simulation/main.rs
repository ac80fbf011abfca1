//! A whole factory in one thread, on a simulated clock and network: the real server (its state, its routes, its scheduler,
//! its upkeep, on SQLite) with simulated workers and people, whose messages are delayed, lost and doubled, who are cut off,
//! and who crash, as the server does. When all is well again, everything that was submitted must have ended, once.
//!
//! Everything follows from the seed. One that fails is printed; `USINE_SIMULATION_SEED=n` runs just that one and tells the
//! whole story. `USINE_SIMULATION_SEEDS=n` says how many are run, `USINE_SIMULATION_FROM=n` where they begin
//! (`make simulate SEEDS=… FROM=…`).

#[path = "../../../usine-db/tests/support/dice.rs"]
mod dice;
mod ground;
mod judge;
mod network;
mod people;
mod plan;
mod server;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Done, World};

/// Seeds that are run when nobody says otherwise.
const SEEDS: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number is expected")))
}

/// Runs one seed; what went wrong and all that was noted, if so.
fn run(seed: u64) -> Result<(Done, Vec<String>), String> {
    let story = Mutex::new(Vec::new());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed, &story).await;
            let outcome = world.run().await;
            world.end().await;
            outcome
        })
    }));
    let story = story.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let problem = match outcome {
        Ok(Ok(done)) => return Ok((done, story)),
        Ok(Err(problem)) => problem,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        }
    };
    let shown = if number("USINE_SIMULATION_SEED").is_some() { story.len() } else { 60 };
    let end = story[story.len().saturating_sub(shown)..].join("\n");
    Err(format!("{end}\nseed {seed}: {problem}\nfor the whole story: USINE_SIMULATION_SEED={seed}"))
}

#[test]
fn whatever_happens_all_work_ends_once() {
    if let Some(seed) = number("USINE_SIMULATION_SEED") {
        match run(seed) {
            Ok((done, story)) => println!("{}\nseed {seed}: {done:?}", story.join("\n")),
            Err(problem) => panic!("{problem}"),
        }
        return;
    }
    let from = number("USINE_SIMULATION_FROM").unwrap_or(1);
    let seeds = number("USINE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (next, problems, all) = (AtomicU64::new(from), Mutex::new(Vec::new()), Mutex::new(Done::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || problems.lock().unwrap().len() >= 3 {
                        return;
                    }
                    match run(seed) {
                        Ok((done, _)) => all.lock().unwrap().add(&done),
                        Err(problem) => problems.lock().unwrap().push(problem),
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    let all = all.into_inner().unwrap();
    println!("{seeds} seeds from {from}: {all:?}");
    // A quiet world shows nothing.
    for (what, times) in all.all() {
        assert!(seeds < SEEDS || times > 0, "in {seeds} seeds, never {what}: {all:?}");
    }
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in [3, 11] {
        let (first, second) = (run(seed).unwrap().1, run(seed).unwrap().1);
        let differ = first.iter().zip(&second).position(|(one, other)| one != other);
        assert!(first.len() > 50 && first.len() == second.len() && differ.is_none(), "seed {seed}: {differ:?}");
    }
}
