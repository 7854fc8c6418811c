//! What can be kept of groups, and what keeps it.

use crate::Result;
use arrow::array::ArrayRef;
use std::fmt::Debug;
use std::ops::Range;

/// What can be kept of a group's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// How many values there are; of whole rows, how many rows.
    Count,
    Sum,
    /// How many are true.
    Trues,
    /// The sum of the values and of their squares.
    Moments,
    Min,
    Max,
}

/// One thing that is kept of some groups.
pub trait Total: Debug + Send + Sync {
    /// There are `groups` groups now.
    fn grow(&mut self, groups: usize);

    /// Adds row `i` to group `groups[i]`, `weights[i]` times. A row of weight 0 is skipped: it is filtered out, or
    /// NULL.
    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<()>;

    /// Adds what [`Total::state`] gave: row `i` to group `groups[i]`.
    fn absorb(&mut self, groups: &[u32], states: &ArrayRef) -> Result<()>;

    /// The state of `groups`, a row each, of [`state_type`](super::state_type). Equal totals have equal bytes.
    fn state(&self, groups: Range<usize>) -> Result<ArrayRef>;

    /// Forgets the first `groups`; those behind them move up.
    fn forget(&mut self, groups: usize);

    /// Memory held, in bytes.
    fn bytes(&self) -> usize;
}

/// Each row that has a weight, its group and its weight.
pub(super) fn each(groups: &[u32], weights: &[i64], mut add: impl FnMut(usize, usize, i64)) {
    for (row, (&group, &weight)) in groups.iter().zip(weights).enumerate() {
        if weight != 0 {
            add(row, group as usize, weight);
        }
    }
}
