//! What has expired, what is kept all the same, and in which order the rest goes.
//!
//! The rules of relations: whatever a kept artifact relates to is kept, and whatever extends a kept artifact is kept.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::artifact::RelationType;

/// When something goes that was made at this time and has this delay in seconds; `None` is never. A delay of 0 is never,
/// and so is one beyond the calendar.
pub fn expire_at(created_at: DateTime<Utc>, delay: i64) -> Option<DateTime<Utc>> {
    if delay == 0 {
        return None;
    }
    TimeDelta::try_seconds(delay).and_then(|delay| created_at.checked_add_signed(delay))
}

/// The latest time of making with which something has expired by `now`; `None` if nothing has.
pub fn made_before(now: DateTime<Utc>, delay: i64) -> Option<DateTime<Utc>> {
    if delay == 0 {
        return None;
    }
    TimeDelta::try_seconds(delay).and_then(|delay| now.checked_sub_signed(delay))
}

/// A relation between two artifacts, as far as expiry looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// The artifact that relates.
    pub source: i64,
    /// The artifact that it relates to.
    pub target: i64,
    /// How.
    pub relation_type: RelationType,
}

impl Relation {
    /// Who keeps whom.
    fn keeps(self) -> impl Iterator<Item = (i64, i64)> {
        let back = (self.relation_type == RelationType::Extends).then_some((self.target, self.source));
        std::iter::once((self.source, self.target)).chain(back)
    }
}

/// Everything that is kept: `roots`, and what they keep by these relations, however far away.
pub fn kept(roots: impl IntoIterator<Item = i64>, relations: &[Relation]) -> BTreeSet<i64> {
    let keeps = Keeps::new(relations.iter().flat_map(|relation| relation.keeps()));
    let mut seen = BTreeSet::new();
    for root in roots {
        keeps.walk(root, &mut seen, &mut |_| {});
    }
    seen
}

/// Artifacts that all may go, in the order in which they do: an artifact comes after everything that would keep it, or in
/// one group with it if they would keep each other.
pub fn groups(ids: &BTreeSet<i64>, relations: &[Relation]) -> Vec<Vec<i64>> {
    let inside = |(keeper, kept): &(i64, i64)| ids.contains(keeper) && ids.contains(kept);
    let edges: Vec<_> = relations.iter().flat_map(|relation| relation.keeps()).filter(inside).collect();

    // Kosaraju's algorithm: what is left last in a walk keeps whatever was left earlier, or is kept by it, too.
    let (mut seen, mut left) = (BTreeSet::new(), Vec::new());
    let keeps = Keeps::new(edges.iter().copied());
    for &id in ids {
        keeps.walk(id, &mut seen, &mut |id| left.push(id));
    }
    let kept_by = Keeps::new(edges.into_iter().map(|(keeper, kept)| (kept, keeper)));
    let mut seen = BTreeSet::new();
    let groups = left.into_iter().rev().map(|id| {
        let mut group = Vec::new();
        kept_by.walk(id, &mut seen, &mut |id| group.push(id));
        group.sort_unstable();
        group
    });
    groups.filter(|group| !group.is_empty()).collect()
}

/// Who keeps whom, by keeper.
struct Keeps(BTreeMap<i64, Vec<i64>>);

impl Keeps {
    fn new(edges: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut keeps: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (keeper, kept) in edges {
            keeps.entry(keeper).or_default().push(kept);
        }
        Self(keeps)
    }

