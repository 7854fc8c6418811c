//! Where queries run: lanes, each with threads of its own, below the workers in priority. A query stays in its lane with all that it
//! starts, so that the operating system shares the processors among queries: a short one gets its turn beside any number of endless
//! ones, whatever those do between two places where they could yield.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

/// Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Lanes>);

struct Lanes {
    all: Mutex<Vec<Lane>>,
    /// Lanes, at most: beyond that queries share them.
    most: usize,
    open: Box<dyn Fn() -> io::Result<Runtime> + Send + Sync>,
}

struct Lane {
    handle: Handle,
    /// Kept for as long as the lane: `None` if it is somebody else's.
    runtime: Option<Runtime>,
    busy: Arc<AtomicUsize>,
}

/// One that is released by a task must not be waited for.
impl Drop for Lane {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Lane {
    fn new(runtime: Runtime) -> Self {
        Self { handle: runtime.handle().clone(), runtime: Some(runtime), busy: Arc::default() }
    }
}

impl Pool {
    /// Up to `most` lanes, at least one, opened as they are needed.
    pub fn new(most: usize, open: impl Fn() -> io::Result<Runtime> + Send + Sync + 'static) -> io::Result<Self> {
        let first = Lane::new(open()?);
        Ok(Self(Arc::new(Lanes { all: Mutex::new(vec![first]), most, open: Box::new(open) })))
    }

    /// One lane, which is a runtime that is there.
    pub fn of(handle: Handle) -> Self {
        let lane = Lane { handle, runtime: None, busy: Arc::default() };
        let open = Box::new(|| Err(io::ErrorKind::Unsupported.into()));
        Self(Arc::new(Lanes { all: Mutex::new(vec![lane]), most: 1, open }))
    }

    /// Runs a query's task in the lane with the fewest of them.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let (handle, place) = self.place();
        handle.spawn(async move {
            let _place = place;
            task.await
        })
    }

    /// The same of work that does not yield.
    pub fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let (handle, place) = self.place();
        handle.spawn_blocking(move || {
            let _place = place;
            work()
        })
    }

    fn place(&self) -> (Handle, Place) {
        let mut all = self.0.all.lock().expect("lanes lock");
        let busy = |lane: &Lane| lane.busy.load(Ordering::Relaxed);
        let mut best = (0..all.len()).min_by_key(|&lane| busy(&all[lane])).expect("there is one");
        if busy(&all[best]) > 0 && all.len() < self.0.most {
            // Where no more threads are to be had, the lanes there are have to do.
            if let Ok(runtime) = (self.0.open)() {
                all.push(Lane::new(runtime));
                best = all.len() - 1;
            }
        }
        let lane = &all[best];
        lane.busy.fetch_add(1, Ordering::Relaxed);
        (lane.handle.clone(), Place(lane.busy.clone()))
    }
}

/// Counts a task while it lives.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(most: usize) -> Pool {
        let open = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Pool::new(most, open).expect("a thread")
    }

    #[tokio::test]
    async fn one_that_never_yields_keeps_nobody_else_waiting() {
        let (pool, ended) = (pool(2), Arc::new(AtomicUsize::new(0)));
        let end = ended.clone();
        let endless = pool.spawn(async move {
            while end.load(Ordering::Relaxed) == 0 {
                std::hint::spin_loop();
            }
        });
        assert_eq!(pool.spawn(async { 1 }).await.expect("runs"), 1);
        ended.store(1, Ordering::Relaxed);
        endless.await.expect("ends");
    }

    #[tokio::test]
    async fn a_lane_that_is_free_is_used_again() {
        let pool = pool(8);
        for _ in 0..20 {
            pool.spawn(async {}).await.expect("runs");
            while pool.0.all.lock().expect("lanes").iter().any(|lane| lane.busy.load(Ordering::Relaxed) > 0) {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(pool.0.all.lock().expect("lanes").len(), 1);
    }
}
