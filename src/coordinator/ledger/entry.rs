//! Relations that run, and what is known of each.

use super::life::{self, Effect, Event, Kind, Life};
use super::seen::Seen;
use crate::dataflow::relations::Failure;
use std::collections::{BTreeMap, BTreeSet};
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::key::Portion;

/// What a relation has been given that it has yet to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backfilled {
    /// Everything up to this portion of its parents' rows, which counts as of `at`.
    Part { portion: Portion, at: Epoch },
    /// All of its rows, as of `at`: a table's copy has ended there, a view has had its last portion.
    All { at: Epoch },
}

impl Backfilled {
    /// What comes with a view's portions up to `portion`.
    pub fn up_to(portion: Portion, at: Epoch) -> Self {
        if portion.to() == Portion::PARTS { Backfilled::All { at } } else { Backfilled::Part { portion, at } }
    }

    pub(super) fn at(self) -> Epoch {
        match self {
            Backfilled::Part { at, .. } | Backfilled::All { at } => at,
        }
    }
}

/// A relation that runs.
#[derive(Debug)]
pub struct Entry {
    pub(super) kind: Kind,
    pub(super) life: Life,
    backfilled: Option<Backfilled>,
    /// It has been given less than all while it was made: a manifest has to hold all of it before it is live.
    in_parts: bool,
    /// What the store has of it is void.
    void: bool,
    /// Relations whose change logs it reads.
    pub(super) reads: Vec<RelationId>,
    /// It was built from them as of this epoch.
    from: Epoch,
    /// In manifests up to here; [`Epoch::ZERO`]: not yet.
    pub(super) sealed: Epoch,
    /// Epochs that it was sealed at, from the oldest that somebody may yet ask about. In the store its changes since the one before count
    /// as of them: only there can a reader of its change log begin or end.
    pub(super) seals: BTreeSet<Epoch>,
}

impl Entry {
    /// One that is made of `reads` as of `from`, and in no manifest.
    pub fn new(kind: Kind, reads: Vec<RelationId>, from: Epoch) -> Self {
        let (life, seals) = (Life::Creating, BTreeSet::new());
        Self { kind, life, backfilled: None, in_parts: false, void: false, reads, from, sealed: Epoch::ZERO, seals }
    }

    /// As a start found it: `sealed` in the manifest, which may be void.
    pub fn found(self, life: Life, sealed: Epoch, void: bool) -> Self {
        Self { life, sealed, void, ..self }
    }

    pub fn life(&self) -> &Life {
        &self.life
    }

    pub fn sealed(&self) -> Epoch {
        self.sealed
    }

    pub fn from(&self) -> Epoch {
        self.from
    }

    pub fn reads(&self) -> &[RelationId] {
        &self.reads
    }

    pub fn failure(&self) -> Option<&Failure> {
        match &self.life {
            Life::Failed { failure, .. } => Some(failure),
            Life::Creating | Life::Live | Life::Suspended => None,
        }
    }

    pub fn is_live(&self) -> bool {
        self.life == Life::Live
    }

    pub fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    pub fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table { .. })
    }

    /// Before this epoch it needs nothing of its parents any more.
    pub fn resumable_from(&self) -> Epoch {
        self.sealed.max(self.from)
    }

    /// Whether its change log in the store can be cut at `epoch`.
    pub(super) fn is_sealed_at(&self, epoch: Epoch) -> bool {
        self.sealed == epoch || self.seals.contains(&epoch)
    }
}

/// Every relation that runs, and what follows for others.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Ids ascend from parents to children.
    pub(super) entries: BTreeMap<RelationId, Entry>,
    /// Who reads a relation.
    children: BTreeMap<RelationId, BTreeSet<RelationId>>,
    /// Those that have been given something they have yet to come to.
    coming: BTreeSet<RelationId>,
    /// Those held further back than the last checkpoint's epoch: another one is due when one of them has come there.
    pub(super) trailing: BTreeSet<RelationId>,
}

impl Ledger {
    /// A relation is built, perhaps anew: then its life continues.
    pub fn enter(&mut self, id: RelationId, entry: Entry) {
        let entry = match self.unlink(id) {
            Some(Entry { life, void, .. }) => Entry { life, void: void || entry.void, ..entry },
            None => entry,
        };
        for parent in &entry.reads {
            self.children.entry(*parent).or_default().insert(id);
        }
        self.entries.insert(id, entry);
    }

