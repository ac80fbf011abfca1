//! What will go wrong, and when: all from the seed.

use crate::dice::Dice;
use crate::ground::WORKERS;
use crate::network::{Actor, Weather};

/// Milliseconds.
pub const SECOND: i64 = 1000;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The server is gone, and comes back after so many milliseconds.
    ServerCrash { back: i64 },
    /// The same, right after a commit, so that the answer is never sent.
    CrashBeforeAnswer { back: i64 },
    /// A worker is gone; what it has spooled is kept. `silent`: nobody closes its connection.
    WorkerCrash { worker: usize, back: i64, silent: bool },
    /// A worker is gone for ever. Never the first.
    WorkerLoss { worker: usize },
    /// Somebody is cut off from the server.
    Cut { who: Actor, lasts: i64 },
    /// An administrator disables a worker for a while.
    Disable { worker: usize, lasts: i64 },
}

/// What somebody does with one of the work requests that they know.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Submit,
    Show,
    Abort,
    Retry,
    Prioritize,
}

/// The plan of one world.
#[derive(Debug)]
pub struct Plan {
    pub workers: usize,
    pub weather: Weather,
    /// When the last fault is over, in milliseconds.
    pub calm: i64,
    pub faults: Vec<(i64, Fault)>,
    pub acts: Vec<(i64, Act)>,
}

impl Plan {
    pub fn of(dice: &mut Dice) -> Self {
        let workers = 1 + dice.roll(WORKERS);
        let calm = (90 + dice.roll(180) as i64) * SECOND;
        let weather = Weather {
            lost: *dice.pick(&[0, 2, 10, 25]),
            doubled: *dice.pick(&[0, 0, 3, 10]),
            slow: *dice.pick(&[0, 5, 20]),
        };
        let within = |dice: &mut Dice, limit: i64| dice.roll(usize::try_from(limit).unwrap()) as i64;
        let mut faults = Vec::new();
        for _ in 0..dice.roll(7) {
            let at = within(dice, calm);
            let worker = dice.roll(workers);
            let lasts = if dice.toss() { within(dice, 20 * SECOND) } else { within(dice, 240 * SECOND) };
            let fault = match dice.roll(10) {
                0 => Fault::ServerCrash { back: lasts / 3 },
                1 | 2 => Fault::CrashBeforeAnswer { back: lasts / 3 },
                3..=5 => Fault::WorkerCrash { worker, back: lasts, silent: dice.toss() },
                6 => Fault::Cut { who: Actor::Worker(worker), lasts },
                7 => Fault::Cut { who: *dice.pick(&[Actor::Worker(worker), Actor::People]), lasts },
                8 if worker > 0 => Fault::WorkerLoss { worker },
                _ => Fault::Disable { worker, lasts },
            };
            faults.push((at, fault));
        }
        let mut acts = Vec::new();
        for _ in 0..3 + dice.roll(8) {
            acts.push((within(dice, calm), Act::Submit));
        }
        for _ in 0..dice.roll(8) {
            acts.push((within(dice, calm), *dice.pick(&[Act::Show, Act::Abort, Act::Retry, Act::Prioritize])));
        }
        Self { workers, weather, calm, faults, acts }
    }
}
