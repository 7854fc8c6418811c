//! Rows of runs, as they are read and as they lie in a block.

use crate::delta::Delta;
use crate::epoch::Epoch;
use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;

/// One decoded piece of a run: rows of one checkpoint epoch.
#[derive(Clone, Debug)]
pub struct Entry {
    pub epoch: Epoch,
    pub delta: Delta,
}

/// Rows as they lie in a block: each with its weight and epoch.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub batch: RecordBatch,
    pub weights: ScalarBuffer<i64>,
    pub epochs: ScalarBuffer<u64>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub(super) fn slice(&self, start: usize, length: usize) -> Self {
        Self {
            batch: self.batch.slice(start, length),
            weights: self.weights.slice(start, length),
            epochs: self.epochs.slice(start, length),
        }
    }
}
