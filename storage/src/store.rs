//! Stores: `Objects` over the `object_store` crate, the durable local one, and the one that injects faults.
//!
//! `file://` (or a bare path) fsyncs the file and its directories before a write counts, and creates atomically by a hard link
//! from a temporary file. S3 409 is "exists or racing: read back", 5xx and timeouts are `Error::Retry` after short retries.

use crate::env::Objects;
use crate::error::Result;
use std::sync::Arc;

/// Opens `PATH | file:///… | s3://bucket/prefix | gs://… | az://… | memory://`. S3 endpoint and keys come from `AWS_*`.
/// Unknown schemes and unusable paths are `Error::Invalid`.
pub fn open(url: &str) -> Result<Arc<dyn Objects>> {
    let _ = url;
    todo!()
}

/// Asks the store to refuse a second put-if-absent of one key (under a race, too). `Error::Invalid` with the reason if it does not.
pub async fn probe(objects: &dyn Objects) -> Result<()> {
    let _ = objects;
    todo!()
}
