//! Garbage: manifests nobody needs, and objects no manifest names (I10).
//!
//! Decided purely ([`retained`], [`fate`]); [`Collector`] is the driver. An object is deleted when no retained manifest,
//! upload, or open read names it, and it is our store's, of a lower generation or our own: what a higher generation wrote, its owner
//! may be about to publish, and what another store wrote, somebody may be about to bring back. A manifest goes before the objects
//! that only it names. One that goes while manifests are read was deleted by another server: then nothing is.

use crate::env::Env;
use crate::epoch::Generation;
use crate::error::{Error, Result};
use crate::history::History;
use crate::identity::Maker;
use crate::manifest::{self, Cache, Manifest, Root};
use crate::run;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The newest manifests are kept: to look at, and to go back to by hand.
const KEPT: usize = 10;
/// And the last of each hour, for a day. Microseconds.
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// What the past of a small store may take, bytes.
const SPARE: u64 = 256 << 10;
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

/// A manifest that may be kept.
pub struct Candidate<'a> {
    pub sequence: u64,
    pub bytes: u64,
    /// `None`: it cannot be read.
    pub content: Option<Content<'a>>,
}

#[derive(Clone, Copy)]
pub struct Content<'a> {
    pub committed_at: i64,
    /// What it names, with the bytes of it that it needs.
    pub objects: &'a BTreeMap<String, u64>,
}

/// The manifests to keep of those there are, ascending. All together they may take 1.6 times the bytes that the newest needs, so
/// that a store at rest, of whose rows few are dead, is no larger than twice what is alive; or [`SPARE`] more than the newest.
/// Those that would hold more go, hours before recent ones. `size`: bytes of an object.
pub fn retained(manifests: &[Candidate<'_>], now: i64, size: &dyn Fn(&str) -> u64) -> BTreeMap<u64, Kept> {
    let newest = manifests.iter().rev().take(KEPT).zip(1..).map(|(manifest, n)| (manifest, Kept::Newest(n)));
    let made = manifests.iter().filter_map(|manifest| Some((manifest.content?.committed_at, manifest)));
    let hourly = hourly(made, now).into_values().rev().map(|manifest| (manifest, Kept::Hour));
    let (mut kept, mut held, mut room) = (BTreeMap::new(), BTreeSet::new(), u64::MAX);
    for (manifest, why) in newest.chain(hourly) {
        if kept.contains_key(&manifest.sequence) {
            continue;
        }
        let objects = manifest.content.iter().flat_map(|content| content.objects.keys()).map(String::as_str);
        let more: Vec<&str> = objects.filter(|object| !held.contains(object)).collect();
        let bytes = manifest.bytes + more.iter().map(|object| size(object)).sum::<u64>();
        if let (Kept::Newest(1), Some(content)) = (why, manifest.content) {
            let needed = content.objects.values().fold(manifest.bytes, |sum, bytes| sum.saturating_add(*bytes));
            room = (needed / 5).saturating_mul(8).saturating_sub(bytes).max(SPARE);
        } else if bytes > room {
            continue;
        } else {
            room -= bytes;
        }
        held.extend(more);
        kept.insert(manifest.sequence, why);
    }
    kept
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not named as our objects are, or as another store's.
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

/// What the owner `own` does with the object at `path`.
pub fn fate(path: &str, is_named: bool, is_in_use: bool, own: Maker) -> Fate {
    match run::maker(path) {
        None => Fate::Foreign,
        Some(maker) if maker.store != own.store => Fate::Foreign,
        Some(maker) if maker.generation > own.generation => Fate::Newer,
        Some(_) if is_named => Fate::Named,
        Some(_) if is_in_use => Fate::InUse,
        Some(_) => Fate::Garbage,
    }
}

/// What a collection deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    pub manifests: usize,
    pub objects: usize,
    pub bytes: u64,
    /// Objects that stay for four fifths of their bytes or less: what the newest manifest needs of them may be worth writing anew.
    pub sparse: BTreeMap<String, Sparse>,
}

/// An object of which not all is needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparse {
    pub bytes: u64,
    pub needed: u64,
}

