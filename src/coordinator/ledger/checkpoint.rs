//! What a checkpoint may say of relations: which of them it holds, how far, and whom it waits for (I5, I7, I8).

use super::{Effect, Event, Kind, Ledger, Life, Sealed, Seen};
use std::collections::BTreeSet;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

/// Whom a checkpoint has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A base table: always. The first of those that are not there.
    Table(RelationId),
    /// A view that kept up until the last checkpoint: for a moment.
    View,
    Nobody,
}

impl Ledger {
    /// Relations that the next checkpoint is about: base tables and views that are being made always, other views once they are live.
    /// One that has failed is kept as earlier manifests have it.
    pub fn included(&self) -> (Vec<RelationId>, Vec<RelationId>) {
        self.entries.keys().partition(|id| self.is_included(**id))
    }

    fn is_included(&self, id: RelationId) -> bool {
        self.get(id).is_some_and(|entry| !entry.has_failed() && entry.life != Life::Suspended)
    }

    /// Views that have failed. Told to a checkpoint together with a catalog that says so.
    pub fn failed_views(&self) -> BTreeSet<RelationId> {
        let failed = self.entries.iter().filter(|(_, entry)| entry.has_failed() && !entry.is_table());
        failed.map(|(id, _)| *id).collect()
    }

    /// Whom a checkpoint of `epoch` about `relations` waits for. `durable`: the epoch of the one before.
    pub fn awaited(&self, relations: &[RelationId], epoch: Epoch, durable: Epoch, seen: &impl Seen) -> Awaited {
        let mut awaited = Awaited::Nobody;
        for id in relations {
            let Some(entry) = self.get(*id).filter(|entry| !entry.has_failed()) else { continue };
            if seen.upper(*id) >= epoch {
                continue;
            }
            if entry.is_table() {
                return Awaited::Table(*id);
            }
            // One that has just been made is not behind.
            if entry.is_live() && entry.resumable_from() >= durable {
                awaited = Awaited::View;
            }
        }
        awaited
    }

    /// Whether a base table that goes on has yet to reach `epoch`.
    pub fn is_late(&self, table: RelationId, epoch: Epoch, seen: &impl Seen) -> bool {
        let goes_on = self.get(table).is_some_and(|table| !table.has_failed());
        goes_on && seen.upper(table) < epoch
    }

    /// How far a checkpoint of `epoch` holds `relations`, ascending. One that it can hold no further than the last one did is not
    /// among them.
    pub fn seal(&self, relations: &[RelationId], epoch: Epoch, seen: &impl Seen) -> Sealed {
        let mut sealed = Sealed::new();
        // Parents come first. Workers go on meanwhile: a child may be seen where its parent was not yet seen, and
        // still must not be held further than it (I5, I8).
        for id in relations {
            if let Some(to) = self.sealable(*id, epoch, &sealed, seen) {
                sealed.insert(*id, to);
            }
        }
        sealed
    }

    /// Up to which epoch a checkpoint of `epoch` can hold a relation: a base table in full, a view up to the newest checkpoint
    /// epoch at which it and all of its parents are held. `sealed`: how far its parents are.
    fn sealable(&self, id: RelationId, epoch: Epoch, sealed: &Sealed, seen: &impl Seen) -> Option<Epoch> {
        let entry = self.get(id)?;
        let upper = seen.upper(id).min(epoch);
        if entry.is_table() {
            return (upper == epoch).then_some(epoch);
        }
        if entry.sealed == epoch {
            return Some(epoch);
        }
        let earlier = |parent: &RelationId| self.get(*parent).map_or(Epoch::ZERO, |parent| parent.sealed);
        let parents = entry.reads.iter().map(|parent| sealed.get(parent).copied().unwrap_or_else(|| earlier(parent)));
        let limit = parents.fold(upper, Epoch::min);
        let is_cut =
            |parent: &RelationId, candidate| sealed.get(parent) == Some(&candidate) || self.is_cut(*parent, candidate);
        let fits = |candidate| {
            candidate >= seen.readable_since(id)
                && seen.stops_at(id, candidate)
                && entry.reads.iter().all(|parent| is_cut(parent, candidate))
        };
        seen.newest(entry.sealed, limit, fits)
    }

    /// Whether the change log of a relation in the store can be cut at `epoch`.
    pub fn is_cut(&self, id: RelationId, epoch: Epoch) -> bool {
        self.get(id).is_some_and(|entry| entry.is_sealed_at(epoch))
    }

    /// Whether every table of a source is sealed at `epoch`: upstream may forget what came before (I7).
    pub fn is_sealed_whole(&self, source: u32, epoch: Epoch, sealed: &Sealed) -> bool {
        let is_fed = |kind| matches!(kind, Kind::Table { source: Some(of) } if of == source);
        let mut tables = self.entries.iter().filter(|(_, entry)| is_fed(entry.kind));
        tables.all(|(id, _)| sealed.get(id) == Some(&epoch))
    }

    /// A manifest of `epoch` holds relations as far as `sealed`.
    pub fn published(&mut self, epoch: Epoch, sealed: &Sealed) -> Vec<(RelationId, Effect)> {
        let mut effects = vec![];
        for (id, to) in sealed {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.sealed = *to;
                entry.seals.insert(*to);
            }
            effects.extend(self.step(*id, Event::Sealed).map(|effect| (*id, effect)));
        }
        let behind = self.entries.iter().filter(|(id, entry)| entry.sealed < epoch && self.is_included(**id));
        self.trailing = behind.map(|(id, _)| *id).collect();
        let lowest = self.lowest(epoch);
        for entry in self.entries.values_mut() {
            entry.seals = entry.seals.split_off(&lowest);
        }
        effects
    }

    /// Nobody asks about steps and seals before this epoch any more, if a manifest holds what it can as of `epoch`.
    pub fn lowest(&self, epoch: Epoch) -> Epoch {
        let resumable_from =
            self.entries.values().filter(|entry| !entry.has_failed()).map(|entry| entry.resumable_from());
        resumable_from.fold(epoch, Epoch::min)
    }

    /// Whether relations that were behind have come to the last checkpoint's epoch since this was asked: they are to be durable there. None
    /// waits for another: one that reads it from the store continues only from where it is durable.
    pub fn followed_up(&mut self, durable: Epoch, seen: &impl Seen) -> bool {
        let before = self.trailing.len();
        self.trailing.retain(|id| seen.upper(*id) < durable);
        self.trailing.len() < before
    }
}
