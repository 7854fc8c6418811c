//! Reading an arrangement as of one epoch. The lock is held to look into the index, never while columns are copied.

use super::chunk::Chunk;
use super::shared::Shared;
use super::slot::Slot;
use super::spec::Kind;
use super::state::State;
use crate::delta::Delta;
use crate::epoch::Epoch;
use crate::error::Result;
use crate::key::{self, Keys, Portion};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;
use std::ops::Bound;
use std::sync::Arc;

/// An arrangement as of one epoch.
pub struct Snapshot {
    shared: Arc<Shared>,
    as_of: Epoch,
    pinned: bool,
}

/// What a probe found: pairs of (probe row, matching row) with the weight of the matching row, in the order of the probe rows.
/// Holds on to the rows found, whatever is written meanwhile.
#[derive(Default)]
pub struct Matches {
    /// For each match, the row of the probe.
    pub probes: Vec<u32>,
    /// For each match, the weight of the row found.
    pub weights: Vec<i64>,
    /// For each match, index into `chunks` and row.
    slots: Vec<(usize, usize)>,
    chunks: Vec<Arc<Chunk>>,
    /// Index into `chunks` of the chunk in each place seen.
    places: HashMap<usize, usize>,
}

impl Matches {
    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// `len` matches from `from` on: a hot key's, taken in pieces.
    pub fn slice(&self, from: usize, len: usize) -> Self {
        Self {
            probes: self.probes[from..from + len].to_vec(),
            weights: self.weights[from..from + len].to_vec(),
            slots: self.slots[from..from + len].to_vec(),
            chunks: self.chunks.clone(),
            places: HashMap::new(),
        }
    }

    /// All of one `Matches` are pushed under one lock, so that a place names one chunk.
    pub(super) fn push(&mut self, probe: u32, place: usize, chunk: &Arc<Chunk>, row: usize) {
        let chunks = &mut self.chunks;
        let index = *self.places.entry(place).or_insert_with(|| {
            chunks.push(chunk.clone());
            chunks.len() - 1
        });
        self.probes.push(probe);
        self.weights.push(chunk.weights[row]);
        self.slots.push((index, row));
    }

