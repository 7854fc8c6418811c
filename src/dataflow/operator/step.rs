//! An operator as a sequence of steps, and what all of them do alike: hand out pieces, cut input into slices, make batches.

use super::{Operator, Piece, Route};
use crate::dataflow::errors::RowErrors;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use std::collections::VecDeque;
use std::fmt::Display;
use weir_sql::{Error, Result};
use weir_storage::arrangement::Arrangement;
use weir_storage::{Delta, Epoch};

/// Rows of a batch at most, whatever the budget: what a step holds in memory stays small, as chunks of arrangements do.
pub(super) const BATCH: usize = 8192;

/// What an operator's file implements; [`Stepped`] makes an [`Operator`] of it.
pub(super) trait Steps {
    fn routes(&self) -> Vec<Route>;

    fn arrangements(&self) -> &[Arrangement];

    /// Shape of the output rows.
    fn schema(&self) -> &SchemaRef;

    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()>;

    /// Does about `budget` (> 0) rows of work and says how many they were; `None` when the epoch has no more work.
    fn step(&mut self, budget: usize, out: &mut Out) -> Result<Option<usize>>;
}

/// Pieces made and not yet taken.
#[derive(Default)]
pub(super) struct Out(VecDeque<Piece>);

impl Out {
    pub fn rows(&mut self, delta: Delta) {
        if !delta.is_empty() {
            self.0.push_back(Piece::Rows(delta));
        }
    }

    pub fn errors(&mut self, failed: RowErrors) {
        if !failed.is_empty() {
            self.0.push_back(Piece::Errors(failed.finish()));
        }
    }
}

pub(super) struct Stepped<S> {
    steps: S,
    out: Out,
}

impl<S: Steps> Stepped<S> {
    pub fn new(steps: S) -> Self {
        Self { steps, out: Out::default() }
    }
}

impl<S: Steps> Operator for Stepped<S> {
    fn routes(&self) -> Vec<Route> {
        self.steps.routes()
    }

    fn arrangements(&self) -> &[Arrangement] {
        self.steps.arrangements()
    }

    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()> {
        assert_eq!(inputs.len(), self.steps.routes().len(), "one list of deltas per input");
        self.steps.begin(epoch, inputs)
    }

    fn poll(&mut self, budget: usize) -> Result<Piece> {
        let mut left = budget.max(1);
        loop {
            if let Some(piece) = self.out.0.pop_front() {
                return Ok(piece);
            }
            match self.steps.step(left, &mut self.out)? {
                None if self.out.0.is_empty() => return Ok(Piece::Done),
                Some(work) if work >= left && self.out.0.is_empty() => {
                    return Ok(Piece::Rows(Delta::empty(self.steps.schema().clone())));
                }
                Some(work) => left = left.saturating_sub(work).max(1),
                None => {}
            }
        }
    }
}

/// An input's deltas of one epoch, handed out in slices.
#[derive(Default)]
pub(super) struct Slices {
    deltas: VecDeque<Delta>,
    from: usize,
}

impl Slices {
    pub fn new(deltas: Vec<Delta>) -> Self {
        Self { deltas: deltas.into(), from: 0 }
    }

    /// The next rows, `limit` of them at most. Never empty.
    pub fn next(&mut self, limit: usize) -> Option<Delta> {
        loop {
            let delta = self.deltas.front()?;
            let len = (delta.len() - self.from).min(limit.clamp(1, BATCH));
            let slice = (len > 0).then(|| delta.slice(self.from, len));
            self.from += len;
            if self.from == delta.len() {
                self.deltas.pop_front();
                self.from = 0;
            }
            if slice.is_some() {
                return slice;
            }
        }
    }
}

/// A batch of `rows` rows, which there may be also without columns.
pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(internal)
}

/// The rows at `indices`, in that order; also of rows without columns.
pub(super) fn take(rows: &RecordBatch, indices: &[u32]) -> Result<RecordBatch> {
    let indices = UInt32Array::from(indices.to_vec());
    let columns = arrow::compute::take_arrays(rows.columns(), &indices, None).map_err(internal)?;
    batch(rows.schema_ref(), columns, indices.len())
}

/// The weights at `indices`.
pub(super) fn weights(delta: &Delta, indices: &[u32]) -> Vec<i64> {
    indices.iter().map(|&row| delta.weights()[row as usize]).collect()
}

/// An error that is our bug, or a broken invariant, of whatever crate found it.
pub(super) fn internal(error: impl Display) -> Error {
    Error::internal(error.to_string())
}
