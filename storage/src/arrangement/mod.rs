//! Arrangements: indexed Z-sets that can be read as of an epoch (design section 5, hot tier).
//!
//! One thread (a dataflow worker) writes; any thread reads. An [`Arrangement`] is a cheap handle to shared state. Rows sit in
//! immutable chunks of at most 8192 rows (fewer when rows are wide, so that no string column passes 2 GiB); a slot is
//! (row, weight, `from`, `to`), `to` = [`Epoch::NEVER`] while it lives, and a retraction writes only `to`. A changed weight
//! closes the slot and appends another. Slots appended and closed, in epoch order, *are* the change log.
//!
//! Promises: reads at any epoch in `since ..= upper` are exact and unchanged by later writes (I3, I11); `apply` is in epoch
//! order (I5: asserted); cost of `apply` and of a retraction is O(changed rows) whatever a key's fan-out; small deltas are
//! merged geometrically so that a million one-row epochs leave few chunks; slots with `to <= since` are reclaimed.

use crate::delta::Delta;
use crate::epoch::Epoch;
use crate::error::Result;
use crate::key::Keys;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

/// How an arrangement is indexed; chosen by the planner, fixed for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Append-only chunks without an index. A retraction is a bug of the caller (asserted).
    Log,
    /// At most one live row, of weight 1, per key (asserted).
    Keyed,
    /// Any number of rows per key, any weight. Key -> linked slots, and row hash -> slot.
    Bag,
    /// A bag whose rows can also be read in order of their key bytes: see [`Snapshot::range`].
    Ordered,
}

#[derive(Clone, Debug)]
pub struct Spec {
    pub kind: Kind,
    pub schema: SchemaRef,
    /// Indices of the key columns, in key order. Empty: one key for all rows.
    pub key: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live rows at `upper`, counted with their weights.
    pub rows: i64,
    /// Bytes of memory held: chunks, indexes, history.
    pub bytes: usize,
    pub chunks: usize,
    /// Slots that are closed but still readable at some epoch >= since.
    pub closed: usize,
}

#[derive(Clone)]
pub struct Arrangement {
    // private: Arc<...>
}

impl Arrangement {
    pub fn new(spec: Spec) -> Self {
        let _ = spec;
        todo!()
    }

    pub fn spec(&self) -> &Spec {
        todo!()
    }

    /// The epoch reached, inclusive; [`Epoch::ZERO`] at first.
    pub fn upper(&self) -> Epoch {
        todo!()
    }

    /// The lowest epoch still readable.
    pub fn since(&self) -> Epoch {
        todo!()
    }

    /// Adds `delta` at `epoch` (> `upper`, or == the epoch of the last `apply` while it is not yet sealed by `advance`).
    /// The delta need not be consolidated for Bag and Ordered; for Keyed retractions are taken before insertions.
    /// Retracting a row that is not there is `Error::Invalid` naming the relation's schema, and changes nothing (I4).
    pub fn apply(&self, epoch: Epoch, delta: &Delta) -> Result<()> {
        let _ = (epoch, delta);
        todo!()
    }

    /// Everything up to `upper` has been applied: it becomes readable. Never goes back.
    pub fn advance(&self, upper: Epoch) {
        let _ = upper;
        todo!()
    }

    /// Lets go of history below `since`, as far as no snapshot pins it. Amortised; call it as often as you like.
    pub fn compact(&self, since: Epoch) {
        let _ = since;
        todo!()
    }

    /// Pins `as_of` (in `since ..= upper`, else `Error::Invalid` saying so) until dropped.
    pub fn snapshot(&self, as_of: Epoch) -> Result<Snapshot> {
        let _ = as_of;
        todo!()
    }

    /// A reader for the one writing thread: what the last epoch applied (sealed or not) sees. Not pinned, not isolated.
    pub fn latest(&self) -> Snapshot {
        todo!()
    }

    /// What changed in `(after, to]`, net per slot, batches of at most 8192 rows. `after` >= since.
    pub fn changes(&self, after: Epoch, to: Epoch) -> Result<Vec<Delta>> {
        let _ = (after, to);
        todo!()
    }

    pub fn stats(&self) -> Stats {
        todo!()
    }
}

/// An arrangement as of one epoch.
pub struct Snapshot {
    // private
}

/// What a probe found: pairs of (probe row, matching row) with the weight of the matching row.
pub struct Matches {
    /// For each match, the row of the probe.
    pub probes: Vec<u32>,
    pub weights: Vec<i64>,
    // private: slots
}

impl Snapshot {
    pub fn as_of(&self) -> Epoch {
        todo!()
    }

    /// All rows, batches of at most 8192; `columns` are indices into the schema, `None` is all.
    /// An iterator, so that a large relation is never in memory twice.
    pub fn scan(&self, columns: Option<&[usize]>) -> impl Iterator<Item = Result<Delta>> + Send + use<> {
        let _ = columns;
        std::iter::empty()
    }

    /// Rows whose key equals one of `keys`, looking at probe rows `from..` and stopping after the probe row in which `limit`
    /// matches are reached (a single hot key may exceed it). Returns the next probe row to go on with, or `None` when done.
    /// Keys with NULLs match like any other key: a join that must not skips them before.
    pub fn probe(&self, keys: &Keys, from: usize, limit: usize) -> (Matches, Option<usize>) {
        let _ = (keys, from, limit);
        todo!()
    }

    /// Sum of the weights of each key's rows: 0 for a miss. O(rows of the key) for bags.
    pub fn contains(&self, keys: &Keys) -> Vec<bool> {
        let _ = keys;
        todo!()
    }

    /// The matched rows, `columns` of them, in the order of `matches`.
    pub fn gather(&self, matches: &Matches, columns: Option<&[usize]>) -> Result<RecordBatch> {
        let _ = (matches, columns);
        todo!()
    }

    /// Ordered arrangements only: the first row (or the last, if `descending`) whose key bytes start with each of
    /// `prefixes` (key bytes of the leading key columns). At most one match per prefix; O(log n) each.
    pub fn range(&self, prefixes: &Keys, descending: bool) -> Matches {
        let _ = (prefixes, descending);
        todo!()
    }
}