/// Collects garbage, and remembers the manifests it has read. What readers of `history` hold is kept.
#[derive(Default)]
pub struct Collector {
    history: History,
    read: BTreeMap<u64, Known>,
    pages: Cache,
}

/// What is known of a manifest; of one that cannot be read, nothing.
type Known = Option<Facts>;

struct Facts {
    generation: Generation,
    committed_at: i64,
    bytes: u64,
    names: Names,
}

/// What a manifest names.
enum Names {
    /// Of one that is not to stay nobody needs to know.
    Unread(Box<Root>),
    /// Bytes needed of each object.
    Known(BTreeMap<String, u64>),
}

impl Collector {
    pub fn new(history: History) -> Self {
        Self { history, ..Self::default() }
    }

    /// Deletes what the owner `own` may delete. `in_use` is asked during the collection; it names every object
    /// that is being uploaded or uploaded and not yet published (from before its upload until after `publish` returned).
    /// `Error::Fenced` if somebody else owns the store by now.
    pub async fn collect(
        &mut self,
        env: &Env,
        own: Maker,
        in_use: &(dyn Fn() -> HashSet<String> + Send + Sync),
    ) -> Result<Collected> {
        // In this order: an object listed was in use before it was listed, and stays so until a manifest names it. Were the
        // manifests read first, one published in between would be missed, and its objects deleted.
        let listed = env.objects.list(run::FOLDER, None).await?;
        let in_use = in_use();
        self.refresh(env).await?;

        let newest = self.read.values().flatten().map(|known| known.generation).max();
        if let Some(owner) = newest.filter(|generation| *generation > own.generation) {
            return Err(Error::Fenced(format!("generation {owner} owns the store, this one is {}", own.generation)));
        }
        let sizes: HashMap<&str, u64> = listed.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect();
        let now = env.clock.now();
        // One that turns out to be damaged leaves its hour to the one before.
        while let Some(sequence) = self.eligible(now).into_iter().find(|sequence| self.is_unknown(*sequence)) {
            self.look_into(env, sequence).await?;
        }
        let candidates: Vec<Candidate> = self.read.iter().filter_map(candidate).collect();
        let mut keep = retained(&candidates, now, &|object| sizes.get(object).copied().unwrap_or(0));
        // A request to delete may come to something long after it has failed.
        let going = self.history.going();
        keep.retain(|sequence, _| !going.contains(sequence));
        let old =
            self.history.release(self.read.keys().copied().filter(|sequence| !keep.contains_key(sequence)).collect());
        delete(env, old.iter().map(|&sequence| Manifest::path(sequence)).collect()).await?;
        self.read.retain(|sequence, _| !old.contains(sequence));

        // Also those that somebody reads.
        for sequence in self.read.keys().copied().collect::<Vec<_>>() {
            self.look_into(env, sequence).await?;
        }
        let Some(kept) = self.read.values().map(needs).collect::<Option<Vec<_>>>() else {
            tracing::warn!("a manifest cannot be read: nothing it may name is deleted");
            return Ok(Collected { manifests: old.len(), ..Collected::default() });
        };
        let named: BTreeSet<&str> = kept.iter().flat_map(|objects| objects.keys()).map(String::as_str).collect();
        let newest = kept.last().copied().into_iter().flatten();
        let sparse = newest.filter_map(|(object, &needed)| {
            let bytes = *sizes.get(object.as_str())?;
            let is_sparse = bytes - needed.min(bytes) >= env.limits.worthwhile_bytes.max(bytes / 5);
            is_sparse.then(|| (object.clone(), Sparse { bytes, needed }))
        });
        let sparse = sparse.collect();
        let garbage = |path: &str| fate(path, named.contains(path), in_use.contains(path), own) == Fate::Garbage;
        let gone: Vec<&(String, u64)> = listed.iter().filter(|(path, _)| garbage(path)).collect();
        let bytes = gone.iter().map(|(_, bytes)| bytes).sum();
        let objects = gone.len();
        delete(env, gone.into_iter().map(|(path, _)| path.clone()).collect()).await?;
        Ok(Collected { manifests: old.len(), objects, bytes, sparse })
    }

