//! What all workers share.

use std::sync::Arc;
use tokio::sync::Notify;
use weir_storage::env::Clock;

/// Rows that an operator takes at once: one that keeps up takes epochs whole if it can.
pub const PART: usize = 131_072;

/// What an operator takes at once, at most. One row always goes.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub rows: usize,
    pub bytes: usize,
}

/// What all workers of an engine share.
#[derive(Clone)]
pub struct World {
    /// Notified whenever some relation moved.
    pub wake: Arc<Notify>,
    pub clock: Arc<dyn Clock>,
    /// Bytes that may wait for an operator before it has to take what there is of an epoch.
    pub limit: usize,
    /// Of a part of an epoch ([`PART`] rows); those that are behind take a small share of those rows.
    pub part: Most,
    /// Epochs a view may be behind before it jumps.
    pub jump_after: u64,
}
