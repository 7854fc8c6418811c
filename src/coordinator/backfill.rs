//! Backfills: a view that is being made, or rebuilt, gets its parents' rows in portions, and is live when it has all of them.
//!
//! Over small relations there is one portion. Otherwise each next one is given when the view has come to where the one before counts, and
//! counts itself as of the epoch that is closed right after. A view that is being made has its portions in the catalog with their epochs:
//! so a manifest that holds it at an epoch says what it has there, and a start continues after that, by the change logs of its parents for
//! what it has and with portions for what it has not. It becomes live when a manifest holds all of it.
//!
//! What the store has of a view that is rebuilt is what may be read meanwhile: nothing new takes its place until it is whole, and a
//! start begins again.
//!
//! Which portions are due is decided here, by what the ledger has of those given before; `build` gives them.

use super::lag::Lagging;
use super::ledger::Ledger;
use crate::dataflow::relations::Relations;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::arrangement::Arrangement;
use weir_storage::key::Portion;

/// Rows of its largest parent that a view gets at a time, as long as that makes no more than [`Portion::PARTS`] portions. Some seconds'
/// work, which is what a crash costs; a group that all portions touch changes with each of them, so many small ones cost more than that.
pub const PORTION_ROWS: usize = 8_000_000;

/// What is known of views that are made.
pub struct Facts<'a> {
    pub relations: &'a Relations,
    pub ledger: &'a Ledger,
    pub lagging: &'a Lagging,
}

pub struct Backfills {
    /// Rows of its largest parent that a view is given at a time.
    portion_rows: usize,
    /// And bytes of them.
    portion_bytes: usize,
    /// Bytes of changes kept in memory for one view.
    history_limit: usize,
}

impl Backfills {
    pub fn new(portion_rows: usize, portion_bytes: usize, history_limit: usize) -> Self {
        Self { portion_rows, portion_bytes, history_limit }
    }

    /// What comes after `taken` for a view of `parents`.
    pub fn after(&self, taken: Portion, parents: &[RelationId], relations: &Relations) -> Portion {
        let size = |parent: &RelationId| {
            let (mut rows, mut bytes) = (0usize, 0);
            for stats in relations.get(*parent)?.rows.iter().map(Arrangement::stats) {
                rows = rows.saturating_add(stats.rows.max(0) as usize);
                bytes += stats.values;
            }
            Some((rows, bytes))
        };
        cut(taken, (self.portion_rows, self.portion_bytes), parents.iter().filter_map(size))
    }

    /// The next portion for every view that has come to where the one before counts, in the order from parents to children.
    pub fn due(&self, facts: &Facts<'_>) -> Vec<(RelationId, Portion)> {
        let next = |(id, taken, at): (RelationId, Portion, Epoch)| {
            let view = facts.relations.get(id)?;
            // What the view comes upon of a portion before the step to it waits in memory.
            let has_room = view.history.bytes() <= self.history_limit / 2;
            if facts.lagging.is_detached(id) || view.upper() < at || !has_room {
                return None;
            }
            let parents: Vec<RelationId> = view.parents.iter().map(|parent| parent.id).collect();
            Some((id, self.after(taken, &parents, facts.relations)))
        };
        facts.ledger.in_parts().filter_map(next).collect()
    }
}

/// Whether a view that waits for its next portion has come to the last epoch, `closed`, while its history is in the store: it follows its
/// parents again from a checkpoint on, and nothing else may lead to one.
pub fn need_checkpoint(facts: &Facts<'_>, closed: Epoch) -> bool {
    let has_come = |id: RelationId| facts.relations.get(id).is_some_and(|view| view.upper() >= closed);
    facts.ledger.in_parts().any(|(id, ..)| facts.lagging.is_detached(id) && has_come(id))
}

