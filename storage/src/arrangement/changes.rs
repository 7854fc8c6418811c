//! The change log of an arrangement: read from what came and what went, in time proportional to the changes.

use super::chunk::Chunk;
use super::read::Matches;
use super::shared::Shared;
use crate::delta::{Delta, rows_within};
use crate::epoch::Epoch;
use crate::error::Result;
use arrow::array::UInt32Array;
use std::ops::Range;
use std::sync::Arc;

/// What changed in `(after, to]`, collected under the lock, copied after it.
pub(super) struct Log {
    gone: Vec<Matches>,
    /// Chunks with the rows that came.
    came: Vec<(Arc<Chunk>, Range<usize>)>,
    to: Epoch,
}

impl Log {
    /// `after` is pinned, so that what has gone since then can be looked at in several steps: a writer is never kept waiting for all of
    /// a long log.
    pub fn collect(shared: &Shared, after: Epoch, to: Epoch) -> Self {
        let mut log = Self { gone: vec![], came: vec![], to };
        let mut numbers = shared.read().closed.range(after, to);
        while !numbers.is_empty() {
            let state = shared.read();
            let mut gone = Matches::default();
            // They are going to be copied into one batch.
            let some = shared.limits.chunk_rows.min(rows_within(shared.limits.chunk_bytes, state.widest));
            for slot in numbers.by_ref().take(some).map(|number| state.closed.get(number)) {
                let chunk = state.chunk(slot);
                if chunk.from(slot.row()) <= after {
                    gone.push(0, slot.place(), chunk, slot.row());
                }
            }
            log.gone.push(gone);
        }
        log.gone.retain(|gone| !gone.is_empty());
        let state = shared.read();
        let first = state.order.partition_point(|&place| state.piece(place).chunk.last_from() <= after);
        for &place in &state.order[first..] {
            let chunk = &state.piece(place).chunk;
            let range = chunk.rows_from(after)..chunk.rows_from(to);
            if range.is_empty() {
                break;
            }
            log.came.push((chunk.clone(), range));
        }
        log
    }

    /// Retractions first, so that a reader with a unique key can apply the batches one by one.
    pub fn read(self, schema: &arrow::datatypes::SchemaRef) -> Result<Vec<Delta>> {
        let mut deltas = vec![];
        for gone in &self.gone {
            let weights: Vec<i64> = gone.weights.iter().map(|w| -w).collect();
            deltas.push(Delta::new(gone.gather(schema, None)?, weights));
        }
        for (chunk, range) in self.came {
            let rows = chunk.rows.slice(range.start, range.len());
            let delta = Delta::new(rows, chunk.weights.slice(range.start, range.len()));
            if chunk.is_unclosed(self.to) {
                deltas.push(delta);
                continue;
            }
            let seen = range.clone().filter(|&row| self.to < chunk.to(row)).map(|row| (row - range.start) as u32);
            let seen = UInt32Array::from_iter_values(seen);
            if !seen.is_empty() {
                deltas.push(delta.take(seen.values())?);
            }
        }
        Ok(deltas)
    }
}