    /// The matched rows, `columns` of them; `schema` is of all columns.
    pub(super) fn gather(&self, schema: &SchemaRef, columns: Option<&[usize]>) -> Result<RecordBatch> {
        let all: Vec<usize>;
        let columns = match columns {
            Some(columns) => columns,
            None => {
                all = (0..schema.fields().len()).collect();
                &all
            }
        };
        let schema = Arc::new(schema.project(columns)?);
        if self.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let gather = |&column: &usize| -> Result<ArrayRef> {
            let arrays: Vec<&dyn Array> = self.chunks.iter().map(|c| c.rows.column(column).as_ref()).collect();
            Ok(arrow::compute::interleave(&arrays, &self.slots)?)
        };
        let columns = columns.iter().map(gather).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

impl Snapshot {
    /// `pinned`: the epoch is in the pins, to be taken out when this is dropped.
    pub(super) fn new(shared: Arc<Shared>, as_of: Epoch, pinned: bool) -> Self {
        Self { shared, as_of, pinned }
    }

    /// The epoch it sees.
    pub fn as_of(&self) -> Epoch {
        self.as_of
    }

    /// All rows, in batches that are no larger than a chunk; `columns` are indices into the schema, `None` is all.
    /// An iterator, so that a large relation is never in memory twice.
    pub fn scan(&self, columns: Option<&[usize]>) -> impl Iterator<Item = Result<Delta>> + Send + use<> {
        self.scan_portion(columns, Portion::ALL)
    }

    /// The same of the rows with keys in `portion`. Less than everything is told apart only of keyed arrangements (asserted).
    pub fn scan_portion(
        &self,
        columns: Option<&[usize]>,
        portion: Portion,
    ) -> impl Iterator<Item = Result<Delta>> + Send + use<> {
        assert!(portion == Portion::ALL || self.shared.spec.kind == Kind::Keyed, "rows without keys have no portions");
        let chunks: Vec<Arc<Chunk>> = {
            let state = self.shared.read();
            state.order.iter().map(|&place| state.piece(place).chunk.clone()).collect()
        };
        let columns = columns.map(<[usize]>::to_vec);
        let as_of = self.as_of;
        chunks.into_iter().filter_map(move |chunk| visible(&chunk, as_of, columns.as_deref(), portion).transpose())
    }

    /// Rows whose key equals one of `keys`, looking at probe rows `from..` and stopping after the probe row in which `limit`
    /// matches are reached (a single hot key may exceed it). Returns the next probe row to go on with, or `None` when done.
    /// Keys with NULLs match like any other key: a join that must not skips them before. Not for Kind::Log (asserted).
    pub fn probe(&self, keys: &Keys, from: usize, limit: usize) -> (Matches, Option<usize>) {
        assert!(self.shared.spec.kind != Kind::Log, "a log has no index to probe");
        let state = self.shared.read();
        let mut found = Matches::default();
        let block = self.shared.limits.probed_keys;
        let mut heads = Vec::with_capacity(block);
        for start in (from..keys.len()).step_by(block) {
            let range = start..keys.len().min(start + block);
            state.heads(keys, range.clone(), &mut heads);
            for (row, &head) in range.zip(&heads) {
                for_visible(&state, head, self.as_of, |slot| {
                    found.push(row as u32, slot.place(), state.chunk(slot), slot.row());
                    true
                });
                if found.len() >= limit && row + 1 < keys.len() {
                    return (found, Some(row + 1));
                }
            }
        }
        (found, None)
    }

    /// Whether each key has rows. Not for Kind::Log (asserted).
    pub fn contains(&self, keys: &Keys) -> Vec<bool> {
        assert!(self.shared.spec.kind != Kind::Log, "a log has no index to probe");
        let state = self.shared.read();
        let block = self.shared.limits.probed_keys;
        let mut heads = Vec::with_capacity(block);
        let mut found = Vec::with_capacity(keys.len());
        for start in (0..keys.len()).step_by(block) {
            state.heads(keys, start..keys.len().min(start + block), &mut heads);
            found.extend(heads.iter().map(|&head| !first_visible(&state, head, self.as_of).is_none()));
        }
        found
    }

    /// The matched rows, `columns` of them, in the order of `matches`.
    pub fn gather(&self, matches: &Matches, columns: Option<&[usize]>) -> Result<RecordBatch> {
        matches.gather(&self.shared.spec.schema, columns)
    }

    /// Ordered arrangements only: the first row (or the last, if `descending`) whose key bytes start with each of
    /// `prefixes` (key bytes of the leading key columns). At most one match per prefix; O(log n) each, plus the keys passed
    /// that have rows at other epochs only.
    pub fn range(&self, prefixes: &Keys, descending: bool) -> Matches {
        assert!(self.shared.spec.kind == Kind::Ordered, "only an ordered arrangement has ranges");
        let state = self.shared.read_sorted();
        let mut found = Matches::default();
        let visible = |key: &[u8]| {
            let slot = first_visible(&state, state.head(key::hash(key), key), self.as_of);
            Some(slot).filter(|slot| !slot.is_none())
        };
        for row in 0..prefixes.len() {
            let prefix = prefixes.get(row);
            let end = successor(prefix);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut keys = state.sorted.range(prefix, end);
            let slot = match descending {
                false => keys.find_map(visible),
                true => keys.rev().find_map(visible),
            };
            if let Some(slot) = slot {
                found.push(row as u32, slot.place(), state.chunk(slot), slot.row());
            }
        }
        found
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.pinned {
            self.shared.unpin(self.as_of);
        }
    }
}

/// The lowest byte string after all that start with `prefix`; `None` if there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// The rows of `chunk` in `portion` that `as_of` sees; whole columns if it sees all.
fn visible(chunk: &Chunk, as_of: Epoch, columns: Option<&[usize]>, portion: Portion) -> Result<Option<Delta>> {
    let len = chunk.rows_from(as_of);
    if len == 0 {
        return Ok(None);
    }
    let rows = columns.map_or_else(|| Ok(chunk.rows.clone()), |columns| chunk.rows.project(columns))?;
    let is_all = portion == Portion::ALL;
    if is_all && chunk.is_unclosed(as_of) {
        let whole = len == chunk.len();
        let rows = if whole { rows } else { rows.slice(0, len) };
        return Ok(Some(Delta::new(rows, chunk.weights.slice(0, len))));
    }
    let is_seen = |row| chunk.is_visible(row, as_of) && (is_all || portion.has(key::hash(chunk.keys.get(row))));
    let seen: BooleanArray = (0..chunk.len()).map(|row| Some(is_seen(row))).collect();
    if seen.true_count() == 0 {
        return Ok(None);
    }
    let weights: ScalarBuffer<i64> = seen.values().set_indices().map(|row| chunk.weights[row]).collect();
    Ok(Some(Delta::new(arrow::compute::filter_record_batch(&rows, &seen)?, weights)))
}

/// Calls `each` with the rows of a key that `as_of` sees, newest first, while it returns true.
fn for_visible(state: &State, head: Slot, as_of: Epoch, mut each: impl FnMut(Slot) -> bool) {
    let unique = state.spec.kind == Kind::Keyed;
    let mut slot = head;
    while !slot.is_none() {
        let chunk = state.chunk(slot);
        let here = chunk.last_from() <= as_of || chunk.from(slot.row()) <= as_of;
        let seen = here && (chunk.is_unclosed(as_of) || as_of < chunk.to(slot.row()));
        // Of a unique key, the newest version that has come is the only one that can be seen.
        if seen && !each(slot) || here && unique {
            return;
        }
        slot = state.next(slot);
    }
}

fn first_visible(state: &State, head: Slot, as_of: Epoch) -> Slot {
    let mut first = Slot::NONE;
    for_visible(state, head, as_of, |slot| {
        first = slot;
        false
    });
    first
}
