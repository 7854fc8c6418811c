//! Every limit of the store in one value, handed in with [`Env`](crate::Env). What only breaks at 8,192 rows or at a megabyte breaks in a
//! test that sets them to 1, 2, 3.

/// Bytes of a batch that is put together of others' rows, or made at once, at most, unless it is of one row: far below the 2 GiB that the
/// 32-bit offsets of a column of text reach.
pub const BATCH_BYTES: usize = 256 << 20;

/// None of them is 0.
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
    /// Rows of a chunk of an arrangement, at most: large enough that per-chunk work vanishes, small enough to be rewritten in well under a
    /// millisecond.
    pub chunk_rows: usize,
    /// Bytes of a chunk, at most, unless one row has more: far below the 2 GiB of a string column's offsets.
    pub chunk_bytes: usize,
    /// Rows of a chunk that is merged of others, at most: moving a row takes longer than many of them are worth.
    pub merged_chunk_rows: usize,
    /// Rows that come together and are worth being sorted by the index they go to, of deltas with a quarter as many each: chunks that come
    /// together are not merged.
    pub sorted_rows: usize,
    /// Keys looked up together: enough to overlap memory latencies, few enough to stay in the first cache.
    pub probed_keys: usize,
    /// Entries of an index that is still one table, at most.
    pub index_entries: usize,
    /// Entries of a block of the log of closed rows, or as many more as make a power of two. A log of millions grows and shrinks by blocks:
    /// nothing ever waits until all of it has moved.
    pub closed_entries: usize,
    /// Rows that an arrangement unlinks at most when it is asked to give back memory.
    pub reclaimed_rows: usize,
    /// Rows that are unlinked before chunks are rewritten: of a chunk that dies as a whole no row should be moved before.
    pub unlinked_rows: usize,
    /// Batches of a run with fewer rows are joined first: the cost of picking rows grows with the number of batches picked from.
    pub joined_rows: usize,
    /// Bytes of batches that are joined, at most: far from the 2 GiB that a string column can hold.
    pub joined_bytes: u64,
    /// Bytes of a part of a run that is read back, about, if its rows are wide: as it is stored.
    pub part_bytes: u64,
    /// Entries of runs unpacked at once to be added up, unless one vnode has more. Few, so that a reader yields often.
    pub piece_rows: u64,
    /// And their bytes as they are stored: unpacked they are several times as many.
    pub piece_bytes: u64,
    /// Dead bytes below this are let be: to write a manifest costs as much.
    pub worthwhile_bytes: u64,
    /// Bytes of runs merged in one go; what is left waits for the next. Bounds memory and the time until the result is published.
    pub compacted_bytes: u64,
    /// A segment of a table's changes is closed at this many of them.
    pub segment_rows: usize,
    /// And at this many bytes: well below what 32-bit offsets can span, also if one more value of 1 GiB, the largest that Postgres has, is
    /// added.
    pub segment_bytes: usize,
    /// Bytes of changes that are worth a place in a file of the spill folder.
    pub spilled_bytes: usize,
    /// Bytes of its largest parent that a view gets at a time while it is made, where rows are wide: on its way through a view a portion is
    /// in memory several times.
    pub portion_bytes: usize,
    /// Rows of COPY FROM STDIN that are handed on at once.
    pub copied_rows: usize,
    /// And bytes of their text.
    pub copied_bytes: usize,
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
            chunk_rows: 8192,
            chunk_bytes: 64 << 20,
            merged_chunk_rows: 2048,
            sorted_rows: 4 << 10,
            probed_keys: 128,
            index_entries: 1 << 16,
            closed_entries: 4096,
            reclaimed_rows: 8192,
            unlinked_rows: 16_384,
            joined_rows: 4096,
            joined_bytes: 16 << 20,
            part_bytes: 16 << 20,
            piece_rows: 1 << 16,
            piece_bytes: 4 << 20,
            worthwhile_bytes: 64 << 10,
            compacted_bytes: 256 << 20,
            segment_rows: 64 << 10,
            segment_bytes: 64 << 20,
            spilled_bytes: 1 << 20,
            portion_bytes: 1 << 30,
            copied_rows: 32_768,
            copied_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// Everything is cut wherever it can be, for tests.
    pub const TINY: Self = Self::each(1);

    /// All of them are `n`, for tests.
    pub const fn each(n: usize) -> Self {
        Self {
            block_rows: n,
            block_bytes: n,
            merged_rows: n as u64,
            page_bytes: n,
            batch_bytes: n,
            loose_bytes: n,
            chunk_rows: n,
            chunk_bytes: n,
            merged_chunk_rows: n,
            sorted_rows: n,
            probed_keys: n,
            index_entries: n,
            closed_entries: n,
            reclaimed_rows: n,
            unlinked_rows: n,
            joined_rows: n,
            joined_bytes: n as u64,
            part_bytes: n as u64,
            piece_rows: n as u64,
            piece_bytes: n as u64,
            worthwhile_bytes: n as u64,
            compacted_bytes: n as u64,
            segment_rows: n,
            segment_bytes: n,
            spilled_bytes: n,
            portion_bytes: n,
            copied_rows: n,
            copied_bytes: n,
        }
    }
}
