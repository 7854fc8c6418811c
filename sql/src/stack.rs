//! Stack for what calls itself as deep as a statement is nested.

/// Stack that a level takes at most until the next one, and how much is taken at once if there is less.
const LEVEL: usize = 256 << 10;
const MORE: usize = 4 << 20;

/// `work` of one level, with enough stack for it.
pub(crate) fn level<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEVEL, MORE, work)
}
