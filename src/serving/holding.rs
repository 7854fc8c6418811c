//! Memory of the queries' share that no operator of a query holds: rows that statements collect and transactions keep, statements that are
//! prepared. All of it is reserved from the pool from which operators are.

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use std::sync::Arc;
use weir_sql::{Error, Result};

/// What one holder has reserved; given back when it is dropped.
pub struct Holding {
    pool: Arc<dyn MemoryPool>,
    reserved: MemoryReservation,
    what: &'static str,
    /// Bytes that are not counted: a little must not depend on what others hold.
    free: usize,
}

impl Holding {
    /// Of nothing yet. `what` it is, for messages.
    pub fn new(pool: &Arc<dyn MemoryPool>, what: &'static str, free: usize) -> Self {
        Self { pool: pool.clone(), reserved: MemoryConsumer::new(what).register(pool), what, free }
    }

    /// So many bytes are held from now on; 53200 if they are not there.
    pub fn set(&self, bytes: usize) -> Result<()> {
        self.reserved.try_resize(bytes.saturating_sub(self.free)).map_err(|_| {
            let all = match self.pool.memory_limit() {
                MemoryLimit::Finite(bytes) => format!("{} MB", bytes >> 20),
                _ => "so much".into(),
            };
            Error::new("53200", "out of memory")
                .detail(format!(
                    "{} take {} MB; together with what queries hold they may take {all}.",
                    self.what,
                    bytes.div_ceil(1 << 20)
                ))
                .hint("Write or prepare less at once, or raise --memory-limit.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn what_is_held_is_no_more_than_there_is_and_is_given_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let (one, other) = (Holding::new(&pool, "Rows", 100), Holding::new(&pool, "Rows", 100));
        one.set(100).expect("nothing");
        assert_eq!(pool.reserved(), 0);
        one.set(800).expect("there is room");
        assert_eq!(other.set(500).expect_err("there is none").sqlstate, "53200");
        other.set(400).expect("there is room");
        drop(one);
        other.set(1100).expect("there is room again");
        drop(other);
        assert_eq!(pool.reserved(), 0);
    }
}