    fn of(&self, id: i64) -> &[i64] {
        self.0.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Goes from `start` to everything not yet `seen` that it keeps, the deepest first, and says when it leaves each.
    /// Without recursion: chains of relations may be long.
    fn walk(&self, start: i64, seen: &mut BTreeSet<i64>, leave: &mut impl FnMut(i64)) {
        if !seen.insert(start) {
            return;
        }
        let mut path = vec![(start, self.of(start).iter())];
        while let Some((id, kept)) = path.last_mut() {
            match kept.next() {
                Some(&next) if seen.insert(next) => path.push((next, self.of(next).iter())),
                Some(_) => {}
                None => {
                    leave(*id);
                    path.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn relation((source, target, kind): (i64, i64, u8)) -> Relation {
        let types = [RelationType::Extends, RelationType::RelatesTo, RelationType::BuiltUsing];
        Relation { source, target, relation_type: types[usize::from(kind)] }
    }

    fn relations(list: &[(i64, i64, u8)]) -> Vec<Relation> {
        list.iter().copied().map(relation).collect()
    }

    const EXTENDS: u8 = 0;
    const RELATES_TO: u8 = 1;

    #[test]
    fn a_delay_counts_from_the_making_and_zero_is_never() {
        let made: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let day = 24 * 3600;
        assert_eq!(expire_at(made, day), Some(made + TimeDelta::days(1)));
        assert_eq!(expire_at(made, 0), None);
        assert_eq!(expire_at(made, i64::MAX), None);
        assert_eq!(made_before(made + TimeDelta::days(1), day), Some(made));
        assert_eq!(made_before(made, 0), None);
        assert_eq!(made_before(made, i64::MAX), None);
    }

    #[test]
    fn a_report_keeps_what_it_is_about_and_not_the_other_way_round() {
        let about = relations(&[(1, 2, RELATES_TO), (2, 3, RELATES_TO)]);
        assert_eq!(kept([1], &about), BTreeSet::from([1, 2, 3]));
        assert_eq!(kept([2], &about), BTreeSet::from([2, 3]));
        assert_eq!(kept([3], &about), BTreeSet::from([3]));
    }

    #[test]
    fn an_upload_keeps_what_extends_it_and_is_kept_by_that() {
        // A log about a package that is part of an upload.
        let parts = relations(&[(1, 10, EXTENDS), (2, 10, EXTENDS), (3, 2, RELATES_TO)]);
        for root in [1, 2, 10] {
            assert_eq!(kept([root], &parts), BTreeSet::from([1, 2, 10]));
        }
        assert_eq!(groups(&BTreeSet::from([1, 2, 3, 10]), &parts), [vec![3], vec![1, 2, 10]]);
    }

    #[test]
    fn a_long_chain_is_walked() {
        let chain: Vec<_> = (0..100_000).map(|id| relation((id, id + 1, RELATES_TO))).collect();
        assert_eq!(kept([0], &chain).len(), 100_001);
        let ids: BTreeSet<i64> = (0..=100_000).collect();
        assert_eq!(groups(&ids, &chain).concat(), Vec::from_iter(ids));
    }

    /// The rules, word by word, again and again until nothing more is kept.
    fn reference(roots: &BTreeSet<i64>, relations: &[Relation]) -> BTreeSet<i64> {
        let mut kept = roots.clone();
        loop {
            let before = kept.len();
            for relation in relations {
                if kept.contains(&relation.source) {
                    kept.insert(relation.target);
                }
                if relation.relation_type == RelationType::Extends && kept.contains(&relation.target) {
                    kept.insert(relation.source);
                }
            }
            if kept.len() == before {
                return kept;
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_the_rules_say(
            roots in proptest::collection::btree_set(0i64..12, 0..4),
            list in proptest::collection::vec((0i64..12, 0i64..12, 0u8..3), 0..20),
        ) {
            let relations = relations(&list);
            prop_assert_eq!(kept(roots.iter().copied(), &relations), reference(&roots, &relations));
        }

        #[test]
        fn nothing_goes_before_what_would_keep_it(
            list in proptest::collection::vec((0i64..12, 0i64..12, 0u8..3), 0..20),
        ) {
            let relations = relations(&list);
            let ids: BTreeSet<i64> = (0..12).collect();
            let groups = groups(&ids, &relations);
            let mut gone = BTreeSet::new();
            for group in &groups {
                // Only what keeps nothing of the group may be left.
                let later: BTreeSet<i64> = ids.difference(&gone).copied().filter(|id| !group.contains(id)).collect();
                let keepers: BTreeSet<i64> = later
                    .iter()
                    .copied()
                    .filter(|id| reference(&BTreeSet::from([*id]), &relations).iter().any(|kept| group.contains(kept)))
                    .collect();
                prop_assert_eq!(keepers, BTreeSet::new(), "{:?} too early in {:?}", group, groups);
                gone.extend(group.iter().copied());
            }
            prop_assert_eq!(gone, ids);
            for group in groups.iter().filter(|group| group.len() > 1) {
                for id in group {
                    let kept = reference(&BTreeSet::from([*id]), &relations);
                    prop_assert!(group.iter().all(|other| kept.contains(other)), "{:?} is too large", group);
                }
            }
        }
    }
}
