//! The workers as the scheduler sees them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use usine_db::scheduling::Occupied;
use usine_db::{Worker, WorkerManager};
use usine_model::matching::Profile;
use usine_model::worker::WorkerType;

use super::lanes::Lanes;
use crate::memory::Known;
use crate::state::AppState;

/// The connected workers, as they were when something was last said of any of them.
#[derive(Default)]
pub(super) struct Fleet {
    generation: Option<i64>,
    /// `None`: it may not be given work.
    members: HashMap<i64, Option<Member>>,
    /// Workers that are alike are matched with requirement sets once.
    classes: Vec<Class>,
}

struct Member {
    worker: Arc<Worker>,
    class: usize,
    old: bool,
}

struct Class {
    profile: Arc<Profile>,
    /// Whether requirement sets fit.
    fits: HashMap<i64, bool>,
}

/// A worker that has room.
pub(super) struct Candidate {
    pub(super) worker: Arc<Worker>,
    pub(super) profile: Arc<Profile>,
    /// From before 0.13: not all task data can be said in its words.
    pub(super) old: bool,
    /// How many more work requests it may have.
    pub(super) room: u32,
    class: usize,
}

impl Candidate {
    /// Whether it does not take all that is in a lane that fits.
    pub(super) fn is_picky(&self) -> bool {
        self.old || self.profile.wants_source_package()
    }
}

/// The open lanes that fit workers.
pub(super) struct Fitting {
    /// Those that fit any of them.
    pub(super) any: Vec<i64>,
    by_class: HashMap<usize, Vec<i64>>,
}

impl Fitting {
    /// Those that fit this one.
    pub(super) fn of(&self, candidate: &Candidate) -> &[i64] {
        self.by_class.get(&candidate.class).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Fleet {
    /// Those of the connected workers that can be given work now, in their order.
    pub(super) async fn free(
        &mut self,
        state: &AppState,
        known: &Known,
        connected: &[i64],
        occupied: &[Occupied],
    ) -> usine_db::Result<Vec<Candidate>> {
        if self.generation != Some(known.generation()) || connected.iter().any(|id| !self.members.contains_key(id)) {
            self.read(state).await?;
            self.generation = Some(known.generation());
        }
        let mut held: HashMap<i64, i64> = HashMap::new();
        for one in occupied {
            *held.entry(one.worker).or_default() += 1;
        }
        let now = state.now();
        let candidates = connected.iter().filter_map(|id| {
            let member = self.members.get(id)?.as_ref()?;
            let room = i64::from(member.worker.concurrency) - held.get(id).copied().unwrap_or(0);
            let room = u32::try_from(room).ok().filter(|room| *room > 0)?;
            let profile = self.classes.get(member.class)?.profile.clone();
            let fresh = member.worker.has_fresh_metadata(now);
            fresh.then(|| Candidate {
                worker: member.worker.clone(),
                profile,
                old: member.old,
                room,
                class: member.class,
            })
        });
        Ok(candidates.collect())
    }

    async fn read(&mut self, state: &AppState) -> usine_db::Result<()> {
        let manager = WorkerManager(&state.database);
        // In this order: one that is disabled in between changes the generation, and all is read again.
        let (rows, disabled) = (manager.connected().all(state.database.reader()).await?, manager.disabled().await?);
        self.members.clear();
        self.classes.clear();
        for worker in rows {
            let id = worker.id;
            let in_server = *worker.worker_type == WorkerType::Celery;
            if !in_server && (worker.token_id.is_none() || disabled.contains(&id)) {
                self.members.insert(id, None);
                continue;
            }
            match (worker.profile(), worker.is_old()) {
                (Ok(profile), Ok(old)) => {
                    let alike = self.classes.iter().position(|class| *class.profile == profile);
                    let class = alike.unwrap_or_else(|| {
                        self.classes.push(Class { profile: Arc::new(profile), fits: HashMap::new() });
                        self.classes.len() - 1
                    });
                    self.members.insert(id, Some(Member { worker: Arc::new(worker), class, old }));
                }
                // One worker's trouble is not the others'.
                (Err(error), _) | (_, Err(error)) => {
                    tracing::error!(worker = worker.name, %error, "cannot give work to this worker");
                    self.members.insert(id, None);
                }
            }
        }
        Ok(())
    }

    /// Which of the open lanes fit which of these workers.
    pub(super) fn fitting(&mut self, lanes: &Lanes, open: &[i64], free: &[Candidate]) -> Fitting {
        let classes: BTreeSet<usize> = free.iter().map(|one| one.class).collect();
        let mut any = BTreeSet::new();
        let mut by_class = HashMap::new();
        for number in classes {
            let Some(Class { profile, fits }) = self.classes.get_mut(number) else { continue };
            let fitting: Vec<i64> = open
                .iter()
                .copied()
                .filter(|id| {
                    lanes.get(*id).is_some_and(|(lane, set)| {
                        *fits.entry(lane.requirement_set_id).or_insert_with(|| profile.fits_set(set))
                    })
                })
                .collect();
            any.extend(fitting.iter().copied());
            by_class.insert(number, fitting);
        }
        Fitting { any: any.into_iter().collect(), by_class }
    }
}
