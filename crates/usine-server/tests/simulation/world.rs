//! The loop: one event after the other, each at its time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use usine_db::entity::event;
use usine_model::clock::{Clock, ManualClock};
use usine_protocol::channel::ServerMessage;

use crate::dice::Dice;
use crate::ground::{SeededEntropy, Template};
use crate::judge::Judge;
use crate::network::{Actor, Call, Outcome, Weather};
use crate::people::People;
use crate::plan::{Act, Fault, Plan, SECOND};
use crate::server::Server;
use crate::worker::{Timer, Worker};

/// Longest that all work may take to end when nothing goes wrong any more: rests alone are 21 minutes.
const PATIENCE: i64 = 4 * 3600 * SECOND;

/// When all worlds begin.
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// What can happen.
#[derive(Debug)]
pub enum Event {
    // on the network
    Arrive { call: u64 },
    Outcome { call: u64, outcome: Outcome },
    Dial { worker: usize, life: u64 },
    Message { worker: usize, connection: u64, message: ServerMessage },
    ServerMisses { connection: u64 },
    WorkerMisses { worker: usize, connection: u64 },
    // in the server
    Told { boot: u64, event: Box<event::Model> },
    Schedule { boot: u64, again: bool },
    Upkeep { boot: u64 },
    // at the workers
    Timer { worker: usize, life: u64, stamp: u64, timer: Timer },
    // people
    Act(Act),
    Resubmit { tries: u32 },
    // faults and their ends
    Fault(Fault),
    ServerBack,
    WorkerBack { worker: usize },
    Reconnected { who: Actor },
    Enable { worker: usize },
    Calm,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// How often what happened.
        #[derive(Debug, Default, Clone)]
        pub struct Done { $($(#[$doc])* pub $name: u64),+ }

        impl Done {
            pub fn add(&mut self, other: &Self) { $(self.$name += other.$name;)+ }

            pub fn all(&self) -> Vec<(&'static str, u64)> { vec![$((stringify!($name), self.$name)),+] }
        }
    };
}

counters! {
    submitted, handed_out, accepted, repeated, refused_reports, lost_answers, server_crashes, worker_crashes, cuts, aborts, retries,
    superseded, given_up, leases_lost, delivered_from_spool, artifacts,
}

/// One world.
pub struct World<'a> {
    pub dice: Dice,
    pub weather: Weather,
    pub clock: Arc<ManualClock>,
    pub entropy: Arc<SeededEntropy>,
    pub server: Server,
    pub workers: Vec<Worker>,
    pub people: People,
    pub judge: Judge,
    pub done: Done,
    pub cut: BTreeSet<Actor>,
    /// Broken channels, and since when.
    pub severed: BTreeMap<u64, i64>,
    pub calls: BTreeMap<u64, Call>,
    pub doubles: BTreeMap<u64, Call>,
    /// The server crashes after the next answer that it would give, for so long.
    pub crash_before_answer: Option<i64>,
    /// Nothing goes wrong any more.
    pub calm: bool,
    calm_at: i64,
    time: i64,
    queue: BTreeMap<(i64, u64), Event>,
    next: u64,
    story: &'a Mutex<Vec<String>>,
}

impl<'a> World<'a> {
    pub async fn new(seed: u64, story: &'a Mutex<Vec<String>>) -> Self {
        let template = Template::get().await;
        let mut dice = Dice(seed);
        let plan = Plan::of(&mut dice);
        let entropy = Arc::new(SeededEntropy { seed, count: AtomicU64::new(0) });
        let mut world = Self {
            dice,
            weather: plan.weather,
            clock: Arc::new(ManualClock::at(noon())),
            entropy,
            server: Server::new(template),
            workers: template.workers[..plan.workers].iter().map(|(id, key)| Worker::new(*id, key)).collect(),
            people: People::new(&template.user),
            judge: Judge::default(),
            done: Done::default(),
            cut: BTreeSet::new(),
            severed: BTreeMap::new(),
            calls: BTreeMap::new(),
            doubles: BTreeMap::new(),
            crash_before_answer: None,
            calm: false,
            calm_at: plan.calm,
            time: 0,
            queue: BTreeMap::new(),
            next: 0,
            story,
        };
        world.note(|| format!("{plan:?}"));
        world.after(0, Event::ServerBack);
        for worker in 0..plan.workers {
            world.after(10, Event::WorkerBack { worker });
        }
        for (at, fault) in plan.faults {
            world.after(at, Event::Fault(fault));
        }
        for (at, act) in plan.acts {
            world.after(at, Event::Act(act));
        }
        world.after(plan.calm, Event::Calm);
        world
    }

