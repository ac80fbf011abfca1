//! Three hundred random steps over three workers and ten work requests: whatever the order, the invariants hold, a
//! work request ends once, and a key reports once. The seeds are fixed, so that a walk that fails can be walked again.

mod farm;
mod support;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use farm::{Farm, stories};
use sea_orm::{EntityTrait, QueryOrder};
use support::dice::Dice;
use usine_db::entity::work_request;
use usine_db::work_request::{HandedOut, Loss, ReportOutcome, RetryError};
use usine_db::{Database, WorkRequest, Worker};
use usine_model::event::EventKind;
use usine_model::policy::DeadlinePassed;
use usine_model::token::TokenKey;
use usine_model::work_request::{Results, Statuses};

const STEPS: usize = 300;
const WORK_REQUESTS: usize = 10;

struct Walk<'a> {
    farm: Farm<'a>,
    dice: Dice,
    workers: Vec<Worker>,
    /// All keys that were ever handed out, and whether a report with it was accepted.
    keys: Vec<(i64, TokenKey, bool)>,
    /// How often each step did something.
    done: BTreeMap<&'static str, u32>,
}

impl Walk<'_> {
    /// Any that there ever was, or (as often) one that a worker has, where more can happen.
    async fn some_work_request(&mut self) -> WorkRequest {
        let live = self.farm.work_requests().live().all(self.farm.db.reader()).await.unwrap();
        if !live.is_empty() && self.dice.roll(2) == 0 {
            return live[self.dice.roll(live.len())].clone();
        }
        let mut all = self.all().await;
        all.swap_remove(self.dice.roll(all.len()))
    }

    fn some_worker(&mut self) -> Worker {
        self.workers[self.dice.roll(self.workers.len())].clone()
    }

    async fn step(&mut self) {
        let (db, now) = (self.farm.db, self.farm.now());
        let manager = self.farm.work_requests();
        let worker = self.some_worker();
        let mut row = self.some_work_request().await;
        let (name, effect) = match self.dice.roll(21) {
            0..5 => {
                let free = manager.pending(true, None).unwrap().all(db.reader()).await.unwrap();
                if !free.is_empty() {
                    row = free[self.dice.roll(free.len())].clone();
                }
                ("assign", row.assign_worker(db, &worker, None, now).await.unwrap())
            }
            5..10 => {
                let handed = self.farm.ask(&worker).await;
                if let Some(HandedOut { work_request, key }) = &handed {
                    self.keys.push((work_request.id, key.clone(), false));
                }
                ("fetch", handed.is_some())
            }
            10..13 if !self.keys.is_empty() => ("report", self.report().await),
            13 => {
                let ended = row.status.is_terminal();
                let aborted = row.abort(db, None, now).await.unwrap().is_ok();
                assert!(!(ended && aborted));
                ("abort", aborted)
            }
            14 => ("retry", self.retry(&row).await),
            15 => ("de-assign", row.de_assign_worker(db, now).await.unwrap()),
            16 => {
                let lost = manager.lose_worker(&worker, Loss { silent_for: 120 }, now).await.unwrap();
                ("lose", !lost.is_empty())
            }
            20 => {
                let rested = manager.rested(now + TimeDelta::hours(1)).all(db.reader()).await.unwrap();
                let mut ended = false;
                for resting in rested {
                    ended |= manager.end_rest(resting.id, now + TimeDelta::hours(1)).await.unwrap();
                }
                ("rest", ended)
            }
            17 => ("deadline", manager.pass_deadline(row.id, DeadlinePassed::Total(60), now).await.unwrap()),
            18 if self.dice.roll(2) == 0 => {
                ("fail", manager.fail_pending(row.id, "code", "message", now).await.unwrap())
            }
            18 if *row.status == Statuses::Running => {
                self.farm.leave_artifact(&row).await;
                ("artifact", true)
            }
            19 if self.dice.roll(3) == 0 => {
                worker.disable(db, now).await.unwrap();
                worker.token(db).await.unwrap().unwrap().enable(db, now).await.unwrap();
                ("disable", true)
            }
            _ => {
                let position = self.workers.iter().position(|other| other.id == worker.id).unwrap();
                self.workers[position].mark_connected(db, now).await.unwrap();
                ("connect", true)
            }
        };
        *self.done.entry(name).or_default() += u32::from(effect);
        // What ended makes room for new work.
        let open = self.all().await.iter().filter(|row| !row.status.is_terminal()).count();
        for _ in open..WORK_REQUESTS {
            self.farm.pending().await;
        }
    }

    /// All work requests that there ever were.
    async fn all(&self) -> Vec<WorkRequest> {
        work_request::Entity::find().order_by_asc(work_request::Column::Id).all(self.farm.db.reader()).await.unwrap()
    }

    /// A worker reports with any of the last keys, live or stale, once or again.
    async fn report(&mut self) -> bool {
        let recent = self.keys.len().min(6);
        let n = self.keys.len() - 1 - self.dice.roll(recent);
        let (id, key, accepted) = self.keys[n].clone();
        let before = self.farm.work_requests().get(id).await.unwrap();
        let result = [Results::Success, Results::Failure, Results::TemporaryFailure][self.dice.roll(3)];
        let answer = self.farm.report(id, &key, result).await;
        let after = self.farm.work_requests().get(id).await.unwrap();
        match answer {
            ReportOutcome::Accepted => {
                assert!(!accepted && *before.status == Statuses::Running);
                assert_eq!((*after.status, *after.result), (Statuses::Completed, result));
                self.keys[n].2 = true;
            }
            ReportOutcome::Repeated => assert!(accepted && after == before),
            ReportOutcome::NotRunning => assert!(!accepted && after == before),
            ReportOutcome::NotFound => panic!("the key was handed out for {id}"),
        }
        answer == ReportOutcome::Accepted
    }

    async fn retry(&self, row: &WorkRequest) -> bool {
        match row.retry(self.farm.db, None, self.farm.now()).await {
            Ok(_) => true,
            Err(RetryError::NotAllowed(_)) => false,
            Err(RetryError::Database(error)) => panic!("{error}"),
        }
    }

    /// Every end has exactly one event.
    async fn check_ends(&self) {
        for row in self.all().await {
            let ends = self.farm.history(&row).await;
            let ends = ends.iter().filter(|kind| matches!(kind, EventKind::Completed | EventKind::Aborted)).count();
            assert_eq!(ends, usize::from(row.status.is_terminal()), "{row}");
        }
    }
}

