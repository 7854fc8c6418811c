//! What sources have read and nobody has taken yet: all of them together have a share of the memory, each an equal part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The share of all sources.
pub struct Buffers {
    bytes: usize,
    sources: AtomicUsize,
}

impl Buffers {
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, sources: AtomicUsize::new(0) })
    }

    /// The part of one source more.
    pub fn part(self: &Arc<Self>) -> Buffer {
        self.sources.fetch_add(1, Ordering::Relaxed);
        Buffer(self.clone())
    }
}

/// The part of one source, for as long as it is there.
pub struct Buffer(Arc<Buffers>);

impl Buffer {
    /// That may wait to be taken before the source stops reading; a transaction larger than that is spilled.
    pub fn bytes(&self) -> usize {
        self.0.bytes / self.0.sources.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.sources.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_no_more_than_the_whole() {
        let all = Buffers::new(1000);
        let one = all.part();
        assert_eq!(one.bytes(), 1000);
        let others: Vec<Buffer> = (0..3).map(|_| all.part()).collect();
        assert_eq!((one.bytes(), others[2].bytes()), (250, 250));
        drop(others);
        assert_eq!(one.bytes(), 1000);
    }
}
