//! Arrangements: indexed Z-sets that can be read as of an epoch (ARCHITECTURE.md, *Arrangements and runs*).
//!
//! One thread (a dataflow worker) writes; any thread reads. An [`Arrangement`] is a cheap handle to shared state. Rows sit in
//! immutable chunks of at most 8192 rows (fewer when rows are wide, so that no string column passes 2 GiB); a slot is
//! (row, weight, `from`, `to`), `to` = [`Epoch::NEVER`] while it lives, and a retraction writes only `to`. A changed weight
//! closes the slot and appends another. Slots appended and closed, in epoch order, *are* the change log.
//!
//! Promises: reads at any epoch in `since ..= upper` are exact and unchanged by later writes (I3, I11); `apply` is in epoch
//! order (I5: asserted); cost of `apply` and of a retraction is O(changed rows) whatever a key's fan-out; small deltas are
//! merged geometrically so that a million one-row epochs leave few chunks; slots with `to <= since` are reclaimed.

mod apply;
mod changes;
mod chunk;
mod closed;
mod compact;
mod index;
mod read;
mod roles;
mod shared;
mod slot;
mod sorted;
mod spec;
mod state;

pub use apply::Prepared;
pub use read::{Matches, Snapshot};
pub use roles::{Role, Roles};
pub use spec::{Kind, Spec};

use crate::delta::Delta;
use crate::epoch::Epoch;
use crate::error::{Error, Result};
use crate::key::row_hashes;
use crate::limits::Limits;
use arrow::array::RecordBatch;
use shared::Shared;
use std::fmt;
use std::sync::Arc;

/// What an arrangement holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live rows at `upper`, counted with their weights; `i64::MAX` if there are more.
    pub rows: i64,
    /// Bytes of memory held: chunks, indexes, history.
    pub bytes: usize,
    /// Bytes of the chunks alone: rows and keys.
    pub values: usize,
    /// Chunks of columns; a scan hands out at most one batch per chunk.
    pub chunks: usize,
    /// Slots that are closed but still readable at some epoch >= since.
    pub closed: usize,
}

/// A handle to an indexed Z-set; clones share it.
#[derive(Clone)]
pub struct Arrangement {
    shared: Arc<Shared>,
}

impl Arrangement {
    /// Panics if a key column is not in the schema.
    pub fn new(spec: Spec, limits: Limits) -> Self {
        assert!(spec.key.iter().all(|&column| column < spec.schema.fields().len()), "key columns are in the schema");
        Self { shared: Arc::new(Shared::new(spec, limits)) }
    }

    /// What it holds and how it is found.
    pub fn spec(&self) -> &Spec {
        &self.shared.spec
    }

    /// The epoch reached, inclusive; [`Epoch::ZERO`] at first.
    pub fn upper(&self) -> Epoch {
        self.shared.read().upper
    }

    /// The lowest epoch still readable.
    pub fn since(&self) -> Epoch {
        self.shared.read().since
    }

    /// Adds `delta` at `epoch` (> `upper`, or == the epoch of the last `apply` while it is not yet sealed by `advance`).
    /// The delta need not be consolidated for Bag and Ordered; for Keyed retractions are taken before insertions.
    /// Retracting a row that is not there is `Error::Invalid` naming the relation's schema, and changes nothing (I4).
    pub fn apply(&self, epoch: Epoch, delta: &Delta) -> Result<()> {
        self.apply_prepared(epoch, &self.prepare(std::slice::from_ref(delta))?)
    }

    /// What of [`Arrangement::apply`] needs no lock, for deltas of one epoch.
    pub fn prepare(&self, deltas: &[Delta]) -> Result<Prepared> {
        Prepared::new(self.spec(), &self.shared.limits, deltas)
    }

    /// [`Arrangement::apply`] of what was prepared for an arrangement of the same spec, one delta after the other.
    pub fn apply_prepared(&self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        let mut state = self.shared.write();
        assert!(epoch > state.upper, "I5: delta at sealed epoch {epoch}, upper {}", state.upper);
        assert!(epoch >= state.applied, "I5: delta at epoch {epoch} after one at {}", state.applied);
        apply::apply(&mut state, epoch, prepared)
    }

    /// Everything up to `upper` has been applied: it becomes readable. Never goes back.
    pub fn advance(&self, upper: Epoch) {
        let mut state = self.shared.write();
        if upper > state.upper {
            state.upper = upper;
            state.rows = state.applied_rows;
        }
    }