async fn walk(db: &Database, seed: u64) {
    let farm = Farm::new(db);
    let mut workers = Vec::new();
    for name in ["one", "two", "three"] {
        workers.push(farm.worker(name).await);
    }
    for _ in 0..WORK_REQUESTS {
        farm.pending().await;
    }
    let mut walk = Walk { farm, dice: Dice(seed), workers, keys: Vec::new(), done: BTreeMap::new() };
    for step in 1..=STEPS {
        walk.step().await;
        if step % 20 == 0 {
            let violations = usine_db::invariants::check(db).await.unwrap();
            assert_eq!(violations, [], "seed {seed}, after step {step}");
        }
    }
    walk.check_ends().await;
    // A walk that does nothing finds nothing.
    for name in ["assign", "fetch", "report", "abort", "retry", "de-assign", "lose", "deadline", "rest"] {
        assert!(walk.done.get(name).is_some_and(|times| *times > 0), "seed {seed}: {name} in {:?}", walk.done);
    }
}

stories! {
    async fn walk_with_seed_1(db: &Database) {
        walk(db, 1).await;
    }

    async fn walk_with_seed_20261123(db: &Database) {
        walk(db, 20_261_123).await;
    }

    async fn walk_with_seed_58(db: &Database) {
        walk(db, 58).await;
    }
}
