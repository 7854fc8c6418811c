//! Every limit of the store in one value, handed in with [`Env`](crate::Env). What only breaks at 8,192 rows or at a megabyte breaks in a
//! test that sets them to 1, 2, 3.

/// Bytes of a batch that is put together of others' rows, or made at once, at most, unless it is of one row: far below the 2 GiB that the
/// 32-bit offsets of a column of text reach.
pub const BATCH_BYTES: usize = 256 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a block of a run, at most: as many as a batch of the engine has.
    pub block_rows: usize,
    /// Bytes of a block of a run, at most, unless one row has more: small enough to be fetched for one look-up.
    pub block_bytes: usize,
    /// Rows taken into memory at once while runs are merged, unless one vnode has more.
    pub merged_rows: u64,
    /// Bytes of a page of manifests, about: as much is written anew when one record of it changes.
    pub page_bytes: usize,
    /// Bytes of a batch that is put together of others' rows, at most ([`BATCH_BYTES`]).
    pub batch_bytes: usize,
    /// Bytes of records in a manifest itself, at most: with the places of 500 pages it stays below 64 KiB.
    pub loose_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_rows: 8192,
            block_bytes: 1 << 20,
            merged_rows: 1 << 20,
            page_bytes: 16 << 10,
            batch_bytes: BATCH_BYTES,
            loose_bytes: 24 << 10,
        }
    }
}

impl Limits {
    /// Everything is cut wherever it can be, for tests.
    pub const TINY: Self =
        Self { block_rows: 1, block_bytes: 1, merged_rows: 1, page_bytes: 1, batch_bytes: 1, loose_bytes: 1 };
}
