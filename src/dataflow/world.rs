//! What all workers share.

use std::sync::Arc;
use tokio::sync::Notify;
use weir_storage::env::Clock;

/// Rows that an operator takes at once: one that keeps up takes epochs whole if it can.
pub const PART: usize = 131_072;

/// What all workers of an engine share.
#[derive(Clone)]
pub struct World {
    /// Notified whenever some relation moved.
    pub wake: Arc<Notify>,
    pub clock: Arc<dyn Clock>,
    /// Bytes that may wait for an operator before it has to take what there is of an epoch.
    pub limit: usize,
    /// Rows of a part of an epoch, at most ([`PART`]); those that are behind take a small share of that.
    pub part: usize,
    /// Epochs a view may be behind before it leaps.
    pub leap_after: u64,
}
