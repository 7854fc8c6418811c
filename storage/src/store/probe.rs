//! The probe: the publish protocol stands on put-if-absent, so a store is asked for it before it is trusted.
//!
//! Some stores ignore the condition, some honour it except under a race. Only what a store *did* counts against it: an
//! error never does, since errors pass.

use crate::env::{Created, Objects};
use crate::error::{Error, Result};
use bytes::Bytes;
use std::future::Future;
use std::time::Duration;
use ulid::Ulid;

/// Two servers that start at once are two writers; eight find a torn store within a round or two.
const RACERS: u8 = 8;
const ROUNDS: usize = 3;
/// With the store's own retries that is about half a minute of trouble until we give up.
const TRIES: usize = 3;

/// Asks the store to refuse a second put-if-absent of one key (under a race, too). `Error::Invalid` with the reason if it
/// does not; `Error::Retry` if it does not answer.
pub async fn probe(objects: &dyn Objects) -> Result<()> {
    let base = format!("probe/{}", Ulid::new());
    let verdict = ask(objects, &base).await;
    for name in std::iter::once("twice".to_string()).chain((0..ROUNDS).map(|round| format!("race{round}"))) {
        // What stays behind is a few bytes that nobody reads.
        let _ = objects.delete(&format!("{base}/{name}")).await;
    }
    verdict
}

async fn ask(objects: &dyn Objects, base: &str) -> Result<()> {
    twice(objects, &format!("{base}/twice")).await?;
    for round in 0..ROUNDS {
        race(objects, &format!("{base}/race{round}")).await?;
    }
    Ok(())
}

async fn twice(objects: &dyn Objects, path: &str) -> Result<()> {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    // The first answer may be `Exists`, if an earlier try got through and its answer got lost.
    patient(|| objects.create(path, first.clone())).await?;
    if patient(|| objects.create(path, second.clone())).await? == Created::Yes {
        return Err(refused(objects, "it ignores put-if-absent (If-None-Match: *)"));
    }
    match patient(|| objects.get(path)).await? {
        Some(bytes) if bytes == first => Ok(()),
        Some(_) => Err(refused(objects, "a refused put-if-absent replaced the object all the same")),
        None => Err(refused(objects, "an object it said to exist cannot be read")),
    }
}

async fn race(objects: &dyn Objects, path: &str) -> Result<()> {
    // Different lengths, too, so that a torn object shows.
    let body = |racer: u8| Bytes::from(vec![racer; 1000 + racer as usize]);
    let answers = futures::future::join_all((0..RACERS).map(|racer| objects.create(path, body(racer)))).await;
    let winners: Vec<u8> = (0..RACERS).filter(|&racer| matches!(answers[racer as usize], Ok(Created::Yes))).collect();
    let found = patient(|| objects.get(path)).await?;
    match (&winners[..], found) {
        ([_, _, ..], _) => Err(refused(objects, "several of the writers racing for one key were told that they won")),
        ([winner], found) if found.as_ref() != Some(&body(*winner)) => {
            Err(refused(objects, "after a race for one key the object is not the winner's"))
        }
        // No winner: his answer got lost. That is the store's right.
        _ => Ok(()),
    }
}

fn refused(objects: &dyn Objects, why: &str) -> Error {
    Error::Invalid(format!(
        "the store {} cannot keep two servers from overwriting each other: {why}; use a store with atomic conditional writes \
         (AWS S3, Ceph, a local path)",
        objects.describe()
    ))
}

/// Tries again after errors that pass.
#[allow(clippy::disallowed_methods)]
async fn patient<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match call().await {
            Err(Error::Retry(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            answer => return answer,
        }
    }
    call().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Faults, Faulty};
    use crate::store::open;
    use async_trait::async_trait;
    use std::ops::Range;
    use std::sync::Arc;

    /// A store that overwrites on create: always, or only for some of the racers.
    struct Careless {
        inner: Arc<dyn Objects>,
        always: bool,
    }

    #[async_trait]
    impl Objects for Careless {
        async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
            self.inner.put(path, bytes).await
        }
        async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
            if self.always || (path.contains("race") && bytes[0] % 4 == 1) {
                self.inner.put(path, bytes).await?;
                return Ok(Created::Yes);
            }
            self.inner.create(path, bytes).await
        }
        async fn get(&self, path: &str) -> Result<Option<Bytes>> {
            self.inner.get(path).await
        }
        async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
            self.inner.get_range(path, range).await
        }
        async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<(String, u64)>> {
            self.inner.list(prefix, after).await
        }
        async fn delete(&self, path: &str) -> Result<()> {
            self.inner.delete(path).await
        }
        fn describe(&self) -> String {
            "careless://".into()
        }
    }

    #[tokio::test]
    async fn a_store_that_ignores_the_condition_is_refused_with_the_reason() {
        for (always, why) in [(true, "ignores"), (false, "racing")] {
            let store = Careless { inner: open("memory://").unwrap(), always };
            let error = probe(&store).await.unwrap_err();
            assert!(matches!(&error, Error::Invalid(m) if m.contains(why) && m.contains("careless://")), "{error}");
            assert_eq!(store.list("probe", None).await.unwrap(), vec![], "the probe cleans up");
        }
    }

    #[tokio::test]
    async fn a_good_store_is_never_refused_for_errors_that_pass() {
        for seed in 0..20 {
            let faults = Faults { failed: 0.15, lost: 0.15, ..Faults::default() };
            let store = Faulty::new(open("memory://").unwrap(), seed, faults);
            match probe(&store).await {
                Ok(()) | Err(Error::Retry(_)) => {}
                Err(e) => panic!("seed {seed}: {e}"),
            }
        }
    }
}