    /// Its dataflow has ended for good.
    pub fn forget(&mut self, id: RelationId) {
        self.unlink(id);
        self.trailing.remove(&id);
    }

    fn unlink(&mut self, id: RelationId) -> Option<Entry> {
        self.coming.remove(&id);
        let entry = self.entries.remove(&id)?;
        for parent in &entry.reads {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(&id);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
        Some(entry)
    }

    pub fn get(&self, id: RelationId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// From parents to children.
    pub fn entries(&self) -> impl Iterator<Item = (RelationId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What happens to a relation: the one place where its life changes. A change of what the catalog says already is none.
    pub fn step(&mut self, id: RelationId, event: Event) -> Option<Effect> {
        let entry = self.entries.get_mut(&id)?;
        if event != Event::Sealed {
            // What it is given is over: it is there, begins again, or goes no further.
            (entry.backfilled, entry.in_parts) = (None, false);
            self.coming.remove(&id);
        }
        let (life, effect) = life::next(entry.life.clone(), entry.kind, event);
        entry.life = life;
        match effect {
            Some(Effect::Void(void)) if entry.is_table() || std::mem::replace(&mut entry.void, void) == void => None,
            effect => effect,
        }
    }

    /// A relation has been given something that it has yet to come to.
    pub fn give(&mut self, id: RelationId, backfilled: Backfilled) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.has_failed()) {
            entry.in_parts |= entry.life == Life::Creating && matches!(backfilled, Backfilled::Part { .. });
            entry.backfilled = Some(backfilled);
            self.coming.insert(id);
        }
    }

    /// From where on a relation has all that it has been given.
    pub fn backfilled_at(&self, id: RelationId) -> Epoch {
        self.get(id).and_then(|entry| entry.backfilled).map_or(Epoch::ZERO, Backfilled::at)
    }

    /// Views that have been given a part, in the order from parents to children.
    pub fn in_parts(&self) -> impl Iterator<Item = (RelationId, Portion, Epoch)> {
        self.coming.iter().filter_map(|id| match self.entries[id].backfilled? {
            Backfilled::Part { portion, at } => Some((*id, portion, at)),
            Backfilled::All { .. } => None,
        })
    }

    /// Relations that have been given everything, as of an epoch, in the order from parents to children.
    pub fn backfilled_all(&self) -> impl Iterator<Item = (RelationId, Epoch)> {
        self.coming.iter().filter_map(|id| match self.entries[id].backfilled? {
            Backfilled::All { at } => Some((*id, at)),
            Backfilled::Part { .. } => None,
        })
    }

    /// Whether a relation has come to where it has everything, and so have those it reads. One that is made in parts has to be in a
    /// manifest before it is live: what has less than all of it must never be taken for all.
    pub fn is_whole(&self, id: RelationId, seen: &impl Seen) -> bool {
        let Some((entry, Backfilled::All { at })) = self.get(id).and_then(|entry| Some((entry, entry.backfilled?)))
        else {
            return false;
        };
        let upper = seen.upper(id);
        let is_there = |parent: &RelationId| {
            self.get(*parent).is_some_and(Entry::is_live) && seen.readable_since(*parent) <= upper
        };
        let is_to_be_sealed = entry.in_parts && entry.sealed < at;
        upper >= at && !is_to_be_sealed && entry.reads.iter().all(is_there)
    }

    /// `id` and all that read it, directly or not, from parents to children.
    pub fn with_dependants(&self, ids: &[RelationId]) -> BTreeSet<RelationId> {
        let (mut found, mut all) = (ids.to_vec(), BTreeSet::new());
        while let Some(id) = found.pop() {
            if all.insert(id) {
                found.extend(self.children.get(&id).into_iter().flatten());
            }
        }
        all
    }

    /// Tables that go on.
    pub fn tables(&self) -> impl Iterator<Item = RelationId> {
        let tables = self.entries.iter().filter(|(_, entry)| entry.is_table() && !entry.has_failed());
        tables.map(|(id, _)| *id)
    }
}
