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
mod read;
mod sort;
mod sum;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use read::{Reader, read};
pub use sum::Sum;
pub(crate) use sum::pieces;
pub use verify::verify;
pub use write::Writer;

use crate::delta::Delta;
use crate::env::Env;
use crate::epoch::{Epoch, Generation};
use crate::error::{Error, Result};
use crate::identity::{Maker, StoreId};
use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Where run objects are, below the store's root.
pub const FOLDER: &str = "data";

/// Where a run is and what it covers: all of `(after, to]` of its arrangement's change log on some vnodes, net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Path of the object below the store's root.
    pub object: String,
    /// Bytes `offset .. offset + length` of the object.
    pub offset: u64,
    pub length: u64,
    pub after: Epoch,
    pub to: Epoch,
    pub rows: u64,
    /// Lowest and highest vnode present.
    pub vnodes: (u16, u16),
}

/// How the names of objects of runs end, and of those of a manifest's pages.
const RUNS: &str = "runs";
pub(crate) const PAGES: &str = "pages";

/// The path of a new object of runs.
pub fn path(maker: Maker, ulid: Ulid) -> String {
    name(maker, ulid, RUNS)
}

/// The path of a new object. A store without an identity names its objects without one.
pub(crate) fn name(maker: Maker, ulid: Ulid, ending: &str) -> String {
    let Maker { store, generation } = maker;
    match store {
        StoreId(0) => format!("{FOLDER}/{generation}-{ulid}.{ending}"),
        store => format!("{FOLDER}/{generation}-{ulid}-{store}.{ending}"),
    }
}

/// Whose object `path` is; `None` for what no Weir named.
pub fn maker(path: &str) -> Option<Maker> {
    parse(path).map(|(maker, _)| maker)
}

/// When the name of the object was made, before its upload: milliseconds since 1970-01-01 UTC.
pub fn named_at(path: &str) -> Option<u64> {
    parse(path).map(|(_, ulid)| ulid.timestamp_ms())
}

fn parse(path: &str) -> Option<(Maker, Ulid)> {
    let (name, ending) = path.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('.')?;
    if ![RUNS, PAGES].contains(&ending) {
        return None;
    }
    let (generation, rest) = name.split_once('-')?;
    let (ulid, store) = rest.split_once('-').unwrap_or((rest, "0"));
    let store = StoreId(u64::from_str_radix(store, 16).ok()?);
    Some((Maker { store, generation: Generation(generation.parse().ok()?) }, Ulid::from_string(ulid).ok()?))
}

/// The bytes of `run`, which a manifest names.
pub async fn fetch(env: &Env, run: &Run) -> Result<Bytes> {
    let bytes = env.objects.get_range(&run.object, run.offset..run.offset + run.length).await?;
    bytes.ok_or_else(|| Error::Corrupt(format!("object {} is named by a manifest but is not in the store", run.object)))
}

/// One decoded piece of a run: rows of one checkpoint epoch.
#[derive(Clone, Debug)]
pub struct Entry {
    pub epoch: Epoch,
    pub delta: Delta,
}

/// Rows as they lie in a block: each with its weight and epoch.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub batch: RecordBatch,
    pub weights: ScalarBuffer<i64>,
    pub epochs: ScalarBuffer<u64>,
}

impl Rows {
    fn len(&self) -> usize {
        self.batch.num_rows()
    }

    fn slice(&self, start: usize, length: usize) -> Self {
        Self {
            batch: self.batch.slice(start, length),
            weights: self.weights.slice(start, length),
            epochs: self.epochs.slice(start, length),
        }
    }
}
