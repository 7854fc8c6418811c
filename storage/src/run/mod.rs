//! Runs: immutable, sorted pieces of an arrangement in object storage.
//!
//! An object `data/<generation>-<ulid>-<store>.runs` holds all runs one worker sealed for one checkpoint, one after the other; a
//! compacted run is an object of its own. A run is sorted by (vnode, key bytes): blocks of Arrow IPC (lz4) whose batches carry
//! the rows plus `__weight` and `__epoch` (the checkpoint epoch of the entry), then a footer with the block index (first and
//! last key, offset, rows per vnode, checksum) and a magic, format version and checksum of its own. Newer or damaged:
//! `Error::Corrupt` with the object's name, never a guess, never a panic, never an allocation larger than the bytes given
//! account for. The bytes are described in [`format`]; how rows become blocks in [`sort`] and [`write`]; what several runs say
//! together in [`sum`].

mod format;
mod place;
mod read;
mod rows;
mod sort;
mod sum;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use place::{FOLDER, Run, fetch, maker, named_at, path};
pub(crate) use place::{PAGES, name};
pub use read::Reader;
#[cfg(test)]
pub(crate) use read::read;
pub use rows::Entry;
pub(crate) use rows::Rows;
pub use sum::Sum;
pub(crate) use sum::pieces;
pub use verify::verify;
pub use write::Writer;
