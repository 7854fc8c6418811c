//! Names of rows inside one arrangement, and how the rows of a key hang together.

/// Row `row` of the chunk in place `place`. Moves when chunks are merged, so it is valid only under the lock it was read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u64);

impl Slot {
    /// No row.
    pub const NONE: Slot = Slot(u64::MAX);

    pub fn new(place: usize, row: usize) -> Self {
        debug_assert!(place < u32::MAX as usize && row <= u32::MAX as usize);
        Self((place as u64) << 32 | row as u64)
    }

    #[inline]
    pub fn place(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    pub fn row(self) -> usize {
        self.0 as u32 as usize
    }

    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// A row's neighbours among the rows of its key, newest first: `prev` is newer, `next` is older.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub prev: Slot,
    pub next: Slot,
}

impl Link {
    pub const ALONE: Link = Link { prev: Slot::NONE, next: Slot::NONE };
}
