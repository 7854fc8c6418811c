//! The manifest: one small object per checkpoint that says everything (design idea 3).
//!
//! `manifest/<sequence, 20 digits>`; header with magic, format version, checksum, then JSON (self-describing; readable in a
//! pinch with `tail -c +N`). It names only objects that were durably written before it (I6).

use crate::epoch::{Epoch, Generation};
use crate::error::Result;
use crate::run::Run;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArrangementId(pub u64);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub sequence: u64,
    pub generation: Generation,
    /// Random per attempt to publish: tells our own manifest from another's after a lost answer.
    pub nonce: u64,
    /// The checkpoint epoch C.
    pub epoch: Epoch,
    /// Microseconds since 1970-01-01 UTC at which it was made.
    pub committed_at: i64,
    /// `now` of the checkpoint epoch, microseconds since 1970-01-01 UTC.
    pub now: i64,
    /// Where each source resumes, by object id; opaque JSON of its connector.
    pub positions: BTreeMap<u32, serde_json::Value>,
    /// The catalog, opaque JSON of `src/catalog`.
    pub catalog: serde_json::Value,
    pub arrangements: BTreeMap<ArrangementId, State>,
    /// Bytes uploaded for this checkpoint, and how long it took from the epoch's close, for `rw_checkpoints`.
    pub uploaded_bytes: u64,
    pub duration_us: u64,
}

/// The durable state of one arrangement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub upper: Epoch,
    pub since: Epoch,
    /// In epoch order, no gaps, no overlap per vnode.
    pub runs: Vec<Run>,
}

impl Manifest {
    pub fn path(sequence: u64) -> String {
        format!("manifest/{sequence:020}")
    }

    pub fn encode(&self) -> Bytes {
        todo!()
    }

    /// `name` is the object's path, for messages.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self> {
        let _ = (name, bytes);
        todo!()
    }
}
