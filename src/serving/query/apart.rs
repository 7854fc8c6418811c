//! Work that keeps a core busy, on the queries' threads: reading long statements and planning. On a thread that serves
//! connections it would keep everybody from logging in and all sessions waiting.
//!
//! Whoever waits for it may go at any time (cancelled, out of time, disconnected); then it ends at its next step, or where planning
//! looks whether to go on: it keeps no core from others for long. If it panics, that is an error of the one who waits.

use crate::serving::pool::Pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_sql::{Error, Result, stop};

/// Tells work whether anybody still waits for it.
pub struct Waited(Arc<AtomicBool>);

impl Waited {
    /// To be asked between steps; the error reaches nobody.
    pub fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Error::new("57014", "canceling statement due to user request")),
        }
    }
}

struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread of `pool` where it may block.
pub async fn run<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce(&Waited) -> Result<T> + Send + 'static,
) -> Result<T> {
    let waiting = Waiting(Arc::new(AtomicBool::new(true)));
    let waited = Waited(waiting.0.clone());
    let flag = waited.0.clone();
    let work = move || stop::unless_left(flag, || waited.check().and_then(|()| work(&waited)));
    match pool.spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => {
            Err(Error::internal("the statement failed unexpectedly while it was planned; the server's log says more"))
        }
        Err(_) => Err(Error::new("57P01", "terminating connection due to administrator command")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::runtime::Handle;

    fn pool() -> Pool {
        Pool::of(Handle::current())
    }

    #[tokio::test]
    async fn a_panic_is_the_error_of_the_one_who_waits() {
        let done = run(&pool(), |_| -> Result<()> { panic!("planning") }).await;
        assert_eq!(done.expect_err("a panic").sqlstate, "XX000");
        assert_eq!(run(&pool(), |_| Ok(7)).await.expect("fine"), 7);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends_at_its_next_step() {
        let (begin, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let work = move |waited: &Waited| {
            begin.send(()).expect("the test listens");
            gone.recv().expect("the test goes on");
            tell.send(waited.check().is_err()).expect("the test listens");
            Ok(())
        };
        let waiting = tokio::spawn(async move { run(&pool(), work).await });
        let begun = tokio::task::spawn_blocking(move || begun.recv());
        begun.await.expect("no panic").expect("it begins");
        waiting.abort();
        let _ = waiting.await;
        go.send(()).expect("it waits");
        let told = tokio::task::spawn_blocking(move || told.recv());
        assert!(told.await.expect("no panic").expect("it tells"), "it was still waited for");
    }
}
