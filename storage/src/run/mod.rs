//! Runs: immutable, sorted pieces of an arrangement in object storage.
//!
//! An object `data/<generation>-<ulid>.runs` holds all runs one worker sealed for one checkpoint, one after the other; a
//! compacted run is an object of its own. A run is sorted by (vnode, key bytes): blocks of Arrow IPC (lz4) whose batches carry
//! the rows plus `__weight` and `__epoch` (the checkpoint epoch of the entry), then a footer with the block index (min/max
//! key, offset, rows, checksum) and a magic, format version and checksum of its own. Newer or damaged: `Error::Corrupt` with
//! the object's name, never a guess, never a panic, never an allocation larger than the bytes given.

use crate::arrangement::Spec;
use crate::delta::Delta;
use crate::epoch::Epoch;
use crate::error::Result;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

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

/// Builds one object of many runs.
pub struct Writer {
    // private
}

impl Writer {
    pub fn new(object: String) -> Self {
        let _ = object;
        todo!()
    }

    /// Appends a run of `deltas` (unsorted, unconsolidated) covering `(after, to]`. `None` if they add up to nothing.
    pub fn add(&mut self, spec: &Spec, after: Epoch, to: Epoch, deltas: &[Delta]) -> Result<Option<Run>> {
        let _ = (spec, after, to, deltas);
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// The object's path and bytes.
    pub fn finish(self) -> (String, Bytes) {
        todo!()
    }
}

/// One decoded piece of a run: rows of one checkpoint epoch.
pub struct Entry {
    pub epoch: Epoch,
    pub delta: Delta,
}

/// All of `bytes` (exactly the run's range of its object), for the vnodes `keep` says; `schema` is the arrangement's.
pub fn read(run: &Run, schema: &SchemaRef, bytes: Bytes, keep: &dyn Fn(u16) -> bool) -> Result<Vec<Entry>> {
    let _ = (run, schema, bytes, keep);
    todo!()
}
