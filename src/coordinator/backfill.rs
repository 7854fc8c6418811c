//! Backfills: a view that is being made, or built anew, gets its parents' rows in portions, and is live when it has all of them.
//!
//! Over small relations there is one portion. Otherwise each next one is given when the view has come to where the one before counts, and
//! counts itself as of the epoch that is closed right after. A view that is being made has its portions in the catalog with their epochs:
//! so a manifest that holds it at an epoch says what it has there, and a start goes on after that, by the change logs of its parents for
//! what it has and with portions for what it has not. It comes to life when a manifest holds all of it.
//!
//! What the store has of a view that is built anew is what may be read meanwhile: nothing new takes its place until it is whole, and a
//! start begins again.

use super::held::Coordinator;
use super::ledger::Given;
use crate::catalog::object::Filled;
use crate::catalog::{Body, Life, ViewBody};
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::arrangement::Arrangement;
use weir_storage::key::Portion;

/// Rows of its largest parent that a view gets at a time, as long as that makes no more than [`Portion::PARTS`] portions. Some seconds'
/// work, which is what a crash costs; a group that all portions touch changes with each of them, so many small ones cost more than that.
pub const PORTION_ROWS: usize = 8_000_000;

/// And bytes of them, where they are wide: on its way through a view a portion is in memory several times.
const PORTION_BYTES: usize = 1 << 30;

impl Coordinator {
    /// What comes after `taken` for a view of `parents`.
    pub(super) fn next_portion(&self, parents: &[RelationId], taken: Portion) -> Portion {
        let relations = self.engine.relations();
        let portions = |parent: &RelationId| {
            let (mut rows, mut bytes) = (0usize, 0);
            for stats in relations.get(*parent)?.rows.iter().map(Arrangement::stats) {
                rows = rows.saturating_add(stats.rows.max(0) as usize);
                bytes += stats.values;
            }
            Some(rows.div_ceil(self.portion_rows).max(bytes.div_ceil(PORTION_BYTES)))
        };
        let portions = parents.iter().filter_map(portions).max().unwrap_or(0).clamp(1, Portion::PARTS as usize);
        let parts = (Portion::PARTS as usize).div_ceil(portions) as u8;
        Portion::new(taken.to(), (taken.to() + parts).min(Portion::PARTS))
    }

    /// Says in the catalog what a view that is being made has from an epoch on.
    pub(super) fn edit_view(&mut self, id: RelationId, edit: impl FnOnce(&mut ViewBody)) {
        self.edit(|catalog| {
            if let Some(Body::View(view)) = catalog.objects.get_mut(&id.0).map(|object| &mut object.body) {
                edit(view);
            }
        });
    }

    /// The next portion for every view that has come to where the one before counts.
    pub(super) fn tend_backfills(&mut self) {
        let relations = self.engine.relations();
        let is_due = |id: &RelationId, at: Epoch| {
            // What the view comes upon of a portion before the step to it waits in memory.
            let room = |history: usize| history <= self.history_limit / 2;
            let attached = !self.lagging.is_detached(*id);
            relations.get(*id).is_some_and(|v| attached && v.upper() >= at && room(v.history.bytes()))
        };
        let due = self.ledger.in_parts().filter(|(id, _, at)| is_due(id, *at));
        let due: Vec<(RelationId, Portion)> = due.map(|(id, portion, _)| (id, portion)).collect();
        for (id, taken) in due {
            let Some(view) = self.engine.relations().get(id) else { continue };
            let parents: Vec<RelationId> = view.parents.iter().map(|parent| parent.id).collect();
            let (portion, at) = (self.next_portion(&parents, taken), self.epochs.closed().next());
            self.engine.backfill(id, portion, at);
            if self.catalog.get(id.0).is_some_and(|object| object.life == Life::Creating) {
                self.edit_view(id, |view| view.filled.push(Filled { at, parts: portion.to() }));
            }
            self.ledger.give(id, Given::up_to(portion, at));
            self.close_epoch();
        }
        // A view whose history is in the store follows its parents again from a checkpoint on, and nothing else may lead to one.
        let relations = self.engine.relations();
        let has_come = |id: &RelationId| relations.get(*id).is_some_and(|view| view.upper() >= self.epochs.closed());
        if self.ledger.in_parts().any(|(id, ..)| self.lagging.is_detached(id) && has_come(&id)) {
            self.close_epoch();
            self.checkpoints.change();
        }
    }
}
