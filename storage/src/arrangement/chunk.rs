//! Chunks: immutable columns of rows, with the one thing about a row that changes, the epoch it went away.

use super::spec::Spec;
use crate::delta::{size, take};
use crate::epoch::Epoch;
use crate::error::Result;
use crate::key::Packed;
use crate::limits::Limits;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Weights that chunks of rows of weight 1 share: as many as the largest has, unless the limits are beyond those of the product.
const SHARED: usize = 8192;
static ONES: LazyLock<ScalarBuffer<i64>> = LazyLock::new(|| vec![1; SHARED].into());

/// Rows in the order of their `from`. Readers on other threads hold chunks without a lock: a row they may see stays visible
/// to them, because its `to` is only ever set to an epoch later than any they read at. So no memory ordering is needed.
#[derive(Debug)]
pub(super) struct Chunk {
    pub rows: RecordBatch,
    pub weights: ScalarBuffer<i64>,
    /// Key bytes of each row; empty strings without an index.
    pub keys: Packed,
    from: Vec<Epoch>,
    to: Vec<AtomicU64>,
    /// The lowest `to`.
    first_close: AtomicU64,
    bytes: usize,
}

/// How large a chunk is.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub rows: usize,
    bytes: usize,
}

impl Chunk {
    /// All rows alive since `from`. Panics if lengths differ or `from` does not ascend.
    pub fn new(rows: RecordBatch, weights: ScalarBuffer<i64>, keys: Packed, from: Vec<Epoch>) -> Self {
        let len = rows.num_rows();
        assert!(len == weights.len() && len == keys.len() && len == from.len() && len > 0, "lengths of a chunk");
        debug_assert!(from.is_sorted(), "rows of a chunk stand in the order of their epochs");
        let weights = if len <= SHARED && weights.iter().all(|&w| w == 1) { ONES.slice(0, len) } else { weights };
        let to = (0..len).map(|_| AtomicU64::new(Epoch::NEVER.as_u64())).collect();
        let bytes = rows.get_array_memory_size() + keys.memory() + len * 16 + size_of::<Self>();
        Self { rows, weights, keys, from, to, first_close: AtomicU64::new(Epoch::NEVER.as_u64()), bytes }
    }

    pub fn len(&self) -> usize {
        self.from.len()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub fn from(&self, row: usize) -> Epoch {
        self.from[row]
    }

    #[inline]
    pub fn to(&self, row: usize) -> Epoch {
        Epoch::from_u64(self.to[row].load(Relaxed))
    }

    pub fn last_from(&self) -> Epoch {
        self.from[self.from.len() - 1]
    }

    #[inline]
    pub fn is_live(&self, row: usize) -> bool {
        self.to(row) == Epoch::NEVER
    }

    #[inline]
    pub fn is_visible(&self, row: usize, as_of: Epoch) -> bool {
        self.from(row) <= as_of && as_of < self.to(row)
    }

    /// No row was taken away at `as_of` or before.
    #[inline]
    pub fn is_unclosed(&self, as_of: Epoch) -> bool {
        self.first_close.load(Relaxed) > as_of.as_u64()
    }

    /// Rows `0 .. n` came at `as_of` or before.
    pub fn rows_from(&self, as_of: Epoch) -> usize {
        if self.last_from() <= as_of { self.len() } else { self.from.partition_point(|&from| from <= as_of) }
    }

    /// Takes a live row away.
    pub fn close(&self, row: usize, epoch: Epoch) {
        debug_assert!(self.is_live(row), "a row goes away once");
        self.to[row].store(epoch.as_u64(), Relaxed);
        self.first_close.fetch_min(epoch.as_u64(), Relaxed);
    }

    /// `rows` of `parts` (in order) as one chunk, with their `from` and `to`. `None` stands for all rows of a part.
    pub fn merge(spec: &Spec, parts: &[(&Chunk, Option<Vec<u32>>)]) -> Result<Self> {
        let (mut batches, mut keys, mut weights, mut from, mut to) = (vec![], vec![], vec![], vec![], vec![]);
        for (part, rows) in parts {
            match rows {
                None => {
                    batches.push(part.rows.clone());
                    keys.push(part.keys.clone());
                }
                Some(rows) => {
                    batches.push(take(&part.rows, &UInt32Array::from(rows.clone()))?);
                    keys.push(part.keys.take(rows)?);
                }
            }
            let mut copy = |row: usize| {
                weights.push(part.weights[row]);
                from.push(part.from(row));
                to.push(part.to(row));
            };
            match rows {
                None => (0..part.len()).for_each(copy),
                Some(rows) => rows.iter().for_each(|&row| copy(row as usize)),
            }
        }
        let rows = match batches.as_slice() {
            [one] => one.clone(),
            _ => arrow::compute::concat_batches(&spec.schema, &batches)?,
        };
        let chunk = Self::new(rows, weights.into(), Packed::concat(&keys.iter().collect::<Vec<_>>())?, from);
        let closed = to.into_iter().enumerate().filter(|(_, to)| *to != Epoch::NEVER);
        closed.for_each(|(row, to)| chunk.close(row, to));
        Ok(chunk)
    }

    pub fn size(&self) -> Size {
        Size { rows: self.len(), bytes: self.bytes }
    }
}

impl Size {
    /// Of both in one chunk; `None`: that would be too large for one.
    pub fn and(self, other: Size, limits: &Limits) -> Option<Size> {
        let both = Size { rows: self.rows + other.rows, bytes: self.bytes + other.bytes };
        (both.rows <= limits.merged_chunk_rows && both.bytes <= limits.chunk_bytes).then_some(both)
    }

    /// The same if it is not more than twice `after`, which came after it.
    pub fn before(self, after: Size, limits: &Limits) -> Option<Size> {
        if self.rows <= 2 * after.rows { self.and(after, limits) } else { None }
    }
}

/// Cuts `rows` into ranges (start, length) that fit a chunk.
pub(super) fn cut(rows: &RecordBatch, limits: &Limits) -> Vec<(usize, usize)> {
    let mut found = vec![];
    for start in (0..rows.num_rows()).step_by(limits.chunk_rows) {
        let mut ranges = vec![(start, limits.chunk_rows.min(rows.num_rows() - start))];
        while let Some((start, len)) = ranges.pop() {
            if len > 1 && size(&rows.slice(start, len)) > limits.chunk_bytes {
                let half = len / 2;
                ranges.extend([(start + half, len - half), (start, half)]);
            } else {
                found.push((start, len));
            }
        }
    }
    found
}
