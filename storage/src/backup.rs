//! Backups: a store as its newest manifest has it, copied whole to an empty place, also while a server uses it.
//!
//! Objects first, each looked through, the manifest last: what is broken off is data without a manifest, which is never taken for a
//! store. What the server collects meanwhile is no longer needed by a newer manifest, which is then copied instead. The copy has the
//! identity of the store and is at another place, so its sources rest until somebody takes them over.

use crate::env::{Created, Env};
use crate::error::{Error, Result};
use crate::manifest::{self, Manifest};
use crate::publish::Publisher;
use crate::retry::{self, Backoff};
use crate::run;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// Manifests tried, each because the one before was collected while it was copied.
const ROUNDS: usize = 100;
/// Objects in memory at once.
const AT_ONCE: usize = 4;
/// With each request.
const BACKOFF: Backoff = Backoff { tries: 10, first: 500_000, longest: 500_000 };

/// What was copied.
pub struct Copied {
    pub manifest: Manifest,
    pub objects: usize,
    pub bytes: u64,
}

/// Copies the store in `from` into `to`, which must be empty. Changes nothing in `from`.
pub async fn copy(from: &Env, to: &Env) -> Result<Copied> {
    for folder in [manifest::FOLDER, run::FOLDER] {
        if let Some((path, _)) = insist(to, || to.objects.list(folder, None)).await?.first() {
            let place = to.objects.describe();
            return Err(Error::Invalid(format!("{place} is not empty, it holds {path}: choose an empty place")));
        }
    }
    let mut there = BTreeMap::new();
    let mut tried = None;
    for _ in 0..ROUNDS {
        let newest = insist(from, || Publisher::newest(from, false)).await?;
        let manifest = newest.ok_or_else(|| Error::Invalid(format!("{} holds no store", from.objects.describe())))?;
        match fetch(from, to, &manifest, &mut there).await? {
            None => return finish(to, manifest, there).await,
            // Only a newer manifest lets anybody collect what this one names.
            Some(gone) if tried == Some(manifest.sequence) => {
                let path = Manifest::path(manifest.sequence);
                return Err(Error::Corrupt(format!("object {gone} is named by {path} but is not in the store")));
            }
            Some(_) => tried = Some(manifest.sequence),
        }
    }
    Err(Error::Retry("what is to be copied is collected faster than it can be copied; try when less is written".into()))
}

/// Everything that `manifest` names and is not `there` yet. Returns what is gone.
async fn fetch(from: &Env, to: &Env, manifest: &Manifest, there: &mut BTreeMap<String, u64>) -> Result<Option<String>> {
    let missing: Vec<String> =
        manifest.objects().into_iter().filter(|path| !there.contains_key(*path)).map(str::to_string).collect();
    let copies = futures::stream::iter(missing).map(|path| async move {
        let copied = one(from, to, manifest, &path).await?;
        Ok::<_, Error>((path, copied))
    });
    let copied: Vec<(String, Option<u64>)> = copies.buffer_unordered(AT_ONCE).try_collect().await?;
    let gone = copied.iter().find(|(_, bytes)| bytes.is_none()).map(|(path, _)| path.clone());
    there.extend(copied.into_iter().filter_map(|(path, bytes)| Some((path, bytes?))));
    Ok(gone)
}

/// Bytes copied; `None`: it is gone.
async fn one(from: &Env, to: &Env, manifest: &Manifest, path: &str) -> Result<Option<u64>> {
    let Some(bytes) = insist(from, || from.objects.get(path)).await? else { return Ok(None) };
    let runs: Vec<_> = manifest
        .arrangements
        .values()
        .flat_map(|state| &state.runs)
        .filter(|run| run.object == path)
        .cloned()
        .collect();
    manifest.pages.verify(path, &bytes)?;
    let object = bytes.clone();
    from.compute(move || runs.iter().try_for_each(|run| run::verify(run, &object))).await??;
    insist(to, || to.objects.put(path, bytes.clone())).await?;
    Ok(Some(bytes.len() as u64))
}

/// The manifest makes a store of what is there.
async fn finish(to: &Env, manifest: Manifest, mut there: BTreeMap<String, u64>) -> Result<Copied> {
    let needed: BTreeSet<&str> = manifest.objects();
    for stray in there.keys().filter(|path| !needed.contains(path.as_str())) {
        insist(to, || to.objects.delete(stray)).await?;
    }
    there.retain(|path, _| needed.contains(path.as_str()));
    let (path, encoded) = (Manifest::path(manifest.sequence), manifest.encode());
    if insist(to, || to.objects.create(&path, encoded.clone())).await? == Created::Exists
        && insist(to, || to.objects.get(&path)).await?.as_ref() != Some(&encoded)
    {
        return Err(Error::Invalid(format!("somebody else made {path} in {} meanwhile", to.objects.describe())));
    }
    Ok(Copied { objects: there.len(), bytes: there.values().sum(), manifest })
}