    /// Lets go of history below `since`, as far as no snapshot pins it. Memory is given back by [`Arrangement::reclaim`], and with
    /// what is applied, in proportion to what that retracts. False: there is nothing to give back.
    pub fn compact(&self, since: Epoch) -> bool {
        let pins = self.shared.pins();
        let mut state = self.shared.write();
        let lowest = pins.keys().next().copied().unwrap_or(Epoch::NEVER);
        state.since = since.min(lowest).min(state.upper).max(state.since);
        !state.is_tidy
    }

    /// Gives back memory of rows that nobody can see any more: well under a millisecond of work. Whether there is more to do.
    pub fn reclaim(&self) -> bool {
        self.shared.write().reclaim(self.shared.limits.reclaimed_rows)
    }

    /// Puts the keys in order that came since [`Snapshot::range`] was last asked, which does so otherwise: of millions that takes seconds.
    pub fn settle(&self) {
        self.shared.write().sorted.settle();
    }

    /// Pins `as_of` (in `since ..= upper`, else `Error::Invalid` saying so) until dropped.
    pub fn snapshot(&self, as_of: Epoch) -> Result<Snapshot> {
        let mut pins = self.shared.pins();
        let (since, upper) = {
            let state = self.shared.read();
            (state.since, state.upper)
        };
        if as_of < since || as_of > upper {
            return Err(Error::Invalid(format!(
                "epoch {as_of} is not readable: history is kept from {since} to {upper}"
            )));
        }
        *pins.entry(as_of).or_default() += 1;
        Ok(Snapshot::new(self.shared.clone(), as_of, true))
    }

    /// A reader for the one writing thread: what the last epoch applied (sealed or not) sees. Not pinned, not isolated.
    pub fn latest(&self) -> Snapshot {
        let as_of = {
            let state = self.shared.read();
            state.upper.max(state.applied)
        };
        Snapshot::new(self.shared.clone(), as_of, false)
    }

    /// What changed in `(after, to]`, net per slot, in batches that are no larger than a chunk, retractions first. `after` >= since and
    /// `to` <= upper, else `Error::Invalid`; that, too, if the writer has panicked: what it moved may be in two places. Costs O(changes).
    pub fn changes(&self, after: Epoch, to: Epoch) -> Result<Vec<Delta>> {
        let (since, upper) = {
            let state = self.shared.read();
            (state.since, state.upper)
        };
        if after < since || to > upper {
            let kept = format!("history is kept from {since} to {upper}");
            return Err(Error::Invalid(format!("changes after {after} up to {to} are not readable: {kept}")));
        }
        if !self.has_changed(after) {
            return Ok(vec![]);
        }
        let _pin = self.snapshot(after)?;
        let log = changes::Log::collect(&self.shared, after, to);
        let changes = log.read(&self.spec().schema)?;
        if self.shared.is_broken() {
            return Err(Error::Invalid("its writer panicked".into()));
        }
        Ok(changes)
    }

    /// Whether anything was applied after `epoch`.
    pub fn has_changed(&self, epoch: Epoch) -> bool {
        self.shared.read().applied > epoch
    }

    /// Live rows at `upper`, counted with their weights; `i64::MAX` if there are more.
    pub fn rows(&self) -> i64 {
        counted(self.shared.read().rows)
    }

    /// No row was ever there more often.
    pub fn heaviest(&self) -> i64 {
        self.shared.read().heaviest
    }

    /// Bytes that no row's values were ever more than.
    pub fn widest(&self) -> usize {
        self.shared.read().widest
    }

    /// How often each of `rows`, which have all columns, is there, as last applied. Only of bags (asserted).
    pub fn weights(&self, rows: &RecordBatch) -> Result<Vec<i64>> {
        let rows = apply::conform(self.spec(), rows)?;
        let hashes = row_hashes(&rows)?;
        let state = self.shared.read();
        assert!(state.is_bag(), "only bags know rows by their hashes");
        let weight = |&hash| state.live(hash).map_or(0, |slot| state.chunk(slot).weights[slot.row()]);
        Ok(hashes.iter().map(weight).collect())
    }

    /// Costs O(chunks).
    pub fn stats(&self) -> Stats {
        let state = self.shared.read();
        Stats {
            rows: counted(state.rows),
            bytes: state.bytes(),
            values: state.values(),
            chunks: state.order.len(),
            closed: state.closed.len(),
        }
    }
}

fn counted(rows: i128) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

impl fmt::Debug for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = self.spec();
        f.debug_struct("Arrangement").field("kind", &spec.kind).field("key", &spec.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
