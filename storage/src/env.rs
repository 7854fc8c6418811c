//! What the world gives us, as one argument: time, chance, threads and storage. A simulator passes its own.

use crate::error::{Error, Result};
use crate::limits::Limits;
use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub threads: Arc<dyn Threads>,
    pub objects: Arc<dyn Objects>,
    pub limits: Limits,
}

impl Env {
    /// The real world, with its data in `objects`.
    pub fn real(objects: Arc<dyn Objects>) -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(SystemRandom),
            threads: Arc::new(SystemThreads),
            objects,
            limits: Limits::default(),
        }
    }

    /// Does work that keeps a core busy for long where nobody else waits for it. `Invalid` if it panicked.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        run(&*self.threads, work).await.ok_or_else(|| Error::Invalid("a computation panicked".into()))
    }
}

pub trait Clock: Send + Sync {
    /// Wall clock, microseconds since 1970-01-01 UTC.
    fn now(&self) -> i64;
    /// Monotonic, microseconds since an arbitrary start; for durations.
    fn monotonic(&self) -> u64;
    /// Done after `micros`. Here and not at its callers, so that a simulated clock decides how time passes.
    #[allow(clippy::disallowed_methods)]
    fn sleep(&self, micros: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(std::time::Duration::from_micros(micros)))
    }
}

pub trait Random: Send + Sync {
    fn next(&self) -> u64;
}

pub trait Threads: Send + Sync {
    /// Done when `work` has ended, be it by a panic.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// What `work` returns; `None` if it panicked.
pub async fn run<T: Send + 'static>(threads: &dyn Threads, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    // Whoever asked may be gone by then.
    threads.run(Box::new(move || drop(done.send(work())))).await;
    result.await.ok()
}

/// The answer to a put-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Yes,
    /// The key exists already (maybe by an earlier try of our own).
    Exists,
}

/// What Weir asks of a store. Paths are relative to the store's root, `/`-separated.
///
/// Every write that returned `Ok` survives a crash of the machine. `Error::Retry` means "unknown, try again".
#[async_trait]
pub trait Objects: Send + Sync {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()>;
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created>;
    /// `None`: there is no such object.
    async fn get(&self, path: &str) -> Result<Option<Bytes>>;
    /// Exactly these bytes; an object that ends before `range` does is `Error::Corrupt`.
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>>;
    /// Paths below `prefix` that sort after `after` (a full path), ascending, with their sizes in bytes.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>>;
    async fn delete(&self, path: &str) -> Result<()>;
    /// For messages: the store's URL without secrets.
    fn describe(&self) -> String;
    /// Where the store is, so that a copy of it is somewhere else: the same at every start, whatever process asks.
    async fn place(&self) -> Result<String> {
        Ok(self.describe())
    }
    /// Who else than this process's user can read it, in words, if that can be told from here.
    fn exposure(&self) -> Option<String> {
        None
    }
}

/// The real clock.
pub struct SystemClock {
    #[allow(clippy::disallowed_types)]
    start: std::time::Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_micros() as i64)
    }

    fn monotonic(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// The real dice.
#[derive(Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[allow(clippy::disallowed_methods)]
    fn next(&self) -> u64 {
        rand::random()
    }
}

/// The runtime's threads for what blocks.
pub struct SystemThreads;

impl Threads for SystemThreads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let running = tokio::task::spawn_blocking(work);
        Box::pin(async move { drop(running.await) })
    }
}