/// Asks again a few times when a store does not answer.
async fn insist<T, F: Future<Output = Result<T>>>(env: &Env, call: impl Fn() -> F) -> Result<T> {
    BACKOFF.retry(env, &retry::warn, call).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::{Kind, Spec};
    use crate::delta::Delta;
    use crate::epoch::Epoch;
    use crate::fault::{Faults, Faulty};
    use crate::manifest::{ArrangementId, State};
    use crate::publish::tests::env;
    use crate::run::Writer;
    use crate::store::open;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use bytes::Bytes;
    use std::sync::Arc;
    use ulid::Ulid;

    fn quiet(_: &str) {}

    /// Publishes one more run of a few rows, and forgets the oldest if there are more than three.
    async fn publish(env: &Env, publisher: &mut Publisher, state: &mut State, n: u64) -> Manifest {
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n as i64 + 1));
        let batch = RecordBatch::try_from_iter([("id", rows)]).unwrap();
        let spec = Spec { kind: Kind::Bag, schema: batch.schema(), key: vec![0] };
        let mut writer = Writer::new(run::path(publisher.maker(), Ulid::from_parts(n, 0)), env.limits);
        let (after, to) = (state.upper, publisher.maker().generation.start().next());
        let to = Epoch::from_u64(to.as_u64() + n);
        let delta = Delta::new(batch, vec![1; n as usize + 1]);
        state.runs.extend(writer.add(&spec, after, to, &[delta]).unwrap());
        let (path, bytes) = writer.finish();
        env.objects.put(&path, bytes).await.unwrap();
        if state.runs.len() > 3 {
            let old = state.runs.remove(0);
            env.objects.delete(&old.object).await.unwrap();
        }
        state.upper = to;
        let arrangements = BTreeMap::from([(ArrangementId(1), state.clone())]);
        let manifest = Manifest { epoch: to, arrangements, ..Manifest::default() };
        publisher.publish(manifest, &quiet).await.unwrap().0
    }

    #[tokio::test]
    async fn a_copy_is_whole_although_the_store_goes_on_and_requests_fail() {
        for seed in 0..20 {
            let inner = open("memory://").unwrap();
            let own = env(inner.clone(), seed);
            let (mut publisher, _) = Publisher::take_over(&own, None).await.unwrap();
            let mut state = State::default();
            for n in 0..3 {
                publish(&own, &mut publisher, &mut state, n).await;
            }
            let faults = Faults { failed: 0.1, lost: 0.1, ..Faults::default() };
            let (from, to) =
                (env(Arc::new(Faulty::new(inner, seed, faults)), seed), env(open("memory://").unwrap(), seed));
            let mut copying = std::pin::pin!(copy(&from, &to));
            let mut n = 3;
            let copied = loop {
                match futures::poll!(&mut copying) {
                    std::task::Poll::Ready(copied) => break copied.unwrap(),
                    std::task::Poll::Pending if n < 12 => {
                        publish(&own, &mut publisher, &mut state, n).await;
                        n += 1;
                    }
                    std::task::Poll::Pending => tokio::task::yield_now().await,
                }
            };
            let manifest = Publisher::newest(&to, false).await.unwrap().unwrap();
            assert_eq!(manifest, copied.manifest);
            let there = to.objects.list(run::FOLDER, None).await.unwrap();
            let names: BTreeSet<&str> = there.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(names, manifest.objects(), "seed {seed}");
            for run in manifest.arrangements.values().flat_map(|state| &state.runs) {
                run::verify(run, &to.objects.get(&run.object).await.unwrap().unwrap()).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_is_damaged_missing_or_no_store_is_not_copied_and_what_is_there_is_not_overwritten() {
        let (from, to) = (env(open("memory://").unwrap(), 1), env(open("memory://").unwrap(), 2));
        assert!(matches!(copy(&from, &to).await, Err(Error::Invalid(_))), "no store");
        let (mut publisher, _) = Publisher::take_over(&from, None).await.unwrap();
        let manifest = publish(&from, &mut publisher, &mut State::default(), 1).await;
        let object = manifest.objects().first().unwrap().to_string();
        let good = from.objects.get(&object).await.unwrap().unwrap();
        let mut bad = good.to_vec();
        bad[good.len() / 2] ^= 1;
        for bytes in [Bytes::from(bad), good.slice(..good.len() - 1)] {
            from.objects.put(&object, bytes).await.unwrap();
            let to = env(open("memory://").unwrap(), 2);
            let error = copy(&from, &to).await.err().unwrap();
            assert!(matches!(&error, Error::Corrupt(why) if why.contains(&object)), "{error}");
            assert_eq!(to.objects.list(manifest::FOLDER, None).await.unwrap(), vec![]);
        }
        from.objects.delete(&object).await.unwrap();
        let error = copy(&from, &to).await.err().unwrap();
        assert!(matches!(&error, Error::Corrupt(why) if why.contains(&object)), "{error}");
        from.objects.put(&object, good).await.unwrap();
        copy(&from, &to).await.unwrap();
        assert!(matches!(copy(&from, &to).await, Err(Error::Invalid(_))), "it is not empty any more");
    }
}