    /// Milliseconds since noon.
    pub fn time(&self) -> i64 {
        self.time
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Something happens later.
    pub fn after(&mut self, milliseconds: i64, event: Event) {
        let number = self.number();
        self.queue.insert((self.time + milliseconds, number), event);
    }

    /// A line of the story.
    pub fn note(&self, line: impl FnOnce() -> String) {
        let line = format!("{:>9.3}  {}", self.time as f64 / 1000.0, line());
        self.story.lock().unwrap().push(line);
    }

    /// Until all work has ended, and nobody has anything to do.
    pub async fn run(&mut self) -> Result<Done, String> {
        while let Some(((time, _), event)) = self.queue.pop_first() {
            self.time = time;
            self.clock.advance(noon() + TimeDelta::milliseconds(time) - self.clock.now());
            let upkeep = matches!(event, Event::Upkeep { .. });
            self.happen(event).await?;
            if !upkeep || !self.calm {
                continue;
            }
            if self.everybody_rests() && self.all_has_ended().await {
                self.verdict().await?;
                return Ok(self.done.clone());
            }
            if time > self.calm_at + PATIENCE {
                return Err(format!("it does not come to an end: {}", self.what_is_left().await));
            }
        }
        Err("nothing happens any more".to_owned())
    }

    async fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrive { call } => return self.arrive(call).await,
            Event::Outcome { call, outcome } => return self.outcome(call, outcome).await,
            Event::Dial { worker, life } => self.dialled(worker, life).await,
            Event::Message { worker, connection, message } => self.worker_is_told(worker, connection, message),
            Event::ServerMisses { connection } => self.hang_up(connection).await,
            Event::WorkerMisses { worker, connection } => self.worker_misses(worker, connection),
            Event::Told { boot, event } => self.told(boot, &event).await,
            Event::Schedule { boot, again } => return self.schedule(boot, again).await,
            Event::Upkeep { boot } => return self.upkeep(boot).await,
            Event::Timer { worker, life, stamp, timer } => self.timer(worker, life, stamp, timer),
            Event::Act(act) => self.act(act),
            Event::Resubmit { tries } => self.submit(tries),
            Event::Fault(fault) => self.fault(fault).await,
            Event::ServerBack => self.start_server().await,
            Event::WorkerBack { worker } => self.start_worker(worker),
            Event::Reconnected { who } => {
                self.cut.remove(&who);
            }
            Event::Enable { worker } => self.enable(worker).await,
            Event::Calm => self.become_calm().await,
        }
        Ok(())
    }

    async fn fault(&mut self, fault: Fault) {
        self.note(|| format!("{fault:?}"));
        match fault {
            Fault::ServerCrash { back } => self.crash_server(back).await,
            Fault::CrashBeforeAnswer { back } => self.crash_before_answer = Some(back),
            Fault::WorkerCrash { worker, back, silent } => self.crash_worker(worker, back, silent),
            Fault::WorkerLoss { worker } => self.lose_worker(worker),
            Fault::Cut { who, lasts } => {
                self.done.cuts += 1;
                self.cut_off(who);
                self.after(lasts, Event::Reconnected { who });
            }
            Fault::Disable { worker, lasts } => {
                self.disable(worker).await;
                self.after(lasts, Event::Enable { worker });
            }
        }
    }

    /// From here on nothing goes wrong.
    async fn become_calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.calm = true;
        self.weather = Weather::default();
        self.crash_before_answer = None;
        self.cut.clear();
        let later = |event: &Event| {
            !matches!(event, Event::Fault(_) | Event::ServerBack | Event::WorkerBack { .. } | Event::Enable { .. })
        };
        self.queue.retain(|_, event| later(event));
        self.start_server().await;
        for worker in 0..self.workers.len() {
            self.start_worker(worker);
            self.enable(worker).await;
        }
    }

    /// Closes what is open.
    pub async fn end(&mut self) {
        self.server.stop().await;
    }
}
