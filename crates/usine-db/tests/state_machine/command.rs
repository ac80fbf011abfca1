//! What people, workers and the clock may do, in any order.

use proptest::prelude::*;
use proptest::sample::Index;
use usine_model::work_request::Results;

use crate::model::KINDS;

/// One step. Work requests and keys are named by their place among those that there are by then.
#[derive(Debug, Clone)]
pub enum Command {
    /// Somebody submits one of a kind.
    Submit {
        kind: usize,
        priority: i32,
    },
    /// The scheduler gives work to all who wait for it.
    Schedule,
    /// Somebody gives any work request to any worker; `outdated`: as the worker was when it had said something else.
    Assign {
        request: Which,
        worker: usize,
        outdated: bool,
    },
    /// A worker asks for work.
    Fetch {
        worker: usize,
    },
    /// A worker reports with one of the newest keys; `elsewhere`: for another work request than the key's.
    Report {
        key: Index,
        result: Results,
        elsewhere: Option<Which>,
    },
    /// A new key for a work request.
    NewKey {
        request: Which,
    },
    Abort {
        request: Which,
    },
    Retry {
        request: Which,
    },
    DeAssign {
        request: Which,
    },
    Prioritize {
        request: Which,
        adjustment: i32,
    },
    /// It passes its deadline.
    Deadline {
        request: Which,
    },
    /// It turns out to be broken before it runs.
    FailPending {
        request: Which,
    },
    /// It makes an artifact.
    Artifact {
        request: Which,
    },
    /// A worker has been silent for too long; `before`: says somebody who saw it before it last connected.
    Lose {
        worker: usize,
        before: bool,
    },
    Connect {
        worker: usize,
    },
    Disconnect {
        worker: usize,
    },
    Enable {
        worker: usize,
        enabled: bool,
    },
    /// A worker says what it can do.
    Tell {
        worker: usize,
        tags: u8,
    },
    /// An administrator reserves a worker, or no more.
    Reserve {
        worker: usize,
        reserved: bool,
    },
    /// An administrator gives a worker more or less room.
    Room {
        worker: usize,
        room: usize,
    },
    /// Time passes, in seconds, and all rests end that have lasted for long enough.
    Wait {
        seconds: i64,
    },
}

/// A work request: one that a worker has, if there is one and `live`, else any of the newest.
#[derive(Debug, Clone)]
pub struct Which {
    pub live: bool,
    pub place: Index,
}

/// How many workers there are.
pub const WORKERS: usize = 3;

/// Any command, the usual ones most often.
pub fn any_command() -> impl Strategy<Value = Command> {
    let which = || (prop::bool::weighted(0.7), any::<Index>()).prop_map(|(live, place)| Which { live, place });
    let worker = || 0..WORKERS;
    let result = prop::sample::select(vec![
        Results::Success,
        Results::Failure,
        Results::Error,
        Results::TemporaryFailure,
        Results::TemporaryFailure,
    ]);
    prop_oneof![
        6 => (0..KINDS.len(), -1..=1).prop_map(|(kind, priority)| Command::Submit { kind, priority }),
        16 => Just(Command::Schedule),
        3 => (which(), worker(), prop::bool::weighted(0.2))
            .prop_map(|(request, worker, outdated)| Command::Assign { request, worker, outdated }),
        14 => worker().prop_map(|worker| Command::Fetch { worker }),
        9 => (any::<Index>(), result, prop::option::weighted(0.1, which()))
            .prop_map(|(key, result, elsewhere)| Command::Report { key, result, elsewhere }),
        1 => which().prop_map(|request| Command::NewKey { request }),
        2 => which().prop_map(|request| Command::Abort { request }),
        3 => which().prop_map(|request| Command::Retry { request }),
        1 => which().prop_map(|request| Command::DeAssign { request }),
        2 => (which(), -1..=2).prop_map(|(request, adjustment)| Command::Prioritize { request, adjustment }),
        2 => which().prop_map(|request| Command::Deadline { request }),
        1 => which().prop_map(|request| Command::FailPending { request }),
        2 => which().prop_map(|request| Command::Artifact { request }),
        3 => (worker(), prop::bool::weighted(0.3)).prop_map(|(worker, before)| Command::Lose { worker, before }),
        8 => worker().prop_map(|worker| Command::Connect { worker }),
        1 => worker().prop_map(|worker| Command::Disconnect { worker }),
        1 => (worker(), Just(false)).prop_map(|(worker, enabled)| Command::Enable { worker, enabled }),
        5 => (worker(), Just(true)).prop_map(|(worker, enabled)| Command::Enable { worker, enabled }),
        6 => (worker(), prop::sample::select(vec![0u8, 1, 2, 3, 3, 3])).prop_map(|(worker, tags)| Command::Tell { worker, tags }),
        1 => (worker(), prop::bool::weighted(0.3)).prop_map(|(worker, reserved)| Command::Reserve { worker, reserved }),
        1 => (worker(), 1..=3usize).prop_map(|(worker, room)| Command::Room { worker, room }),
        3 => prop::sample::select(vec![1, 1, 59, 60, 61, 61, 299, 301, 301, 901, 901, 4000]).prop_map(|seconds| Command::Wait { seconds }),
    ]
}
