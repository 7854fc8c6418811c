//! Changes of one table as columns: what a source has decoded and nobody has folded yet.

use super::RowError;
use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One change. Each consumes the next row of `rows`, of `olds`, or both, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The next row is new; of a table without a key, once more.
    Insert,
    /// The next row, whether its key is stored or not: an update that keeps its key, or an overwriting insert.
    Upsert,
    /// Update that changes its key: the next old key, the next row.
    Move,
    /// The next old key.
    Delete,
    Truncate,
    /// A table without a key: the next row goes.
    Retract,
}

impl Op {
    /// (rows, old keys) it consumes.
    pub fn consumes(self) -> (usize, usize) {
        match self {
            Op::Upsert | Op::Insert | Op::Retract => (1, 0),
            Op::Move => (1, 1),
            Op::Delete => (0, 1),
            Op::Truncate => (0, 0),
        }
    }
}

/// Some changes of one table, in order.
#[derive(Clone, Debug)]
pub struct Segment {
    pub ops: Vec<Op>,
    /// Row images in the table's schema; NULL where unknown or failed.
    pub rows: RecordBatch,
    /// Old keys: the key columns, in key order.
    pub olds: RecordBatch,
    /// Per column: set where the value was not sent. `None`: sent in every row.
    pub unknown: Vec<Option<BooleanBuffer>>,
    /// Values that cannot be held, by row and column, ascending. Never of a key column.
    pub failed: Vec<Rejected>,
}

/// A value that cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    pub row: u32,
    pub column: u32,
    pub cause: RowError,
}

impl Segment {
    /// Of the changes, these.
    pub fn part(&self, changes: Range<usize>) -> Self {
        let consumed =
            |ops: &[Op]| ops.iter().map(|op| op.consumes()).fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        let (before, ops) = (consumed(&self.ops[..changes.start]), &self.ops[changes]);
        let (rows, olds) = consumed(ops);
        let within = before.0..before.0 + rows;
        let unknown = |bits: &Option<BooleanBuffer>| bits.as_ref().map(|b| b.slice(within.start, rows));
        let failed = self.failed.iter().filter(|failed| within.contains(&(failed.row as usize)));
        Self {
            ops: ops.to_vec(),
            rows: self.rows.slice(within.start, rows),
            olds: self.olds.slice(before.1, olds),
            unknown: self.unknown.iter().map(unknown).collect(),
            failed: failed.map(|f| Rejected { row: f.row - within.start as u32, ..f.clone() }).collect(),
        }
    }
}