/// What comes after `taken` of parents that have so many rows and bytes; a portion has `most` of them.
fn cut(taken: Portion, most: (usize, usize), sizes: impl Iterator<Item = (usize, usize)>) -> Portion {
    let portions = sizes.map(|(rows, bytes)| rows.div_ceil(most.0).max(bytes.div_ceil(most.1)));
    let portions = portions.max().unwrap_or(0).clamp(1, Portion::PARTS as usize);
    let parts = (Portion::PARTS as usize).div_ceil(portions) as u8;
    Portion::new(taken.to(), (taken.to() + parts).min(Portion::PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::coordinator::lag;
    use crate::coordinator::ledger::{Backfilled, Entry, Kind, Sealed};
    use crate::coordinator::rig::{TABLE, VIEW, epoch, ledger, relations};
    use weir_storage::manifest::Manifest;

    const BYTES: usize = 1 << 30;

    /// Rows and bytes of the parents -> the portions, one after the other, by their ends.
    #[test]
    fn a_view_gets_the_rows_of_its_largest_parent_in_portions_of_a_size() {
        for (sizes, expected) in [
            (vec![], vec![8]),
            (vec![(0, 0)], vec![8]),
            (vec![(100, BYTES)], vec![8]),
            (vec![(101, 0)], vec![4, 8]),
            (vec![(1, BYTES + 1)], vec![4, 8]),
            (vec![(50, 0), (101, 0)], vec![4, 8]),
            (vec![(300, 0)], vec![3, 6, 8]),
            (vec![(301, 2 * BYTES)], vec![2, 4, 6, 8]),
            (vec![(usize::MAX, usize::MAX)], vec![1, 2, 3, 4, 5, 6, 7, 8]),
        ] {
            let (mut taken, mut ends) = (Portion::NOTHING, vec![]);
            while taken.to() < Portion::PARTS {
                let next = cut(taken, (100, BYTES), sizes.iter().copied());
                assert_eq!(next.from(), taken.to(), "{sizes:?}");
                ends.push(next.to());
                taken = next;
            }
            assert_eq!(ends, expected, "{sizes:?}");
        }
    }

    /// A view that is being made and has half of its table as of epoch 10.
    fn half_made() -> Ledger {
        let mut ledger = ledger();
        ledger.forget(VIEW);
        ledger.enter(VIEW, Entry::new(Kind::View, vec![TABLE], epoch(1)));
        ledger.give(VIEW, Backfilled::up_to(Portion::new(0, 4), epoch(10)));
        ledger
    }

    /// Nobody is far behind.
    fn nobody() -> Lagging {
        Lagging::new(usize::MAX, u64::MAX)
    }

    /// The view is, from epoch 10 on.
    fn detached(relations: &Relations, ledger: &mut Ledger) -> Lagging {
        let mut lagging = Lagging::new(0, u64::MAX);
        relations.checkpoint_epochs.push(epoch(10));
        ledger.published(epoch(10), &Sealed::from([(TABLE, epoch(10))]));
        relations.get(VIEW).expect("it is there").history.add(1);
        let (manifest, catalog) = (Manifest::default(), Catalog::default());
        lagging.tend(&lag::Facts { relations, ledger, manifest: &manifest, catalog: &catalog });
        assert!(lagging.is_detached(VIEW));
        lagging
    }

    /// Where the view is, and how much waits for it -> whether it gets the rest.
    #[test]
    fn the_next_portion_is_due_where_the_one_before_counts_if_there_is_room() {
        let backfills = Backfills::new(100, BYTES, 1000);
        let rest = vec![(VIEW, Portion::new(4, 8))];
        for (upper, history, expected) in [(9, 0, vec![]), (10, 0, rest.clone()), (12, 500, rest), (12, 501, vec![])] {
            let (relations, ledger, lagging) = (relations(20, upper), half_made(), nobody());
            relations.get(VIEW).expect("it is there").history.add(history);
            let facts = Facts { relations: &relations, ledger: &ledger, lagging: &lagging };
            assert_eq!(backfills.due(&facts), expected, "at {upper} with {history} bytes");
            assert!(!need_checkpoint(&facts, epoch(upper)), "its history is in memory");
        }
    }

    #[test]
    fn what_has_everything_or_is_gone_gets_nothing_more() {
        let (mut ledger, lagging) = (half_made(), nobody());
        let due = |relations: &Relations, ledger: &Ledger| {
            Backfills::new(100, BYTES, 1000).due(&Facts { relations, ledger, lagging: &lagging })
        };
        let relations = relations(20, 12);
        ledger.give(VIEW, Backfilled::up_to(Portion::new(4, 8), epoch(12)));
        assert_eq!(due(&relations, &ledger), []);
        let ledger = half_made();
        assert_eq!(due(&relations, &ledger).len(), 1);
        relations.remove(VIEW);
        assert_eq!(due(&relations, &ledger), []);
    }

    #[test]
    fn a_view_whose_history_is_in_the_store_waits_for_a_checkpoint_and_not_in_vain() {
        let (relations, mut ledger) = (relations(20, 10), half_made());
        let lagging = detached(&relations, &mut ledger);
        let facts = Facts { relations: &relations, ledger: &ledger, lagging: &lagging };
        assert_eq!(Backfills::new(100, BYTES, 1000).due(&facts), []);
        assert!(!need_checkpoint(&facts, epoch(11)), "it has yet to come to the last epoch");
        assert!(need_checkpoint(&facts, epoch(10)));
    }
}