    /// Manifests that may be kept: all others, of which there are most while much is published, can go without another look.
    fn eligible(&self, now: i64) -> BTreeSet<u64> {
        let newest = self.read.keys().rev().take(KEPT).copied();
        let read = self.read.iter().filter_map(|(sequence, known)| Some((known.as_ref()?.committed_at, *sequence)));
        newest.chain(hourly(read, now).into_values()).collect()
    }

    fn is_unknown(&self, sequence: u64) -> bool {
        matches!(self.read.get(&sequence), Some(Some(Facts { names: Names::Unread(_), .. })))
    }

    /// Reads what a manifest names, unless that is known.
    async fn look_into(&mut self, env: &Env, sequence: u64) -> Result<()> {
        if !self.is_unknown(sequence) {
            return Ok(());
        }
        // If that fails, all of it is read again.
        let Some(Some(facts)) = self.read.remove(&sequence) else { return Ok(()) };
        let Names::Unread(root) = facts.names else { return Ok(()) };
        let known = match root.complete(env, &mut self.pages).await {
            Ok(None) => return Err(gone(sequence)),
            Ok(Some(manifest)) => {
                let needs = manifest.needs().into_iter().map(|(object, bytes)| (object.to_string(), bytes));
                Some(Facts { names: Names::Known(needs.collect()), ..facts })
            }
            Err(Error::Corrupt(_)) => None,
            Err(error) => return Err(error),
        };
        self.read.insert(sequence, known);
        Ok(())
    }

    /// Reads when the manifests that are new were made and by whom, and forgets those that are gone.
    async fn refresh(&mut self, env: &Env) -> Result<()> {
        let listed = env.objects.list(manifest::FOLDER, None).await?;
        let sequences = listed.into_iter().filter_map(|(path, bytes)| Some((Manifest::sequence_of(&path)?, bytes)));
        let listed: BTreeMap<u64, u64> = sequences.collect();
        self.read.retain(|sequence, _| listed.contains_key(sequence));
        for (sequence, bytes) in listed {
            if self.read.contains_key(&sequence) {
                continue;
            }
            let known = match Root::read(env, sequence).await {
                Ok(None) => return Err(gone(sequence)),
                Ok(Some(root)) => {
                    let (generation, committed_at) = (root.generation(), root.committed_at());
                    Some(Facts { generation, committed_at, bytes, names: Names::Unread(root.into()) })
                }
                Err(Error::Corrupt(_)) => None,
                Err(error) => return Err(error),
            };
            self.read.insert(sequence, known);
        }
        Ok(())
    }
}

/// Not by us: somebody may own the store by now, and what manifests not listed here name is not known.
fn gone(sequence: u64) -> Error {
    Error::Retry(format!("manifest {sequence} was deleted while garbage was looked for"))
}

fn needs(known: &Known) -> Option<&BTreeMap<String, u64>> {
    match &known.as_ref()?.names {
        Names::Known(objects) => Some(objects),
        Names::Unread(_) => None,
    }
}

/// `None`: it is not to stay.
fn candidate<'a>((sequence, known): (&u64, &'a Known)) -> Option<Candidate<'a>> {
    let sequence = *sequence;
    let Some(facts) = known else { return Some(Candidate { sequence, bytes: 0, content: None }) };
    let content = Content { committed_at: facts.committed_at, objects: needs(known)? };
    Some(Candidate { sequence, bytes: facts.bytes, content: Some(content) })
}

/// Of what was made at these times and not more than a day ago, ascending, the last of each hour.
fn hourly<T>(made: impl Iterator<Item = (i64, T)>, now: i64) -> BTreeMap<i64, T> {
    made.filter(|&(at, _)| now.saturating_sub(at) <= DAY).map(|(at, what)| (at.div_euclid(HOUR), what)).collect()
}

async fn delete(env: &Env, paths: Vec<String>) -> Result<()> {
    let deletes = futures::stream::iter(paths).map(|path| async move { env.objects.delete(&path).await });
    deletes.buffer_unordered(AT_ONCE).try_collect().await
}

#[cfg(test)]
mod tests;
