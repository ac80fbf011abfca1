//! The queue as the scheduler sees it: lanes, and the first work requests of each.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use usine_db::QueueManager;
use usine_db::scheduling::{Lane, QueueHead};
use usine_model::fair_share::{FairShare, Head};
use usine_model::matching::RequirementSet;

use super::owner_of;

/// All lanes and requirement sets that were met so far: they never change, so that each is read once.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<i64, Lane>,
    sets: BTreeMap<i64, RequirementSet>,
}

impl Lanes {
    /// The lanes in which something waits.
    pub(super) async fn open(&mut self, queue: &QueueManager<'_>) -> usine_db::Result<Vec<i64>> {
        let open = queue.open_lanes().await?;
        if let Some(first) = open.iter().find(|id| !self.lanes.contains_key(id)) {
            self.lanes.extend(queue.lanes(first - 1).await?.into_iter().map(|lane| (lane.id, lane)));
        }
        let sets = open.iter().filter_map(|id| self.lanes.get(id)).map(|lane| lane.requirement_set_id);
        if let Some(first) = sets.filter(|set| !self.sets.contains_key(set)).min() {
            self.sets.extend(queue.requirement_sets(first - 1).await?);
        }
        Ok(open)
    }

    /// The lane, and what its work requests ask of workers.
    pub(super) fn get(&self, id: i64) -> Option<(&Lane, &RequirementSet)> {
        let lane = self.lanes.get(&id)?;
        Some((lane, self.sets.get(&lane.requirement_set_id)?))
    }
}

/// The first work requests of lanes, for one run.
pub(super) struct Waiting {
    lanes: HashMap<i64, VecDeque<Head>>,
    lane_of: HashMap<i64, i64>,
    /// Lanes of which not all was read.
    cut: HashSet<i64>,
}

impl Waiting {
    /// What was read: at most `each` of a lane, in the order of the queue.
    pub(super) fn new(lanes: &Lanes, heads: Vec<QueueHead>, each: u64) -> Self {
        let mut waiting = Self { lanes: HashMap::new(), lane_of: HashMap::new(), cut: HashSet::new() };
        for head in heads {
            let Some((lane, _)) = lanes.get(head.lane_id) else { continue };
            let owner = owner_of(lane.workspace_id, lane.created_by_id);
            let QueueHead { id, lane_id, priority, created_at } = head;
            waiting.lane_of.insert(id, lane_id);
            let lane = waiting.lanes.entry(lane_id).or_default();
            lane.push_back(Head { id, priority, created_at, owner });
            if lane.len() as u64 >= each {
                waiting.cut.insert(lane_id);
            }
        }
        waiting
    }

    /// Takes the work request of these lanes whose turn it is.
    pub(super) fn take_next(&mut self, lanes: &[i64], shares: &FairShare) -> Option<Head> {
        let heads = lanes.iter().filter_map(|lane| self.lanes.get(lane)?.front());
        let next = *shares.next(heads)?;
        self.lanes.get_mut(self.lane_of.get(&next.id)?)?.pop_front()
    }

    /// Puts back what was taken, in the order in which it was taken.
    pub(super) fn put_back(&mut self, heads: Vec<Head>) {
        for head in heads.into_iter().rev() {
            if let Some(lane) = self.lane_of.get(&head.id).and_then(|lane| self.lanes.get_mut(lane)) {
                lane.push_front(head);
            }
        }
    }

    /// Whether a lane is used up of which not all was read.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.iter().any(|lane| self.lanes.get(lane).is_none_or(VecDeque::is_empty))
    }
}
