//! The past that can be read: which of the manifests that are kept an epoch or a time means, and who reads one (I10).
//!
//! Each manifest holds every relation, at the manifest's epoch or, of a view that was behind, at its own. [`History`] is shared by
//! those who read and the one who collects garbage: a manifest that somebody holds is not collected, nor what it names, and one
//! that is being collected can no longer be held.

use crate::env::Env;
use crate::epoch::Epoch;
use crate::error::{Error, Result};
use crate::manifest::{self, Cache, Manifest, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// Manifests come and go while they are looked at; that one is gone each time means that something else is wrong.
const TRIES: usize = 16;

/// What a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Epoch(Epoch),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
}

/// Where a manifest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub epoch: Epoch,
    /// `now` of that epoch.
    pub now: i64,
}

impl At {
    /// Whether what was at `moment` had been by then.
    fn includes(self, moment: Moment) -> bool {
        match self {
            At::Epoch(epoch) => moment.epoch <= epoch,
            At::Time(time) => moment.now <= time,
        }
    }
}

pub enum Found {
    Snapshot(Box<Snapshot>),
    /// All that is kept is later. The oldest of it, if there is anything.
    Later(Option<Moment>),
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Of manifests read so far, by sequence.
    moments: BTreeMap<u64, Moment>,
    /// How many hold each.
    readers: BTreeMap<u64, usize>,
    /// Being collected.
    going: BTreeSet<u64>,
}

/// A manifest that stays, with all it names, until this is dropped.
pub struct Snapshot {
    pub manifest: Manifest,
    _lease: Lease,
}

impl Snapshot {
    pub fn moment(&self) -> Moment {
        Moment::of(&self.manifest)
    }
}

impl Moment {
    fn of(manifest: &Manifest) -> Self {
        Self { epoch: manifest.epoch, now: manifest.now }
    }

    /// The manifest that begins a store holds nothing.
    fn is_something(self) -> bool {
        self.epoch > Epoch::ZERO
    }
}

impl History {
    /// The newest manifest that is kept and not later than `at`.
    pub async fn open(&self, env: &Env, at: At) -> Result<Found> {
        for _ in 0..TRIES {
            let kept = self.kept(env).await?;
            let Some(later) = self.first(env, &kept, |moment| !at.includes(moment)).await? else { continue };
            let Some(nothing) = self.first(env, &kept, Moment::is_something).await? else { continue };
            if later <= nothing {
                let oldest = kept.get(nothing).and_then(|sequence| self.state().moments.get(sequence).copied());
                return Ok(Found::Later(oldest));
            }
            let sequence = kept[later - 1];
            let Some(lease) = self.hold(sequence) else { continue };
            if let Some(manifest) = Manifest::read(env, sequence, &mut Cache::default()).await? {
                return Ok(Found::Snapshot(Box::new(Snapshot { manifest, _lease: lease })));
            }
        }
        Err(Error::Retry(format!("manifests listed in {} vanish before they are read", env.objects.describe())))
    }

    /// Holds one that was read and is kept. `None`: it is being collected.
    pub fn keep(&self, manifest: Manifest) -> Option<Snapshot> {
        let lease = self.hold(manifest.sequence)?;
        Some(Snapshot { manifest, _lease: lease })
    }

    /// Those that were to go when garbage was looked for last: they may go at any time, also if they could not be deleted then.
    pub(crate) fn going(&self) -> BTreeSet<u64> {
        self.state().going.clone()
    }

    /// Of `old`, those that nobody holds: from now on nobody can. Those that were to go before are among them for as long as they
    /// are there.
    pub(crate) fn release(&self, old: BTreeSet<u64>) -> BTreeSet<u64> {
        let mut state = self.state();
        state.going = old.into_iter().filter(|sequence| !state.readers.contains_key(sequence)).collect();
        state.going.clone()
    }

    /// Ascending.
    async fn kept(&self, env: &Env) -> Result<Vec<u64>> {
        let listed = env.objects.list(manifest::FOLDER, None).await?;
        let listed: BTreeSet<u64> = listed.iter().filter_map(|(path, _)| Manifest::sequence_of(path)).collect();
        let mut state = self.state();
        state.moments.retain(|sequence, _| listed.contains(sequence));
        Ok(listed.into_iter().filter(|sequence| !state.going.contains(sequence)).collect())
    }

    /// The index of the first manifest whose moment is `wanted`, as all later ones are. `None`: one is gone by now.
    async fn first(&self, env: &Env, kept: &[u64], wanted: impl Fn(Moment) -> bool) -> Result<Option<usize>> {
        let (mut low, mut high) = (0, kept.len());
        while low < high {
            let middle = (low + high) / 2;
            let known = self.state().moments.get(&kept[middle]).copied();
            let moment = match known {
                Some(moment) => moment,
                None => match self.learn(env, kept[middle]).await? {
                    Some(moment) => moment,
                    None => return Ok(None),
                },
            };
            if wanted(moment) { high = middle } else { low = middle + 1 }
        }
        Ok(Some(low))
    }

    /// When a manifest was; `None` if it is gone.
    async fn learn(&self, env: &Env, sequence: u64) -> Result<Option<Moment>> {
        let Some(root) = Root::read(env, sequence).await? else { return Ok(None) };
        let moment = Moment { epoch: root.epoch(), now: root.now() };
        self.state().moments.insert(sequence, moment);
        Ok(Some(moment))
    }

    fn hold(&self, sequence: u64) -> Option<Lease> {
        let mut state = self.state();
        if state.going.contains(&sequence) {
            return None;
        }
        *state.readers.entry(sequence).or_default() += 1;
        Some(Lease { history: self.clone(), sequence })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics holding the history")
    }
}

struct Lease {
    history: History,
    sequence: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.history.state();
        let readers = state.readers.get_mut(&self.sequence).expect("a manifest that is held has a reader");
        *readers -= 1;
        if *readers == 0 {
            state.readers.remove(&self.sequence);
        }
    }
}
