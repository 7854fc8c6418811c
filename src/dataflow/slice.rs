//! How long anybody may hold a worker.

use std::sync::Arc;
use std::time::Duration;
use weir_storage::env::Clock;

/// How long an operator may hold its worker before others get their turn.
pub const SLICE: Duration = Duration::from_millis(2);

/// A measured stretch of time. Only scheduling depends on it, never a result.
pub struct Slice {
    clock: Arc<dyn Clock>,
    began: u64,
}

impl Slice {
    pub fn begin(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: clock.clone(), began: clock.monotonic() }
    }

    pub fn is_over(&self) -> bool {
        self.left(SLICE).is_none()
    }

    /// What is left of `whole`.
    pub fn left(&self, whole: Duration) -> Option<Duration> {
        let passed = Duration::from_micros(self.clock.monotonic() - self.began);
        whole.checked_sub(passed).filter(|left| !left.is_zero())
    }
}
