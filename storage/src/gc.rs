//! Garbage: manifests nobody needs, and objects no manifest names (I10).
//!
//! Decided purely ([`retained`], [`fate`]); [`Collector`] is the driver. An object is deleted when no retained manifest,
//! upload, or open read names it, and it is of a lower generation or our own: what a higher generation wrote, its owner may be
//! about to publish. A manifest goes before the objects that only it names.

use crate::env::Env;
use crate::epoch::Generation;
use crate::error::{Error, Result};
use crate::history::History;
use crate::manifest::{self, Manifest};
use crate::run;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The newest manifests are kept: to look at, and to go back to by hand.
const KEPT: usize = 10;
/// And the last of each hour, for a day. Microseconds.
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// Requests under way at once.
const AT_ONCE: usize = 8;

/// Why a manifest is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is one of the newest, the first of them the newest of all.
    Newest(usize),
    /// It is the last of its hour.
    Hour,
}

/// The manifests to keep of those there are: (sequence, time it was committed if it can be read), ascending.
pub fn retained(manifests: &[(u64, Option<i64>)], now: i64) -> BTreeMap<u64, Kept> {
    let newest = manifests.iter().rev().take(KEPT).zip(1..).map(|(&(sequence, _), n)| (sequence, Kept::Newest(n)));
    let recent = manifests.iter().filter_map(|&(sequence, at)| Some((at?, sequence)));
    let recent = recent.filter(|&(at, _)| now.saturating_sub(at) <= DAY);
    // Ascending, so that the last of each hour stays.
    let hourly: BTreeMap<i64, u64> = recent.map(|(at, sequence)| (at.div_euclid(HOUR), sequence)).collect();
    hourly.into_values().map(|sequence| (sequence, Kept::Hour)).chain(newest).collect()
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not named as our objects are, and not ours.
    Foreign,
    /// Its owner may be about to publish it.
    Newer,
    /// A manifest that is kept names it.
    Named,
    /// It is being uploaded, or waits to be published.
    InUse,
    /// Nothing keeps it.
    Garbage,
}

/// What the owner of generation `own` does with the object at `path`.
pub fn fate(path: &str, is_named: bool, is_in_use: bool, own: Generation) -> Fate {
    match run::generation_of(path) {
        None => Fate::Foreign,
        Some(generation) if generation > own => Fate::Newer,
        Some(_) if is_named => Fate::Named,
        Some(_) if is_in_use => Fate::InUse,
        Some(_) => Fate::Garbage,
    }
}

/// What a collection deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Collected {
    pub manifests: usize,
    pub objects: usize,
    pub bytes: u64,
}

/// Collects garbage, and remembers the manifests it has read. What readers of `history` hold is kept.
#[derive(Default)]
pub struct Collector {
    history: History,
    read: BTreeMap<u64, Known>,
}

/// What is known of a manifest; of one that cannot be read, nothing.
type Known = Option<Facts>;

struct Facts {
    generation: Generation,
    committed_at: i64,
    objects: BTreeSet<String>,
}

impl Collector {
    pub fn new(history: History) -> Self {
        Self { history, read: BTreeMap::new() }
    }

    /// Deletes what the owner of generation `own` may delete. `in_use` is asked during the collection; it names every object
    /// that is being uploaded or uploaded and not yet published (from before its upload until after `publish` returned).
    /// `Error::Fenced` if somebody else owns the store by now.
    pub async fn collect(
        &mut self,
        env: &Env,
        own: Generation,
        in_use: &(dyn Fn() -> HashSet<String> + Send + Sync),
    ) -> Result<Collected> {
        // In this order: an object listed was in use before it was listed, and stays so until a manifest names it. Were the
        // manifests read first, one published in between would be missed, and its objects deleted.
        let listed = env.objects.list(run::FOLDER, None).await?;
        let in_use = in_use();
        self.refresh(env).await?;

        if let Some(owner) = self.read.values().flatten().map(|known| known.generation).max().filter(|g| *g > own) {
            return Err(Error::Fenced(format!("generation {owner} owns the store, this one is {own}")));
        }
        let times: Vec<_> = self.read.iter().map(|(&s, known)| (s, known.as_ref().map(|k| k.committed_at))).collect();
        let keep = retained(&times, env.clock.now());
        let old =
            self.history.release(self.read.keys().copied().filter(|sequence| !keep.contains_key(sequence)).collect());
        delete(env, old.iter().map(|&sequence| Manifest::path(sequence)).collect()).await?;
        self.read.retain(|sequence, _| !old.contains(sequence));

        let Some(kept) = self.read.values().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
            tracing::warn!("a manifest cannot be read: nothing it may name is deleted");
            return Ok(Collected { manifests: old.len(), ..Collected::default() });
        };
        let named: BTreeSet<&str> = kept.iter().flat_map(|k| &k.objects).map(String::as_str).collect();
        let garbage = |path: &str| fate(path, named.contains(path), in_use.contains(path), own) == Fate::Garbage;
        let gone: Vec<&(String, u64)> = listed.iter().filter(|(path, _)| garbage(path)).collect();
        let bytes = gone.iter().map(|(_, bytes)| bytes).sum();
        let objects = gone.len();
        delete(env, gone.into_iter().map(|(path, _)| path.clone()).collect()).await?;
        Ok(Collected { manifests: old.len(), objects, bytes })
    }

    /// Reads the manifests that are new, and forgets those that are gone.
    async fn refresh(&mut self, env: &Env) -> Result<()> {
        let listed = env.objects.list(manifest::FOLDER, None).await?;
        let listed: BTreeSet<u64> = listed.iter().filter_map(|(path, _)| Manifest::sequence_of(path)).collect();
        self.read.retain(|sequence, _| listed.contains(sequence));
        let new = listed.into_iter().filter(|sequence| !self.read.contains_key(sequence));
        let read = futures::stream::iter(new.collect::<Vec<_>>()).map(|sequence| learn(env, sequence));
        let read: Vec<_> = read.buffered(AT_ONCE).try_collect().await?;
        self.read.extend(read.into_iter().flatten());
        Ok(())
    }
}

/// `None` if it is gone by now.
async fn learn(env: &Env, sequence: u64) -> Result<Option<(u64, Known)>> {
    let path = Manifest::path(sequence);
    let Some(bytes) = env.objects.get(&path).await? else { return Ok(None) };
    let known = Manifest::decode(&path, &bytes).ok().map(|manifest| Facts {
        generation: manifest.generation,
        committed_at: manifest.committed_at,
        objects: manifest.objects().into_iter().map(str::to_string).collect(),
    });
    Ok(Some((sequence, known)))
}

async fn delete(env: &Env, paths: Vec<String>) -> Result<()> {
    let deletes = futures::stream::iter(paths).map(|path| async move { env.objects.delete(&path).await });
    deletes.buffer_unordered(AT_ONCE).try_collect().await
}

#[cfg(test)]
mod tests;
