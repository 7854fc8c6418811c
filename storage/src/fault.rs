//! A store that fails on purpose, from a seed: for tests and the simulator.
//!
//! It knows the ways in which a real one fails: a request that was not carried out, one that was but whose answer got lost,
//! one that is carried out *after* its sender was told that it failed, a slow one, and a store that is away for a while.

pub mod files;

use crate::env::{Clock, Created, Objects};
use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How likely each fault is, per request; they may add up to at most 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Not carried out, answered with an error.
    pub failed: f64,
    /// Carried out, answered with an error.
    pub lost: f64,
    /// A write or a delete answered with an error and carried out before some later request, of anybody.
    pub late: f64,
    /// The longest delay of a request before it is carried out, and again before its answer, in microseconds.
    pub delay: u64,
}

pub struct Faulty {
    inner: Arc<dyn Objects>,
    faults: Faults,
    clock: Option<Arc<dyn Clock>>,
    random: Mutex<SmallRng>,
    late: Mutex<Vec<Write>>,
    away: AtomicBool,
}

/// A write still on its way.
enum Write {
    Put(String, Bytes),
    Create(String, Bytes),
    Delete(String),
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    Failed,
    Lost,
    Late,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Objects>, seed: u64, faults: Faults) -> Self {
        assert!(faults.failed + faults.lost + faults.late <= 1.0, "{faults:?}");
        let random = Mutex::new(SmallRng::seed_from_u64(seed));
        Self { inner, faults, clock: None, random, late: Mutex::default(), away: AtomicBool::new(false) }
    }

    /// With `clock`, requests take time.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// While away, every request fails and is not carried out.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    async fn before(&self) -> Result<Fate> {
        self.delay().await;
        while let Some(write) = self.arrived() {
            // Its sender has long been told that it failed.
            let _ = match write {
                Write::Put(path, bytes) => self.inner.put(&path, bytes).await,
                Write::Create(path, bytes) => self.inner.create(&path, bytes).await.map(|_| ()),
                Write::Delete(path) => self.inner.delete(&path).await,
            };
        }
        match self.fate() {
            _ if self.away.load(Ordering::SeqCst) => Err(Error::Retry("the store is away".into())),
            Fate::Failed => Err(Error::Retry("injected: not carried out".into())),
            fate => Ok(fate),
        }
    }

    async fn after<T>(&self, fate: Fate, answer: Result<T>) -> Result<T> {
        self.delay().await;
        match fate {
            Fate::Fine => answer,
            _ => Err(Error::Retry("injected: the answer got lost".into())),
        }
    }

    async fn delay(&self) {
        if let Some(clock) = self.clock.as_ref().filter(|_| self.faults.delay > 0) {
            let micros = lock(&self.random).random_range(0..=self.faults.delay);
            clock.sleep(micros).await;
        }
    }

    fn fate(&self) -> Fate {
        let Faults { failed, lost, late, .. } = self.faults;
        match lock(&self.random).random::<f64>() {
            x if x < failed => Fate::Failed,
            x if x < failed + lost => Fate::Lost,
            x if x < failed + lost + late => Fate::Late,
            _ => Fate::Fine,
        }
    }

    /// One of the writes under way, each of which arrives sooner or later.
    fn arrived(&self) -> Option<Write> {
        let mut late = lock(&self.late);
        let mut random = lock(&self.random);
        if late.is_empty() || random.random_bool(0.7) {
            return None;
        }
        let one = random.random_range(0..late.len());
        Some(late.swap_remove(one))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Objects for Faulty {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let fate = self.before().await?;
        if fate == Fate::Late {
            lock(&self.late).push(Write::Put(path.into(), bytes));
            return self.after(fate, Ok(())).await;
        }
        self.after(fate, self.inner.put(path, bytes).await).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let fate = self.before().await?;
        if fate == Fate::Late {
            lock(&self.late).push(Write::Create(path.into(), bytes));
            return self.after(fate, Ok(Created::Yes)).await;
        }
        self.after(fate, self.inner.create(path, bytes).await).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let fate = self.before().await?;
        self.after(fate, self.inner.get(path).await).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let fate = self.before().await?;
        self.after(fate, self.inner.get_range(path, range).await).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
        let fate = self.before().await?;
        self.after(fate, self.inner.list(prefix, after).await).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let fate = self.before().await?;
        if fate == Fate::Late {
            lock(&self.late).push(Write::Delete(path.into()));
            return self.after(fate, Ok(())).await;
        }
        self.after(fate, self.inner.delete(path).await).await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn place(&self) -> Result<String> {
        let fate = self.before().await?;
        self.after(fate, self.inner.place().await).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open;

    #[tokio::test]
    async fn a_lost_answer_leaves_the_object_and_a_failed_request_does_not() {
        let inner = open("memory://").unwrap();
        for (faults, there) in
            [(Faults { lost: 1.0, ..Faults::default() }, true), (Faults { failed: 1.0, ..Faults::default() }, false)]
        {
            let path = format!("data/{there}");
            let store = Faulty::new(inner.clone(), 1, faults);
            assert!(matches!(store.create(&path, Bytes::new()).await, Err(Error::Retry(_))));
            assert_eq!(inner.get(&path).await.unwrap().is_some(), there);
        }
    }

    #[tokio::test]
    async fn a_late_write_arrives_after_its_sender_was_told_that_it_failed() {
        let inner = open("memory://").unwrap();
        let store = Faulty::new(inner.clone(), 1, Faults { late: 1.0, ..Faults::default() });
        assert!(store.put("data/a", Bytes::new()).await.is_err());
        assert!(inner.get("data/a").await.unwrap().is_none());
        while inner.get("data/a").await.unwrap().is_none() {
            let _ = store.list("data", None).await;
        }
    }

    #[tokio::test]
    async fn a_late_delete_takes_away_what_its_sender_was_told_is_still_there() {
        let inner = open("memory://").unwrap();
        inner.put("data/a", Bytes::new()).await.unwrap();
        let store = Faulty::new(inner.clone(), 1, Faults { late: 1.0, ..Faults::default() });
        assert!(store.delete("data/a").await.is_err());
        assert!(inner.get("data/a").await.unwrap().is_some());
        while inner.get("data/a").await.unwrap().is_some() {
            let _ = store.list("data", None).await;
        }
    }

    #[tokio::test]
    async fn a_store_that_is_away_does_nothing_until_it_is_back() {
        let store = Faulty::new(open("memory://").unwrap(), 1, Faults::default());
        store.set_away(true);
        assert!(matches!(store.put("data/a", Bytes::new()).await, Err(Error::Retry(_))));
        store.set_away(false);
        assert!(store.get("data/a").await.unwrap().is_none());
    }
}
