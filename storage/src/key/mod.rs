//! Key bytes: the one function that canonicalises values, and what is derived from it.
//!
//! Every join, group, distinct, index and vnode uses these bytes; they are part of the run format and pinned by golden
//! tests. Byte order is value order (ascending, NULL last, as Postgres sorts). Equal in SQL means equal bytes: -0.0 is
//! 0.0, every NaN is one, an interval of 24 hours is a day, numeric 1.0 is 1.00, char(n) ignores trailing blanks (marked
//! by field metadata `weir.type` = `char(n)`). So equal keys do not mean equal rows; those are told apart by
//! [`row_hashes`], which looks at the exact bits.

mod encode;
mod packed;
mod row;

pub(crate) use packed::Packed;
pub use row::row_hashes;

use crate::error::Result;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::FieldRef;
use xxhash_rust::xxh3::xxh3_64;

/// Number of virtual nodes. Part of the run format.
pub const VNODES: u16 = 256;

/// Encoded keys of a batch, one byte string per row, and the XXH3-64 hash of each.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    packed: Packed,
    hashes: Vec<u64>,
    /// Rows in which some key column is NULL (an equi-join matches none of them unless NULLs are equal).
    nulls: Option<Vec<bool>>,
}

impl Keys {
    /// Encodes `columns` (all of one length) row by row. A type that cannot be a key is `Error::Invalid`.
    ///
    /// Keys of two batches can be compared if their columns have the same types (strings may differ in layout: Utf8,
    /// LargeUtf8, Utf8View). Without columns there is no length: use [`Keys::unit`].
    pub fn encode(fields: &[FieldRef], columns: &[ArrayRef]) -> Result<Self> {
        let (packed, nulls) = encode::columns(fields, columns)?;
        let hashes = (0..packed.len()).map(|row| hash(packed.get(row))).collect();
        Ok(Self { packed, hashes, nulls })
    }

    /// The keys of `rows` in `columns` (indices).
    pub fn of(rows: &RecordBatch, columns: &[usize]) -> Result<Self> {
        let schema = rows.schema();
        let fields: Vec<FieldRef> = columns.iter().map(|&c| schema.fields()[c].clone()).collect();
        let arrays: Vec<ArrayRef> = columns.iter().map(|&c| rows.column(c).clone()).collect();
        if columns.is_empty() {
            return Ok(Self::unit(rows.num_rows()));
        }
        Self::encode(&fields, &arrays)
    }

    /// `len` empty keys: the key of a relation that has none, of a GROUP BY without columns.
    pub fn unit(len: usize) -> Self {
        Self { packed: Packed::fixed(len, 0, vec![]), hashes: vec![hash(&[]); len], nulls: None }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The key bytes of `row`.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        self.packed.get(row)
    }

    /// XXH3-64 of the key bytes. Part of the run format.
    #[inline]
    pub fn hash(&self, row: usize) -> u64 {
        self.hashes[row]
    }

    /// [`Keys::hash`] of every row.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The virtual node of `row`.
    pub fn vnode(&self, row: usize) -> u16 {
        vnode(self.hashes[row])
    }

    /// Whether some key column of `row` is NULL.
    pub fn has_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|n| n[row])
    }

    /// The keys at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Result<Self> {
        Ok(Self {
            packed: self.packed.take(rows)?,
            hashes: rows.iter().map(|&row| self.hashes[row as usize]).collect(),
            nulls: self.nulls.as_ref().map(|nulls| rows.iter().map(|&row| nulls[row as usize]).collect()),
        })
    }

    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }
}

/// The hash of key bytes. Part of the run format.
#[inline]
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The virtual node of a key by its hash. Part of the run format.
pub fn vnode(hash: u64) -> u16 {
    (hash % u64::from(VNODES)) as u16
}

/// Which of `workers` workers owns `vnode`.
pub fn owner(vnode: u16, workers: usize) -> usize {
    vnode as usize * workers / VNODES as usize
}

/// A part of a relation's rows that can be told by the hashes of their keys: some of eight equal ones, by bits that choose no vnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    from: u8,
    to: u8,
}

impl Portion {
    /// Parts that a relation can be cut into.
    pub const PARTS: u8 = 8;
    /// Everything.
    pub const ALL: Self = Self { from: 0, to: Self::PARTS };
    pub const NOTHING: Self = Self { from: 0, to: 0 };

    /// From part `from` up to, not including, `to`. Panics if they are not in order or beyond [`Portion::PARTS`].
    pub fn new(from: u8, to: u8) -> Self {
        assert!(from <= to && to <= Self::PARTS, "parts {from}..{to} of {}", Self::PARTS);
        Self { from, to }
    }

    pub fn from(self) -> u8 {
        self.from
    }

    pub fn to(self) -> u8 {
        self.to
    }

    #[inline]
    pub fn has(self, hash: u64) -> bool {
        let part = (hash >> 61) as u8;
        self.from <= part && part < self.to
    }
}

#[cfg(test)]
mod tests;
